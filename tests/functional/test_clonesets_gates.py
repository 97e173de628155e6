"""Pods of a CloneSet that were made while it replaced them: without the readiness gate of updates."""

from typing import Any

from daemon import names
from tests.functional.cloneset_world import cloneset_world, spec

IN_PLACE = {"type": "InPlaceIfPossible", "maxUnavailable": "100%"}


def _reading(config: str) -> dict[str, Any]:
    made = spec()["template"]
    source = {"fieldRef": {"fieldPath": "metadata.annotations['config']"}}
    made["spec"]["containers"][0]["env"] = [{"name": "CONFIG", "valueFrom": source}]
    return {**made, "metadata": {**made["metadata"], "annotations": {"config": config}}}


async def test_they_are_replaced_for_an_environment_and_say_why() -> None:
    async with cloneset_world() as world:
        world.apply(spec(2, template=_reading("one")))
        await world.settled()
        before = world.uids()

        world.change(updateStrategy=IN_PLACE, template=_reading("two"))
        await world.settled()

        assert not before & world.uids()
        assert {pod["metadata"]["annotations"]["config"] for pod in world.pods()} == {"two"}
        gates = [{each["conditionType"] for each in pod["spec"]["readinessGates"]} for pod in world.pods()]
        assert all(names.IN_PLACE_UPDATE_READY in each for each in gates)
        notes = [note for reason, note in world.events() if reason == "SuccessfulUpdatePodReCreate"]
        assert any("was made without the readiness gate InPlaceUpdateReady" in note for note in notes)


async def test_with_in_place_only_they_stay_and_the_set_says_why() -> None:
    async with cloneset_world() as world:
        world.apply(spec(2, template=_reading("one")))
        await world.settled()
        before = world.uids()

        world.change(updateStrategy={**IN_PLACE, "type": "InPlaceOnly"}, template=_reading("two"))
        await world.until(lambda: world.condition("FailedUpdate").get("reason") == "CannotUpdateInPlace")

        assert "was made without the readiness gate" in world.condition("FailedUpdate")["message"]
        assert world.uids() == before
