"""Hooks of the life of a CloneSet's pods: what they hold, until when, and what lets a pod go."""

from typing import Any

import pytest

from daemon import names
from tests.functional.cloneset_world import CloneSetWorld, cloneset_world, spec

IN_PLACE = {"type": "InPlaceIfPossible", "maxUnavailable": "100%"}
GUARD = {"labelsHandler": {"guard": "on"}}


async def test_a_hook_holds_a_pod_until_somebody_lets_it_go() -> None:
    async with cloneset_world() as world:
        await _guarded(world, inPlaceUpdate=GUARD)
        world.set_image("app:2")
        await world.until(lambda: _state(world) == "PreparingUpdate")
        held = world.images()

        _guard(world, None)
        await world.until(lambda: _state(world) == "Updated")
        changed = world.images()
        _guard(world, "on")
        await world.settled()

        assert (held, changed, _state(world)) == (["app:1"], ["app:2"], "Normal")


async def test_a_pod_that_is_held_anew_gets_back_what_holds_it_and_no_finalizer_of_others() -> None:
    async with cloneset_world() as world:
        await _guarded(world, inPlaceUpdate={"finalizersHandler": ["example.io/guard"]})
        _finalize(world, "example.io/guard", "example.io/other")
        world.set_image("app:2")
        await world.until(lambda: _state(world) == "PreparingUpdate")
        _finalize(world, "example.io/other")
        await world.until(lambda: _state(world) == "Updated")

        world.set_image("app:3")
        await world.until(lambda: _state(world) == "PreparingUpdate")

        patches = [each.body for each in world.server.requests if each.resource == "pods"]
        written = [each["metadata"] for each in patches if isinstance(each, dict)]
        assert [each["finalizers"] for each in written if "uid" in each and "finalizers" in each] == [
            ["example.io/guard"]
        ]
        assert set(world.pods()[0]["metadata"]["finalizers"]) == {"example.io/guard", "example.io/other"}


async def test_the_set_says_which_hook_its_pods_wait_for() -> None:
    async with cloneset_world() as world:
        await _guarded(world, inPlaceUpdate=GUARD)

        world.set_image("app:2")
        await world.until(lambda: _says(world, "1 held by lifecycle.inPlaceUpdate"))
        _guard(world, None)
        await world.until(lambda: _says(world, "1 held until lifecycle.inPlaceUpdate is put back"))
        _guard(world, "on")
        await world.settled()
        world.change(lifecycle={"preDelete": GUARD}, replicas=0)
        await world.until(lambda: _says(world, "1 held by lifecycle.preDelete"))


async def test_the_set_says_that_its_new_pods_wait_for_a_hook() -> None:
    async with cloneset_world() as world:
        world.apply(spec(2, lifecycle={"preNormal": GUARD}))

        await world.until(lambda: _says(world, "2 held until lifecycle.preNormal is there"))


def _says(world: CloneSetWorld, words: str) -> bool:
    return words in str(world.condition(names.READY).get("message", "")).split("; ")[-1].split(", ")


def _finalize(world: CloneSetWorld, *finalizers: str) -> None:
    name = world.pods()[0]["metadata"]["name"]
    world.patch_pod(name, lambda it: it["metadata"].update(finalizers=list(finalizers)))


async def test_a_pod_that_is_held_may_be_out_of_traffic() -> None:
    async with cloneset_world() as world:
        await _guarded(world, inPlaceUpdate={**GUARD, "markPodNotReady": True})
        world.set_image("app:2")
        await world.until(lambda: _state(world) == "PreparingUpdate")
        message = _condition(world, "KruisePodReady")

        _guard(world, None)
        await world.until(lambda: _state(world) == "Updated")
        await world.until(lambda: _condition(world, "KruisePodReady")["status"] == "True")

        assert message["status"] == "False"
        assert message["message"] == '[{"userAgent":"Lifecycle","key":"preUpdateHook"}]'
        bodies = (each.body for each in world.server.requests if "preUpdateHook" in str(each.body))
        conditions = next(bodies)["status"]["conditions"]
        assert [each["type"] for each in conditions] == [names.KRUISE_POD_READY, names.READY]


async def test_a_roll_back_lets_a_held_pod_go() -> None:
    async with cloneset_world() as world:
        await _guarded(world, inPlaceUpdate=GUARD)
        world.set_image("app:2")
        await world.until(lambda: _state(world) == "PreparingUpdate")

        world.set_image("app:1")
        await world.settled()

        assert (_state(world), world.images()) == ("Normal", ["app:1"])


