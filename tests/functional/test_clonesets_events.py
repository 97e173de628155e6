"""Events about a CloneSet: what was done to its pods, told of many at once."""

from tests.functional.cloneset_world import CloneSetWorld, cloneset_world, spec


async def test_an_event_of_the_set_tells_which_pods_changed() -> None:
    async with cloneset_world() as world:
        world.apply(spec(3, updateStrategy={"type": "InPlaceIfPossible", "maxUnavailable": "100%"}))
        await world.settled()

        world.set_image("app:2")
        status = await world.settled()
        await world.until(lambda: len(_changed(world)) == 3)

        assert {revision for revision, _ in _changed(world)} == {status["updateRevision"]}
        assert {pod for _, pod in _changed(world)} == {pod["metadata"]["name"] for pod in world.pods()}


def _changed(world: CloneSetWorld) -> list[tuple[str, str]]:
    """Revision and pod, of all events about the set."""
    notes = [note for reason, note in world.events() if reason == "SuccessfulUpdatePodInPlace"]
    parts = [note.removeprefix("changed in place to ").partition(": ") for note in notes]
    return [(revision, pod) for revision, _, pods in parts for pod in pods.split(", ")]
