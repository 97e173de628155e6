"""The agent brings what pods ask for to ``pods/resize``, and tells what became of it."""

import dataclasses
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from daemon import names
from daemon.cri.v1 import runtime_pb2 as pb
from daemon.engine.lifecycle import Part
from daemon.localpods.room import room_of
from daemon.resizes.asking import bare
from daemon.resizes.reconciler import Resizes
from daemon.resizes.runtime_numbers import PERIOD, quota_of, shares_of
from tests.fakes.apifaults import Fault
from tests.fakes.following import running
from tests.functional.pod_world import NODE, PodWorld, pod_world

RESIZE, STATUS = "patch pods/resize", "patch pods/status"
MIB = 2**20
SMALL = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[PodWorld]:
    async with pod_world(tmp_path) as made:
        room = {"cpu": "2", "memory": "4Gi"}
        made.server.store("nodes", {"metadata": {"name": NODE}, "status": {"allocatable": room}})
        yield made


@asynccontextmanager
async def agent(world: PodWorld) -> AsyncIterator[Resizes]:
    """The feature, running."""
    feature = Resizes(world.around)
    feature.start()
    async with running(*(_run(part) for part in (*feature.feeders, *feature.workers))):
        yield feature


async def _run(part: Part) -> None:
    await part()


def wish(requests: Mapping[str, str], limits: Mapping[str, str], **more: Any) -> str:
    """A wish for container ``app``."""
    return json.dumps({"containers": {"app": {"requests": requests, "limits": limits}}, **more})


def put(
    world: PodWorld,
    text: str | None,
    name: str = "web",
    *,
    spec: Any = SMALL,
    status: Any = None,
    **container: Any,
) -> str:
    """Store a running pod, as its kubelet has it; return the ID of its container."""
    known = world.server.storage.of("pods").get(("shop", name))
    identifier = (
        known["status"]["containerStatuses"][0]["containerID"]
        if known
        else world.start_container(f"u-{name}", "app")
    )
    given = status or spec
    world.runtime.node.containers[bare(identifier)].resources.linux.CopyFrom(_linux(given))
    annotations = dict(known["metadata"].get("annotations", {})) if known else {}
    world.store(
        {
            "metadata": {
                "name": name,
                "namespace": "shop",
                "annotations": annotations | ({names.RESOURCES_ANNOTATION: text} if text is not None else {}),
            },
            "spec": {"nodeName": NODE, "containers": [{"name": "app", "resources": spec, **container}]},
            "status": {
                "phase": "Running",
                "qosClass": "Burstable",
                "conditions": list(known["status"].get("conditions", [])) if known else [],
                "containerStatuses": [
                    {
                        "name": "app",
                        "containerID": identifier,
                        "state": {"running": {"startedAt": "2026-05-01T12:00:00Z"}},
                        "resources": given,
                        "allocatedResources": given["requests"],
                    }
                ],
            },
        }
    )
    return identifier


def _linux(given: Mapping[str, Mapping[str, str]]) -> pb.LinuxContainerResources:
    """What a runtime has of these, as the kubelet tells it."""
    limits, requests = room_of(given.get("limits", {})), room_of(given["requests"])
    return pb.LinuxContainerResources(
        cpu_period=PERIOD,
        cpu_quota=quota_of(limits.cpu, PERIOD),
        cpu_shares=shares_of(requests.cpu),
        memory_limit_in_bytes=limits.memory,
    )


def spec(world: PodWorld, name: str = "web") -> Any:
    """The resources of its container as they are stored."""
    return world.server.document("pods", name, "shop")["spec"]["containers"][0]["resources"]


def told(world: PodWorld, name: str = "web") -> Mapping[str, Any]:
    """The condition, empty while there is none."""
    conditions = world.server.document("pods", name, "shop")["status"].get("conditions", [])
    return next((each for each in conditions if each["type"] == names.RESOURCES_IN_SYNC), {})


async def reason(world: PodWorld, wanted: str, name: str = "web") -> Mapping[str, Any]:
    """Wait for a reason of the condition."""
    await world.server.until(lambda: told(world, name).get("reason") == wanted)
    return told(world, name)


