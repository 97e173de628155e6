"""Rollouts of a CloneSet in place: pods stay, their containers change; at the wished pace, held by hooks."""

import json
from typing import Any

from daemon import names
from tests.functional.cloneset_world import CloneSetWorld, cloneset_world, spec

IN_PLACE = {"type": "InPlaceIfPossible", "maxUnavailable": "100%"}
GRACE = "apps.kruise.io/inplace-update-grace"
SURGE = {"type": "InPlaceIfPossible", "maxUnavailable": 0, "maxSurge": 1}
HALFWAY = {
    "updateTimestamp": "2026-01-01T00:00:00Z",
    "lastContainerStatuses": {"app": {"imageID": "sha256:app:0"}},
}


def reading(config: str) -> dict[str, Any]:
    """The template of pods that read an annotation, which only their node's agent can change in place."""
    made = spec()["template"]
    source = {"fieldRef": {"fieldPath": "metadata.annotations['config']"}}
    made["spec"]["containers"][0]["env"] = [{"name": "CONFIG", "valueFrom": source}]
    return {**made, "metadata": {**made["metadata"], "annotations": {"config": config}}}


async def started(world: CloneSetWorld, replicas: int = 3, **parts: Any) -> set[str]:
    """Have a set that changes in place; return the UIDs of its pods."""
    world.apply(spec(replicas, **{"updateStrategy": IN_PLACE, **parts}))
    await world.settled()
    return world.uids()


async def test_an_image_changes_and_the_pods_stay() -> None:
    async with cloneset_world() as world:
        pods = await started(world)

        world.set_image("app:2")
        status = await world.settled()

        assert world.uids() == pods
        assert world.images() == ["app:2"] * 3
        assert [pod["status"]["containerStatuses"][0]["restartCount"] for pod in world.pods()] == [1] * 3
        assert status["updatedAvailableReplicas"] == 3
        assert status["currentRevision"] == status["updateRevision"]


async def test_the_same_in_v1beta1_s_words() -> None:
    async with cloneset_world() as world:
        rolling = {"podUpdatePolicy": "InPlaceIfPossible", "maxUnavailable": 1}
        pods = await started(world, updateStrategy={"type": "RollingUpdate", "rollingUpdate": rolling})

        world.set_image("app:2")
        await world.settled()

        assert (world.uids(), world.images()) == (pods, ["app:2"] * 3)


async def test_an_update_costs_three_writes_a_pod() -> None:
    async with cloneset_world() as world:
        await started(world, 5)
        before = len(world.writes())

        world.set_image("app:2")
        await world.settled()

        about_pods = [each for each in world.writes()[before:] if " pods" in each]
        assert sorted(about_pods) == ["patch pods"] * 5 + ["patch pods/status"] * 10


async def test_pods_change_one_after_the_other() -> None:
    async with cloneset_world() as world:
        await started(world, 3, updateStrategy={"type": "InPlaceIfPossible", "maxUnavailable": 1})
        world.kubelet.manual = True

        world.set_image("app:2")
        await world.until(lambda: world.images().count("app:2") == 1)
        ready = [
            next(
                each["status"] for each in pod["status"]["conditions"] if each["type"] == "InPlaceUpdateReady"
            )
            for pod in world.pods()
        ]

        assert sorted(ready) == ["False", "True", "True"]


async def test_a_change_that_needs_another_pod_replaces_it() -> None:
    async with cloneset_world() as world:
        pods = await started(world)
        template = dict(world.stored()["spec"]["template"])
        template["spec"] = {**template["spec"], "terminationGracePeriodSeconds": 5}

        world.change(template=template)
        await world.settled()

        assert not world.uids() & pods


async def test_what_was_not_begun_before_a_roll_back_is_never_begun() -> None:
    living: set[str] = set()

    async with cloneset_world(alive=living.__contains__) as world:
        await started(world, 1, template=reading("one"))
        world.change(template=reading("two"))
        await world.until(lambda: "AgentMissing" in world.condition(names.RECONCILING)["message"])

        world.change(template=reading("one"))
        await world.settled()
        pod = world.pods()[0]
        living.add(pod["spec"]["nodeName"])
        world.patch_pod(pod["metadata"]["name"], lambda it: it["metadata"]["labels"].update(touched="yes"))
        world.change(replicas=2)
        await world.settled()

        assert "InPlaceUpdateStarted" not in {reason for reason, _ in world.events()}