@pytest.mark.parametrize("how", ["scale", "recreate"])
async def test_a_hook_holds_a_pod_before_it_is_deleted(how: str) -> None:
    async with cloneset_world() as world:
        pods = await _guarded(world, preDelete=GUARD)
        if how == "scale":
            world.change(replicas=0)
        else:
            world.change(updateStrategy={"type": "ReCreate"})
            world.set_image("app:2")
        await world.until(lambda: _state(world) == "PreparingDelete")

        _guard(world, None)
        await world.until(lambda: not world.uids() & pods)

        await world.settled()


async def test_a_pod_that_changes_while_it_is_held_before_its_deletion_stays_held() -> None:
    async with cloneset_world() as world:
        await _guarded(world, preDelete=GUARD)
        world.kubelet.manual = True
        world.set_image("app:2")
        await world.until(lambda: world.images() == ["app:2"])
        world.change(replicas=0)
        await world.until(lambda: _state(world) == "PreparingDelete")

        world.kubelet.resume()
        await world.until(lambda: _condition(world, "InPlaceUpdateReady")["status"] == "True")

        assert _state(world) == "PreparingDelete"


async def test_a_pod_that_was_to_go_stays_when_it_is_wanted_again() -> None:
    async with cloneset_world() as world:
        pods = await _guarded(world, preDelete=GUARD)
        world.change(replicas=0)
        await world.until(lambda: _state(world) == "PreparingDelete")

        world.change(replicas=1)
        await world.settled()

        assert (world.uids(), _state(world)) == (pods, "Normal")


async def test_a_pod_out_of_traffic_before_its_deletion_is_replaced_though_it_is_wanted_again() -> None:
    async with cloneset_world() as world:
        pods = await _guarded(world, preDelete={**GUARD, "markPodNotReady": True})
        world.change(replicas=0)
        await world.until(lambda: _state(world) == "PreparingDelete")
        world.change(replicas=1)

        _guard(world, None)
        await world.settled()

        assert not world.uids() & pods


async def test_a_pod_that_does_not_count_while_it_is_held_goes_when_nothing_holds_it() -> None:
    async with cloneset_world() as world:
        await _guarded(world, preDelete=GUARD)
        world.change(replicas=0, scaleStrategy={"excludePreparingDelete": True})
        await world.until(lambda: _state(world) == "PreparingDelete")

        _guard(world, None)
        await world.until(lambda: not world.pods())


async def test_a_new_pod_counts_when_its_handlers_are_there() -> None:
    async with cloneset_world() as world:
        finalizers = {"finalizersHandler": ["example.io/unready-blocker"]}
        world.apply(spec(1, lifecycle={"preNormal": finalizers}))
        await world.until(lambda: world.status().get("readyReplicas") == 1)
        before = world.status()["availableReplicas"]

        world.patch_pod(
            world.pods()[0]["metadata"]["name"],
            lambda it: it["metadata"].update(finalizers=["example.io/unready-blocker"]),
        )
        await world.settled()

        assert before == 0


async def test_an_update_does_not_let_a_new_pod_count_before_its_handlers_are_there() -> None:
    async with cloneset_world() as world:
        pre_normal = {"finalizersHandler": ["example.io/unready-blocker"]}
        world.apply(spec(1, updateStrategy=IN_PLACE, lifecycle={"preNormal": pre_normal}))
        await world.until(lambda: world.status().get("readyReplicas") == 1)

        world.set_image("app:2")
        await world.until(lambda: world.status().get("updatedReadyReplicas") == 1)
        await world.until(lambda: "InPlaceUpdateSucceeded" in {reason for reason, _ in world.events()})

        assert _state(world) == "PreparingNormal"


async def _guarded(world: CloneSetWorld, **lifecycle: Any) -> set[str]:
    """One pod that carries the guard's label."""
    document = spec(1, updateStrategy=IN_PLACE, lifecycle=lifecycle)
    document["template"]["metadata"] = {"labels": {"app": "web", "guard": "on"}}
    world.apply(document)
    await world.settled()
    return world.uids()


def _guard(world: CloneSetWorld, value: str | None) -> None:
    def change(it: dict[str, Any]) -> None:
        it["metadata"]["labels"].pop("guard", None)
        if value is not None:
            it["metadata"]["labels"]["guard"] = value

    world.patch_pod(world.pods()[0]["metadata"]["name"], change)


def _state(world: CloneSetWorld) -> str:
    (pod, *_) = world.pods()
    return str(pod["metadata"]["labels"].get(names.LIFECYCLE_STATE_LABEL, ""))


def _condition(world: CloneSetWorld, type_: str, place: int = 0) -> dict[str, Any]:
    found = [each for each in world.pods()[place]["status"].get("conditions", ()) if each["type"] == type_]
    return found[0] if found else {}
