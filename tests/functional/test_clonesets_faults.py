"""CloneSets while things fail: the controller dies at every write, the API server refuses or loses some."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from daemon import names
from daemon.objects.local_pods import LocalPod
from tests.fakes.apifaults import Fault
from tests.fakes.apiserver import WRITES
from tests.fakes.following import until
from tests.functional.cloneset_world import NAMESPACE, CloneSetWorld, Cluster, spec, unled

IN_PLACE = {"type": "InPlaceIfPossible", "maxUnavailable": 1}
CLAIMS = [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with unled() as made:
        yield made


def restarts(world: CloneSetWorld) -> list[int]:
    return [pod["status"]["containerStatuses"][0]["restartCount"] for pod in world.pods()]


def shut(world: CloneSetWorld) -> list[str]:
    """Pods that are out of traffic."""
    return [
        pod["metadata"]["name"]
        for pod in world.pods()
        if any(each["type"] == "Ready" and each["status"] != "True" for each in pod["status"]["conditions"])
    ]


@pytest.mark.parametrize("number", range(1, 13))
async def test_killed_at_every_write_of_an_update_in_place_each_container_restarts_once(
    cluster: Cluster, number: int
) -> None:
    async with cluster.led() as world:
        world.apply(spec(2, updateStrategy=IN_PLACE))
        await world.settled()
        pods = world.uids()

    await cluster.killed_in_write(number, lambda world: world.set_image("app:2"))
    async with cluster.led() as world:
        await world.settled()

        assert (world.uids(), world.images(), restarts(world), shut(world)) == (
            pods,
            ["app:2"] * 2,
            [1, 1],
            [],
        )


MARKING = {"inPlaceUpdate": {"labelsHandler": {"app": "web"}, "markPodNotReady": True}}


# A hook holds the pod after six writes, until somebody takes the label away.
ROLLED_BACK = [
    *(pytest.param(number, {}, id=f"{number}-plain") for number in range(1, 8)),
    *(pytest.param(number, MARKING, id=f"{number}-hooked") for number in range(1, 7)),
]


@pytest.mark.parametrize(("number", "lifecycle"), ROLLED_BACK)
async def test_killed_at_every_write_of_an_update_that_is_then_rolled_back_no_pod_stays_out_of_traffic(
    cluster: Cluster, number: int, lifecycle: dict[str, Any]
) -> None:
    async with cluster.led() as world:
        world.apply(spec(1, updateStrategy=IN_PLACE, lifecycle=lifecycle))
        await world.settled()

    await cluster.killed_in_write(number, lambda world: world.set_image("app:2"))
    world.set_image("app:1")
    async with cluster.led() as world:
        await world.settled()
        await world.until(lambda: shut(world) == [])

        assert world.images() == ["app:1"]


async def test_pods_that_may_not_be_written_to_keep_their_set_from_nothing_else(cluster: Cluster) -> None:
    async with cluster.led() as world:
        world.apply(spec(2, lifecycle={"preNormal": {"labelsHandler": {"checked": "yes"}}}))
        await world.until(lambda: len(world.pods()) == 2)
        name = world.pods()[0]["metadata"]["name"]
        cluster.server.fail(Fault(verb="patch", resource="pods", status=422, times=10_000))

        world.patch_pod(name, lambda it: it["metadata"]["labels"].update(checked="yes"))
        await world.until(lambda: world.condition("FailedUpdate").get("status") == "True")
        world.change(replicas=3)
        await world.until(lambda: len(world.pods()) == 3)


async def test_pods_that_cannot_be_held_for_their_update_are_told_of(cluster: Cluster) -> None:
    async with cluster.led() as world:
        world.apply(spec(2, updateStrategy=IN_PLACE, lifecycle=MARKING))
        await world.settled()
        cluster.server.fail(Fault(verb="patch", resource="pods", status=422, times=10_000))

        world.set_image("app:2")
        await world.until(lambda: world.condition("FailedUpdate").get("status") == "True")

        assert world.condition("FailedUpdate")["reason"] == "FailedUpdatePod"


@pytest.mark.parametrize("number", range(1, 13))
async def test_killed_at_every_write_of_a_replacement_there_are_neither_pods_nor_claims_too_many(
    cluster: Cluster, number: int
) -> None:
    async with cluster.led() as world:
        world.apply(spec(2, volumeClaimTemplates=CLAIMS, updateStrategy={"maxUnavailable": 1}))
        await world.settled()

    await cluster.killed_in_write(number, lambda world: world.set_image("app:2"))
    async with cluster.led() as world:
        await world.settled()
        world.change(scaleStrategy={"disablePVCReuse": True})
        await world.until(lambda: len(cluster.server.storage.of("persistentvolumeclaims")) == 2)

        assert (world.images(), len(world.pods()), shut(world)) == (["app:2"] * 2, 2, [])


@pytest.mark.parametrize("number", range(1, 10))
async def test_killed_at_every_write_of_its_making_a_set_has_its_pods_and_no_more(
    cluster: Cluster, number: int
) -> None:
    def make(world: CloneSetWorld) -> None:
        world.apply(spec(3, volumeClaimTemplates=CLAIMS))

    await cluster.killed_in_write(number, make)
    async with cluster.led() as world:
        await world.settled()

        assert (len(world.pods()), len(cluster.server.storage.of("persistentvolumeclaims"))) == (3, 3)
        assert len(cluster.server.storage.of("controllerrevisions")) == 1


FAULTS: dict[str, dict[str, Any]] = {
    "the answer is lost": {"reset": True},
    "the server has failed": {"status": 500},
    "somebody else was first": {"status": 409},
    "there are too many requests": {"status": 429, "retry_after": 0.05},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
@pytest.mark.parametrize("resource", ["pods", "pods/status", "clonesets/status", "controllerrevisions"])
async def test_a_write_that_goes_wrong_is_made_good(
    cluster: Cluster, resource: str, fault: dict[str, Any]
) -> None:
    async with cluster.led() as world:
        world.apply(spec(2, updateStrategy=IN_PLACE))
        await world.settled()
        pods = world.uids()
        for verb in sorted(WRITES):
            cluster.server.fail(Fault(verb=verb, resource=resource, times=2, **fault))

        world.set_image("app:2")
        await world.settled()

        assert (world.uids(), restarts(world), shut(world)) == (pods, [1, 1], [])


async def test_a_quota_is_told_and_pods_come_when_it_allows_them(cluster: Cluster) -> None:
    full = Fault(verb="create", resource="pods", status=403, times=10_000)
    async with cluster.led() as world:
        world.apply(spec(2))
        await world.settled()
        cluster.server.fail(full)

        world.change(replicas=3)
        await world.until(lambda: world.condition("FailedScale").get("status") == "True")
        told = world.condition("FailedScale")
        full.times = 0
        await world.settled()

        assert told["reason"] == "FailedCreate"
        assert world.condition("FailedScale")["status"] == "False"
        assert len(world.pods()) == 3


async def test_a_pod_whose_change_fails_is_back_in_traffic_once_the_set_is_rolled_back(
    cluster: Cluster,
) -> None:
    async with cluster.led() as world:
        world.apply(spec(1, updateStrategy=IN_PLACE))
        await world.settled()
        cluster.server.fail(Fault(verb="patch", resource="pods", status=500, times=10_000))

        world.set_image("app:2")
        await world.until(lambda: shut(world) != [])
        world.set_image("app:1")
        await world.until(lambda: shut(world) == [])

        assert (world.images(), restarts(world)) == (["app:1"], [0])


async def test_a_set_tells_of_a_change_that_fails_and_of_nothing_once_it_comes_through(
    cluster: Cluster,
) -> None:
    async with cluster.led() as world:
        world.apply(spec(1, updateStrategy=IN_PLACE))
        await world.settled()
        fault = Fault(verb="patch", resource="pods", status=500, times=10_000)
        cluster.server.fail(fault)

        world.set_image("app:2")
        await world.until(lambda: world.condition("FailedUpdate").get("status") == "True")
        told = world.condition("FailedUpdate")
        fault.times = 0
        await world.settled()

        assert (told["reason"], world.condition("FailedUpdate")["status"]) == ("FailedUpdatePod", "False")
        assert "InternalError" in told["message"]


async def test_a_pod_that_cannot_be_adopted_keeps_a_set_from_nothing_else(cluster: Cluster) -> None:
    labels = {"app": "web", names.INSTANCE_ID_LABEL: "abcde"}
    metadata = {"name": "web-abcde", "namespace": NAMESPACE, "labels": labels}
    gates = [{"conditionType": names.KRUISE_POD_READY}]
    cluster.server.store("pods", {"metadata": metadata, "spec": {"readinessGates": gates, "containers": []}})
    fault = Fault(
        verb="patch", resource="pods", name="web-abcde", user_agent="inplaced", status=422, times=10_000
    )
    cluster.server.fail(fault)

    async with cluster.led() as world:
        world.apply(spec(2))
        await world.until(lambda: world.condition("FailedScale").get("reason") == "FailedClaim")

        assert len(world.pods()) == 3
        fault.times = 0
        await world.until(lambda: world.condition("FailedScale")["status"] == "False")


async def test_a_set_whose_revision_cannot_be_recorded_says_so(cluster: Cluster) -> None:
    fault = Fault(verb="create", resource="controllerrevisions", status=403, times=10_000)
    cluster.server.fail(fault)
    async with cluster.led() as world:
        world.apply(spec(2))
        await world.until(lambda: world.condition(names.STALLED).get("reason") == "FailedRevision")
        message = world.condition(names.STALLED)["message"]
        fault.times = 0
        await world.settled()

        assert "Forbidden" in message
        assert world.condition(names.STALLED)["status"] == "False"


async def test_a_webhook_of_pods_that_is_down_keeps_no_pod_from_its_change_in_place(cluster: Cluster) -> None:
    message = 'Internal error occurred: failed calling webhook "mpod.kb.io": no endpoints available'
    async with cluster.led() as world:
        world.apply(spec(2, updateStrategy=IN_PLACE))
        await world.settled()
        pods = world.uids()
        fault = Fault(
            verb="create", resource="pods", user_agent="inplaced", status=500, message=message, times=10_000
        )
        cluster.server.fail(fault)

        world.set_image("app:2")
        await world.settled()

        assert (world.images(), world.uids()) == (["app:2"] * 2, pods)


async def test_a_pod_goes_back_to_its_traffic_when_a_webhook_that_is_down_keeps_it_from_its_change(
    cluster: Cluster,
) -> None:
    message = 'Internal error occurred: failed calling webhook "vpod.kb.io": no endpoints available'
    async with cluster.led() as world:
        world.apply(spec(1, updateStrategy=IN_PLACE))
        await world.settled()
        cluster.server.fail(Fault(verb="patch", resource="pods", status=500, message=message, times=10_000))

        world.set_image("app:2")
        await world.until(lambda: world.condition("FailedUpdate").get("reason") == "Refused")
        await world.until(lambda: shut(world) == [])

        assert (world.images(), restarts(world)) == (["app:1"], [0])


async def test_a_webhook_that_goes_down_within_the_grace_period_leaves_the_pod_to_its_traffic(
    cluster: Cluster,
) -> None:
    message = 'Internal error occurred: failed calling webhook "vpod.kb.io": no endpoints available'
    async with cluster.led() as world:
        strategy = {**IN_PLACE, "inPlaceUpdateStrategy": {"gracePeriodSeconds": 1}}
        world.apply(spec(1, updateStrategy=strategy))
        await world.settled()
        world.set_image("app:2")
        await world.until(lambda: shut(world) != [])
        fault = Fault(verb="patch", resource="pods", status=500, message=message, times=10_000)
        cluster.server.fail(fault)
        await world.until(lambda: world.condition("FailedUpdate").get("reason") == "Refused")
        await world.until(lambda: shut(world) == [])
        fault.times = 0

        world.set_image("app:1")
        await world.settled()

        assert (world.images(), restarts(world), shut(world)) == (["app:1"], [0], [])


async def test_a_webhook_that_cannot_be_tried_keeps_no_pod_from_its_change(cluster: Cluster) -> None:
    message = 'admission webhook "vpod.kb.io" does not support dry run'
    async with cluster.led() as world:
        strategy = {**IN_PLACE, "inPlaceUpdateStrategy": {"gracePeriodSeconds": 1}}
        world.apply(spec(1, updateStrategy=strategy))
        await world.settled()
        untried = Fault(
            verb="patch", resource="pods", status=400, message=message, dry_run=True, times=10_000
        )
        cluster.server.fail(untried)

        world.set_image("app:2")
        await world.settled()

        assert (world.images(), restarts(world)) == (["app:2"], [1])
        assert untried.met > 0


async def test_a_pod_that_is_being_taken_out_while_its_set_is_paused_counts_as_unavailable(
    cluster: Cluster,
) -> None:
    async with cluster.led() as world:
        world.apply(spec(3, updateStrategy=IN_PLACE))
        await world.settled()
        taking = Fault(verb="patch", resource="pods/status", user_agent="inplaced", status=500, hang=True)
        cluster.server.fail(taking)
        world.set_image("app:2")
        await world.until(lambda: taking.met > 0)
        (hit,) = [each.name for each in cluster.server.requests if each.resource == "pods/status"][-1:]

        world.change(updateStrategy={**IN_PLACE, "paused": True})
        other = next(name for pod in world.pods() if (name := pod["metadata"]["name"]) != hit)
        world.patch_pod(other, lambda it: it["metadata"]["labels"].update({names.SPECIFIED_DELETE_LABEL: ""}))
        await until(world.known, lambda: any(map(_is_pointed_at, world.known.list())))
        world.change(revisionHistoryLimit=5)
        newest = world.stored()["metadata"]["generation"]
        await world.until(lambda: world.status()["observedGeneration"] == newest)
        kept = {pod["metadata"]["name"] for pod in world.pods()}
        await world.until(lambda: other not in {pod["metadata"]["name"] for pod in world.pods()})

        assert {hit, other} < kept


def _is_pointed_at(pod: LocalPod) -> bool:
    return names.SPECIFIED_DELETE_LABEL in pod.metadata.labels