async def test_a_partition_that_is_raised_holds_for_pods_that_were_picked_and_not_touched() -> None:
    living: set[str] = set()

    async with cloneset_world(alive=living.__contains__) as world:
        await started(world, 3, template=reading("one"))
        world.change(template=reading("two"))
        await world.until(lambda: "3 pods AgentMissing" in world.condition(names.RECONCILING)["message"])

        world.change(updateStrategy={**IN_PLACE, "partition": 2})
        await world.until(lambda: "1 pod AgentMissing" in world.condition(names.RECONCILING)["message"])
        for pod in world.pods():
            living.add(pod["spec"]["nodeName"])
            world.patch_pod(
                pod["metadata"]["name"], lambda it: it["metadata"]["labels"].update(touched="yes")
            )
        await world.until(lambda: "InPlaceUpdateStarted" in {reason for reason, _ in world.events()})
        world.change(replicas=4)
        await world.until(lambda: len(world.pods()) == 4)

        changed = [pod for pod in world.pods() if pod["metadata"]["annotations"]["config"] == "two"]
        assert len([pod for pod in changed if "touched" in pod["metadata"]["labels"]]) == 1


async def test_with_in_place_only_such_a_change_is_refused_by_its_field() -> None:
    async with cloneset_world() as world:
        pods = await started(world, updateStrategy={"type": "InPlaceOnly"})
        template = dict(world.stored()["spec"]["template"])
        template["spec"] = {**template["spec"], "terminationGracePeriodSeconds": 5}

        world.change(template=template)
        await world.until(lambda: world.condition("FailedUpdate").get("status") == "True")

        assert "terminationGracePeriodSeconds" in world.condition("FailedUpdate")["message"]
        assert world.uids() == pods


async def test_pods_that_wait_for_an_agent_are_replaced_once_the_set_says_so() -> None:
    async with cloneset_world(alive=lambda _node: False) as world:
        pods = await started(world, template=reading("one"))
        world.change(template=reading("two"))
        await world.until(lambda: "AgentMissing" in world.condition(names.RECONCILING)["message"])

        world.change(updateStrategy={"type": "ReCreate", "maxUnavailable": 1})
        await world.settled()

        assert not world.uids() & pods


async def test_with_in_place_only_a_pod_that_cannot_change_keeps_no_other_from_it() -> None:
    async with cloneset_world() as world:
        strategy = {"type": "InPlaceOnly", "maxUnavailable": 1}
        (first,) = await started(world, 1, updateStrategy=strategy)
        template = dict(world.stored()["spec"]["template"])
        template["spec"] = {**template["spec"], "terminationGracePeriodSeconds": 5}
        world.change(template=template, replicas=2)
        await world.until(lambda: world.status().get("availableReplicas") == 2)

        world.set_image("app:2")
        await world.until(lambda: world.images() == ["app:1", "app:2"])
        await world.until(lambda: world.status()["updatedAvailableReplicas"] == 1)

        told = world.condition("FailedUpdate")
        stuck = next(pod for pod in world.pods() if pod["metadata"]["uid"] == first)
        assert stuck["spec"]["containers"][0]["image"] == "app:1"
        assert stuck["metadata"]["name"] in told["message"]


async def test_a_refused_change_that_is_taken_back_leaves_nothing() -> None:
    async with cloneset_world() as world:
        pods = await started(world, updateStrategy={"type": "InPlaceOnly"})
        before = world.stored()["spec"]["template"]
        world.change(template={**before, "spec": {**before["spec"], "hostname": "a"}})
        await world.until(lambda: world.condition("FailedUpdate").get("status") == "True")

        world.change(template=before)
        await world.settled()

        assert world.uids() == pods
        assert world.condition("FailedUpdate")["status"] == "False"