async def follow(world: PodWorld, name: str = "web") -> None:
    """As soon as the pod is patched, have the kubelet bring its spec into force."""
    before = spec(world, name)
    await world.server.until(lambda: spec(world, name) != before)
    put(world, None, name, spec=spec(world, name))


async def test_a_resize_takes_two_writes(world: PodWorld) -> None:
    put(world, wish({"cpu": "0.15"}, {}))

    async with agent(world):
        await follow(world)
        await reason(world, "InSync")

    assert (world.server.writes[RESIZE], world.server.writes[STATUS]) == (1, 1)
    (sent,) = [each.body for each in world.server.requests if each.resource == "pods/resize"]
    uid = world.server.document("pods", "web", "shop")["metadata"]["uid"]
    assert sent == {
        "metadata": {"uid": uid},
        "spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "0.15"}}}]},
    }


async def test_another_agent_finds_nothing_to_do(world: PodWorld) -> None:
    put(world, wish({"cpu": "100m"}, {}))
    async with agent(world):
        await reason(world, "InSync")
    written = world.server.writes.total()

    put(world, wish({"cpu": "150m"}, {}), "other")
    async with agent(world):
        await follow(world, "other")
        await reason(world, "InSync", "other")

    assert world.server.writes.total() == written + 2


async def test_without_the_subresource_nothing_is_attempted(world: PodWorld) -> None:
    world.server.kinds["pods"] = dataclasses.replace(world.server.kinds["pods"], subresources=("status",))
    put(world, wish({"cpu": "150m"}, {}))

    async with agent(world):
        condition = await reason(world, "Unsupported")

    assert condition["message"].endswith("Kubernetes 1.33 or newer is needed; this is v1.37.2")
    assert world.server.count("patch", resource="pods/resize") == 0


async def test_where_nobody_asks_nothing_is_read(world: PodWorld) -> None:
    put(world, None)

    async with agent(world):
        put(world, None, "another")
        await world.seen(world.store(dict(world.server.document("pods", "another", "shop"))))

    assert {each.resource for each in world.server.requests} == {"pods"}


async def test_a_node_that_is_said_to_be_too_small_is_infeasible(world: PodWorld) -> None:
    world.server.fail(
        Fault(403, verb="patch", resource="pods/resize", times=99, causes=({"reason": "NodeCapacity"},))
    )
    put(world, wish({"cpu": "150m"}, {}))

    async with agent(world):
        condition = await reason(world, "Infeasible")
        await world.server.until(lambda: bool(world.events()))

    assert condition["message"] == "this was injected"
    assert world.events() == [("ResizeInfeasible", "this was injected")]
    assert world.server.count("patch", resource="pods/resize") == 1


@pytest.mark.parametrize("status", [403, 422])
async def test_what_is_refused_is_told_once_and_costs_no_other_pod(world: PodWorld, status: int) -> None:
    world.server.fail(Fault(status, verb="patch", resource="pods/resize"))
    put(world, wish({"cpu": "150m"}, {}))

    async with agent(world):
        condition = await reason(world, "Error")
        put(world, wish({"cpu": "150m"}, {}), "other")
        await follow(world, "other")
        await reason(world, "InSync", "other")

    assert condition["message"] == "this was injected"
    assert world.server.count("patch", resource="pods/resize") == 2


@pytest.mark.parametrize("fault", [Fault(409), Fault(reset=True), Fault(reset=True, status=500)])
async def test_a_patch_without_an_answer_is_tried_again(world: PodWorld, fault: Fault) -> None:
    world.server.fail(dataclasses.replace(fault, verb="patch", resource="pods/resize"))
    put(world, wish({"cpu": "150m"}, {}))

    async with agent(world):
        await follow(world)
        await reason(world, "InSync")

    assert spec(world)["requests"]["cpu"] == "150m"


async def test_a_report_without_an_answer_is_tried_again(world: PodWorld) -> None:
    world.server.fail(Fault(reset=True, status=500, verb="patch", resource="pods/status", times=2))
    put(world, wish({"cpu": "64"}, {"cpu": "64"}))

    async with agent(world):
        await reason(world, "Infeasible")


