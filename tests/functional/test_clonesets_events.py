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


async def test_pods_that_change_one_after_the_other_are_told_of_together() -> None:
    async with cloneset_world() as world:
        world.apply(spec(7, updateStrategy={"type": "InPlaceIfPossible", "maxUnavailable": 1}))
        await world.settled()

        world.set_image("app:2")
        await world.settled()
        await world.until(lambda: len(_changed(world)) == 7)

        told = [note for reason, note in world.events() if reason == "SuccessfulUpdatePodInPlace"]
        assert sorted(note.count(", ") + 1 for note in told) == [2, 5]


async def test_one_pod_is_spoken_of_as_one() -> None:
    async with cloneset_world() as world:
        world.apply(spec(1))
        await world.settled()
        world.change(replicas=0)
        await world.until(lambda: not world.pods() and len(world.events()) == 2)

        assert [note.partition(": ")[0] for _, note in world.events()] == ["created 1 pod", "deleted 1 pod"]


def _changed(world: CloneSetWorld) -> list[tuple[str, str]]:
    """Revision and pod, of all events about the set."""
    notes = [note for reason, note in world.events() if reason == "SuccessfulUpdatePodInPlace"]
    parts = [note.removeprefix("changed in place to ").partition(": ") for note in notes]
    return [(revision, pod) for revision, _, pods in parts for pod in pods.split(", ")]