async def test_the_partition_and_a_roll_back_in_place() -> None:
    async with cloneset_world() as world:
        pods = await started(world, 4, updateStrategy={**IN_PLACE, "partition": "50%"})
        world.set_image("app:2")
        await world.settled()
        half = world.images()

        world.change(updateStrategy=IN_PLACE)
        world.set_image("app:1")
        await world.settled()

        assert half == ["app:1"] * 2 + ["app:2"] * 2
        assert (world.uids(), world.images()) == (pods, ["app:1"] * 4)


async def test_a_broken_image_stops_at_the_limit_and_is_rolled_back() -> None:
    async with cloneset_world() as world:
        pods = await started(world, 4, updateStrategy={"type": "InPlaceIfPossible", "maxUnavailable": 2})
        world.kubelet.broken.add("bad:1")
        world.set_image("bad:1")
        await world.until(lambda: world.images().count("bad:1") == 2)

        world.set_image("app:1")
        await world.settled()

        assert (world.uids(), world.images()) == (pods, ["app:1"] * 4)


async def test_a_newer_revision_overtakes_one_that_is_under_way() -> None:
    async with cloneset_world() as world:
        pods = await started(world)
        world.kubelet.manual = True
        world.set_image("app:2")
        await world.until(lambda: world.images() == ["app:2"] * 3)

        world.set_image("app:3")
        await world.until(lambda: world.images() == ["app:3"] * 3)
        world.kubelet.resume()
        await world.settled()

        assert world.uids() == pods


async def test_a_paused_rollout_finishes_what_was_begun() -> None:
    async with cloneset_world() as world:
        await started(world, 3, updateStrategy={"type": "InPlaceIfPossible", "maxUnavailable": 1})
        world.kubelet.manual = True
        world.set_image("app:2")
        await world.until(lambda: world.images().count("app:2") == 1)

        world.change(updateStrategy={"type": "InPlaceIfPossible", "paused": True})
        await world.until(lambda: world.status().get("observedGeneration") == 3)
        world.kubelet.resume()
        await world.until(lambda: world.status()["updatedAvailableReplicas"] == 1)

        assert world.images() == ["app:1", "app:1", "app:2"]


async def test_with_surge_a_pod_is_made_for_the_one_that_changes() -> None:
    async with cloneset_world() as world:
        pods = await started(world, 3, updateStrategy=SURGE)

        world.set_image("app:2")
        await world.settled()

        assert len(world.pods()) == 3
        assert len(world.uids() & pods) >= 2
        assert world.images() == ["app:2"] * 3


async def test_the_grace_period_passes_between_out_of_traffic_and_the_change() -> None:
    waiting = {"inplaceUpdateStrategy": {"gracePeriodSeconds": 1}}
    async with cloneset_world() as world:
        await started(world, 1, updateStrategy={**IN_PLACE, **waiting})

        world.set_image("app:2")
        await world.until(lambda: GRACE in world.pods()[0]["metadata"].get("annotations", {}))
        during = world.images()
        await world.settled()

        assert (during, world.images()) == (["app:1"], ["app:2"])


async def test_an_update_that_another_controller_began_is_brought_to_its_end() -> None:
    async with cloneset_world() as world:
        pods = await started(world, 1)
        name = world.pods()[0]["metadata"]["name"]

        def halfway(it: dict[str, Any]) -> None:
            state = {"revision": it["metadata"]["labels"]["controller-revision-hash"], **HALFWAY}
            it["metadata"]["annotations"] = {"apps.kruise.io/inplace-update-state": json.dumps(state)}
            out = {"type": "InPlaceUpdateReady", "status": "False", "reason": "StartInPlaceUpdate"}
            it["status"] = {**world.pods()[0]["status"], "conditions": [out]}

        world.patch_pod(name, halfway)
        await world.until(lambda: _condition(world, "InPlaceUpdateReady").get("status") == "True")

        assert world.uids() == pods


def _condition(world: CloneSetWorld, type_: str, place: int = 0) -> dict[str, Any]:
    found = [each for each in world.pods()[place]["status"].get("conditions", ()) if each["type"] == type_]
    return found[0] if found else {}
