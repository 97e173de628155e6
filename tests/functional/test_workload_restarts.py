"""WorkloadRestarts carried out on a fake API server."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from tests.fakes.apifaults import Fault
from tests.fakes.apiserver import FakeApiServer
from tests.functional.restarts_world import NAMESPACE, RestartsWorld, owner, restarts_world


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer() as made:
        yield made


@pytest.fixture
async def world(server: FakeApiServer) -> AsyncIterator[RestartsWorld]:
    async with restarts_world(server) as made:
        yield made


def web(world: RestartsWorld, count: int) -> list[str]:
    names = [f"web-{at}" for at in range(count)]
    for name in names:
        world.pod(name)
    return names


def stored(
    world: RestartsWorld, plural: str, name: str, spec: Mapping[str, Any], *owners: Any
) -> Mapping[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE, "ownerReferences": list(owners)}
    return world.server.store(plural, {"metadata": metadata, "spec": spec})


async def test_every_pod_is_restarted_once_and_one_at_a_time(world: RestartsWorld) -> None:
    names = web(world, 4)

    world.restart()
    status = await world.ended()

    assert sorted(world.served) == names
    assert world.most == 1
    assert {key: status[key] for key in ("desired", "restarted", "restarting", "failed", "unavailable")} == {
        "desired": 4,
        "restarted": 4,
        "restarting": 0,
        "failed": 0,
        "unavailable": 0,
    }
    await world.told("Completed")
    assert [(reason, warning) for reason, _, warning in world.said] == [
        ("Restarting", False),
        ("Completed", False),
    ]


async def test_more_at_a_time_when_that_is_allowed(world: RestartsWorld) -> None:
    world.held = set(web(world, 4))

    world.restart(maxUnavailable="50%")
    await world.until(lambda: world.status().get("restarting") == 2)
    world.held = set()
    world.serve()
    await world.ended()

    assert world.most == 2
    assert len(world.served) == len(set(world.served)) == 4


async def test_a_pod_that_becomes_ready_makes_room(world: RestartsWorld) -> None:
    web(world, 1)
    world.pod("web-9", ready=False)
    world.held = {"web-9"}

    world.restart()
    await world.until(lambda: world.status().get("restarting") == 1)
    assert world.served == []
    world.held = set()
    world.serve()

    await world.ended()
    assert world.served == ["web-9", "web-0"]


async def test_pausing_stops_after_what_is_under_way(world: RestartsWorld) -> None:
    world.held = set(web(world, 2))
    world.restart()
    await world.until(lambda: len(world.requests()) == 1)

    world.restart(paused=True)
    world.held = set()
    world.serve()
    await world.until(lambda: world.status().get("message", "").endswith("spec.paused is true"))
    assert len(world.served) == 1
    world.restart(paused=False)

    await world.ended()
    assert len(world.served) == 2


async def test_a_failed_pod_is_told_of(world: RestartsWorld) -> None:
    web(world, 2)
    world.failing = {"web-0"}

    world.restart()
    status = await world.ended()

    assert (status["restarted"], status["failed"]) == (1, 1)
    assert [each["pod"] for each in status["failures"]] == ["web-0"]
    await world.told("PodsFailed")
    assert ("RecreateFailed", "pod web-0: app: said", True) in world.said
    assert [reason for reason, _, warning in world.said if warning][-1] == "PodsFailed"


async def test_the_pods_of_a_deployment_are_those_of_its_replica_sets(world: RestartsWorld) -> None:
    selector = {"matchLabels": {"app": "web"}}
    deployment = stored(world, "deployments", "web", {"replicas": 1, "selector": selector})
    own = stored(world, "replicasets", "web-1", {}, owner(deployment, "Deployment"))
    foreign = stored(world, "replicasets", "foreign", {})
    world.pod("web-1-a", controller=owner(own, "ReplicaSet"))
    world.pod("web-other", controller=owner(foreign, "ReplicaSet"))
    world.pod("web-bare")

    world.restart(workloadRef={"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"})
    status = await world.ended()

    assert world.served == ["web-1-a"]
    assert status["desired"] == 1


async def test_a_workload_whose_pods_are_missing_waits(world: RestartsWorld) -> None:
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}}
    controller = owner(stored(world, "statefulsets", "web", spec), "StatefulSet")
    world.pod("web-0", controller=controller)

    world.restart(workloadRef={"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web"})
    await world.until(lambda: "missing: 1" in world.status().get("message", ""))
    assert world.served == []
    world.pod("web-1", controller=controller)

    await world.ended()
    assert sorted(world.served) == ["web-0", "web-1"]


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (("apps/v1", "Deployment"), "spec.workloadRef: there is no deployment/web in namespace shop"),
        (("batch/v1", "Job"), "spec.workloadRef: batch/v1 has no Job to restart"),
    ],
)
async def test_a_target_that_is_none_is_told(
    world: RestartsWorld, reference: tuple[str, str], said: str
) -> None:
    version, kind = reference

    world.restart(workloadRef={"apiVersion": version, "kind": kind, "name": "web"})
    status = await world.ended()

    assert status["message"] == said
    assert [each["status"] for each in status["conditions"] if each["type"] == "Stalled"] == ["True"]


async def test_a_container_that_nobody_has_is_told(world: RestartsWorld) -> None:
    web(world, 1)

    world.restart(containers=["typo"])
    status = await world.ended()

    assert status["message"] == "spec.containers[0]: no pod has a container typo; they have: app"
    assert world.requests() == []


async def test_the_next_leader_goes_on_and_restarts_nothing_twice(server: FakeApiServer) -> None:
    async with restarts_world(server) as first:
        first.held = set(web(first, 3))
        first.restart()
        await first.until(lambda: len(first.requests()) == 1)
    (begun,) = [each["spec"]["podName"] for each in first.requests()]

    async with restarts_world(server) as second:
        second.serve()
        await second.ended()

    assert sorted(second.served) == ["web-0", "web-1", "web-2"]
    assert second.served[0] == begun
    assert len(second.requests()) == 3


async def test_an_ended_restart_goes_after_its_time(world: RestartsWorld) -> None:
    web(world, 1)

    world.restart(ttlSecondsAfterFinished=0)

    await world.until(lambda: not world.server.storage.of("workloadrestarts"))


@pytest.mark.parametrize(
    "fault",
    [
        Fault(verb="create", resource="containerrecreaterequests", reset=True, times=2),
        Fault(verb="create", resource="containerrecreaterequests", status=500, times=2),
        Fault(verb="create", resource="containerrecreaterequests", status=403, times=2),
        Fault(verb="patch", resource="workloadrestarts/status", reset=True, times=3),
        Fault(verb="patch", resource="workloadrestarts/status", status=409, times=3),
        Fault(verb="patch", resource="workloadrestarts/status", status=500, times=3),
        Fault(verb="watch", resource="pods", status=500, times=2),
    ],
    ids=lambda fault: f"{fault.verb} {fault.resource} {'lost' if fault.reset else fault.status}",
)
async def test_an_api_server_that_fails_now_and_then_makes_no_pod_restart_twice(
    world: RestartsWorld, fault: Fault
) -> None:
    names = web(world, 3)
    world.server.fail(fault)

    world.restart()
    status = await world.ended()

    assert sorted(world.served) == names
    assert status["restarted"] == 3
    assert len(world.requests()) == 3


async def test_what_the_api_server_does_not_allow_is_told_and_tried_again(world: RestartsWorld) -> None:
    web(world, 1)
    world.server.fail(Fault(verb="create", resource="containerrecreaterequests", status=403, times=3))

    world.restart()
    await world.told("Refused")
    await world.ended()

    assert ("Refused", True) in {(reason, warning) for reason, _, warning in world.said}
    assert any("compare the RBAC rules" in note for _, note, _ in world.said)
    assert world.status()["restarted"] == 1


async def test_cut_watches_lose_nothing(world: RestartsWorld) -> None:
    names = web(world, 3)
    world.held = set(names)
    world.restart()
    await world.until(lambda: len(world.requests()) == 1)

    world.server.cut_watches()
    world.held = set()
    world.serve()
    await world.ended()

    assert sorted(world.served) == names