async def test_one_that_waits_is_resized_when_another_pod_goes(world: PodWorld) -> None:
    put(world, None, "holder", spec={"requests": {"cpu": "1800m"}})
    put(world, wish({"cpu": "500m"}, {"cpu": "1"}))

    async with agent(world):
        condition = await reason(world, "Deferred")
        world.server.remove("pods", "holder", "shop")
        await follow(world)
        await reason(world, "InSync")

    assert condition["message"].startswith("waits for room: cpu 400m more is needed, 100m is free")
    assert world.around.metrics.registry.get_sample_value("inplaced_resizes_deferred") == 0
    counted = world.around.metrics.registry.get_sample_value
    assert counted("inplaced_resizes_total", {"outcome": "Deferred"}) == 1


async def test_a_deferral_that_is_too_long_is_rolled_back_without_a_patch(world: PodWorld) -> None:
    put(world, None, "holder", spec={"requests": {"cpu": "1800m"}})
    put(world, wish({"cpu": "500m"}, {"cpu": "1"}, onDeferred="Rollback", deadlineSeconds=0))

    async with agent(world):
        condition = await reason(world, "RolledBack")

    assert condition["message"].startswith("restored app: cpu request 100m")
    assert world.server.count("patch", resource="pods/resize") == 0


async def test_a_roll_back_that_another_agent_began_is_finished(world: PodWorld) -> None:
    big = {"requests": {"cpu": "500m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}}
    put(world, wish({"cpu": "500m"}, {"cpu": "1"}, onInfeasible="Rollback"), spec=big, status=SMALL)
    infeasible = {
        "type": "PodResizePending",
        "status": "True",
        "reason": "Infeasible",
        "message": "static CPUs",
    }
    document = json.loads(json.dumps(world.server.document("pods", "web", "shop")))
    document["status"]["conditions"] = [infeasible]
    world.store(document)
    lost = world.server.fail(Fault(500, verb="patch", resource="pods/resize", times=10_000))
    async with agent(world):
        await reason(world, "RolledBack")
    lost.times = 0

    async with agent(world):
        await world.server.until(lambda: spec(world)["requests"]["cpu"] == "100m")

    assert spec(world) == SMALL


async def test_memory_is_lowered_when_less_of_it_is_in_use(world: PodWorld) -> None:
    identifier = bare(put(world, wish({"memory": "32Mi"}, {"memory": "48Mi"})))
    world.runtime.node.working_sets[identifier] = 40 * MIB

    async with agent(world):
        condition = await reason(world, "UnsafeDecrease")
        world.runtime.node.working_sets[identifier] = 20 * MIB
        await follow(world)
        await reason(world, "InSync")

    assert "40Mi is, 16Mi must be left above" in condition["message"]


async def test_a_restart_by_policy_is_counted_before_the_resize(world: PodWorld) -> None:
    policy = [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]
    put(world, wish({"cpu": "150m"}, {}), resizePolicy=policy)

    async with agent(world):
        await world.server.until(lambda: world.server.writes[RESIZE] == 1)

    writes = [each.resource for each in world.server.requests if each.verb == "patch"]
    assert writes[:2] == ["pods/status", "pods/resize"]
    annotations = world.server.document("pods", "web", "shop")["metadata"]["annotations"]
    assert annotations[names.PLANNED_RESTARTS_ANNOTATION] == '{"app":1}'


async def test_a_wish_that_is_withdrawn_leaves_no_stale_condition(world: PodWorld) -> None:
    put(world, wish({"cpu": "64"}, {"cpu": "64"}))

    async with agent(world):
        await reason(world, "Infeasible")
        document = json.loads(json.dumps(world.server.document("pods", "web", "shop")))
        del document["metadata"]["annotations"][names.RESOURCES_ANNOTATION]
        del document["metadata"]["resourceVersion"]
        world.store(document)
        condition = await reason(world, "InSync")

    assert condition["message"] == "nothing is wanted any more"


@pytest.mark.parametrize(
    "text", ["{", "[" * 5000, '{"containers":{"app":{"requests":{"cpu":"1e999999999"}}}}']
)
async def test_a_hostile_annotation_does_nothing_but_be_told_of(world: PodWorld, text: str) -> None:
    put(world, text)

    async with agent(world):
        await reason(world, "Error")
        put(world, wish({"cpu": "150m"}, {}), "other")
        await follow(world, "other")
        await reason(world, "InSync", "other")

    assert world.server.count("patch", resource="pods/resize") == 1
