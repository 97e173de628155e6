"""Pods without the readiness gate of updates in place: only their records tell that they change."""

from daemon import names
from tests.functional.cloneset_world import CloneSetWorld, cloneset_world, spec

ONE_BY_ONE = {"type": "InPlaceIfPossible", "maxUnavailable": 1}


async def _changing(world: CloneSetWorld) -> None:
    """Have one of three pods change that a set of another strategy made; its container is to restart yet."""
    world.apply(spec(3, updateStrategy={"type": "ReCreate"}))
    await world.settled()
    world.change(updateStrategy=ONE_BY_ONE)
    await world.settled()
    world.kubelet.manual = True
    world.set_image("app:2")
    await world.until(lambda: world.images().count("app:2") == 1)


async def _seen(world: CloneSetWorld) -> None:
    newest = world.stored()["metadata"]["generation"]
    await world.until(lambda: world.status().get("observedGeneration") == newest)
    world.change(revisionHistoryLimit=newest)  # the pass after the one that begins something tells of it
    await world.until(lambda: world.status()["observedGeneration"] == newest + 1)


async def test_one_that_has_to_restart_yet_is_unavailable_when_a_newer_revision_comes() -> None:
    async with cloneset_world() as world:
        await _changing(world)
        last = next(each for each in world.pods() if each["spec"]["containers"][0]["image"] == "app:1")
        world.patch_pod(last["metadata"]["name"], lambda it: it["metadata"]["labels"].update(turn="first"))
        first = {"weight": 10, "matchSelector": {"matchLabels": {"turn": "first"}}}

        world.change(updateStrategy={**ONE_BY_ONE, "priorityStrategy": {"weightPriority": [first]}})
        world.set_image("app:3")
        await _seen(world)
        touched = 3 - world.images().count("app:1")
        world.kubelet.resume()
        await world.settled()

        assert touched == 1
        assert world.images() == ["app:3"] * 3


async def test_one_that_has_to_restart_yet_is_unavailable_while_its_set_is_paused() -> None:
    async with cloneset_world() as world:
        await _changing(world)

        world.change(updateStrategy={**ONE_BY_ONE, "paused": True})
        await _seen(world)

        await world.until(lambda: world.status()["availableReplicas"] == 2)


async def test_one_that_an_update_hook_kept_out_of_traffic_comes_back() -> None:
    hook = {"inPlaceUpdate": {"labelsHandler": {"guard": "on"}, "markPodNotReady": True}}
    async with cloneset_world() as world:
        made = spec(1, updateStrategy={"type": "ReCreate"}, lifecycle=hook)
        made["template"]["metadata"] = {"labels": {"app": "web", "guard": "on"}}
        world.apply(made)
        await world.settled()
        world.change(updateStrategy=ONE_BY_ONE)
        world.set_image("app:2")
        await world.until(lambda: _state(world) == "PreparingUpdate")
        name = world.pods()[0]["metadata"]["name"]

        world.patch_pod(name, lambda it: it["metadata"]["labels"].pop("guard"))
        await world.until(lambda: _state(world) == "Updated")
        world.patch_pod(name, lambda it: it["metadata"]["labels"].update(guard="on"))
        await world.settled()

        assert (world.images(), _state(world)) == (["app:2"], "Normal")


def _state(world: CloneSetWorld) -> str:
    found: str = world.pods()[0]["metadata"]["labels"].get(names.LIFECYCLE_STATE_LABEL, "")
    return found
