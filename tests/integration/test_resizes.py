"""Resizes of pods on a real kubelet: what the annotation asks for is what the cgroups say in the end."""

import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from daemon import names
from daemon.cri.channel import Channel
from daemon.cri.client import CriClient
from daemon.cri.types import Resources
from tests.testbed.api import run
from tests.testbed.programs import kubernetes_minor
from tests.testbed.resizing import (
    PODS,
    ResizingNode,
    amounts,
    condition,
    container,
    ids,
    pod,
    reads,
    resizing_node,
    text_of,
)
from tests.testbed.session import Session

pytestmark = pytest.mark.asyncio(loop_scope="session")
MIB = 2**20


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def node(testbed: Session) -> AsyncIterator[ResizingNode]:
    """A node with an agent that all tests of the module share."""
    async with resizing_node(resize_check_interval="1", memory_margin_mib="4") as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def name(node: ResizingNode, prefix: str) -> AsyncIterator[str]:
    """The name of a pod of this test, which is removed afterwards with all others."""
    yield prefix
    left = [each["metadata"]["name"] for each in (await node.call("GET", PODS))["items"]]
    await node.remove(*left)


def small(node: ResizingNode, name: str = "app", **more: Any) -> dict[str, Any]:
    """A container with 100m to 200m and 64Mi to 128Mi."""
    return container(
        name, node.image, requests=amounts("100m", "64Mi"), limits=amounts("200m", "128Mi"), **more
    )


def planned(seen: dict[str, Any]) -> object:
    return json.loads(seen["metadata"]["annotations"].get(names.PLANNED_RESTARTS_ANNOTATION, "{}"))


def wish(requests: dict[str, str], limits: dict[str, str], **more: object) -> dict[str, object]:
    return {"containers": {"app": {"requests": requests, "limits": limits}}, **more}


def quota(node: ResizingNode, seen: dict[str, Any], name: str = "app") -> str:
    return text_of(node.cgroup(seen, "cpu", "cpu.cfs_quota_us", name))


def memory(node: ResizingNode, seen: dict[str, Any], name: str = "app") -> str:
    return text_of(node.cgroup(seen, "memory", "memory.limit_in_bytes", name))


async def test_an_increase_reaches_the_cgroup_without_a_restart(node: ResizingNode, name: str) -> None:
    await node.run(pod(name, small(node)))
    before = await node.get(name)

    await node.wish(name, wish(amounts("0.15", "96Mi"), amounts("300m", "0.25Gi"), revision="web-2"))
    seen = await node.outcome(name, "InSync")

    assert condition(seen)["status"] == "True"
    assert ids(seen) == ids(before)
    assert (quota(node, seen), memory(node, seen)) == ("30000", str(256 * MIB))
    assert text_of(node.cgroup(seen, "cpu", "cpu.shares")) == "153"
    record = json.loads(seen["metadata"]["annotations"][names.RESIZE_RECORD_ANNOTATION])
    assert (record["revision"], record["reason"]) == ("web-2", "InSync")


async def test_a_decrease_reaches_the_cgroup_without_a_restart(node: ResizingNode, name: str) -> None:
    await node.run(pod(name, small(node)))
    before = await node.get(name)

    await node.wish(name, wish(amounts("50m", "32Mi"), amounts("100m", "96Mi")))
    seen = await node.outcome(name, "InSync")

    assert ids(seen) == ids(before)
    assert (quota(node, seen), memory(node, seen)) == ("10000", str(96 * MIB))


async def test_all_containers_are_resized_at_once(node: ResizingNode, name: str) -> None:
    sidecar = {**small(node, "mesh"), "restartPolicy": "Always"}
    await node.run(pod(name, small(node), small(node, "log"), initContainers=[sidecar]))

    limits = {"limits": amounts("300m")}
    await node.wish(name, {"containers": dict.fromkeys(("app", "log", "mesh"), limits)})
    seen = await node.outcome(name, "InSync")

    assert [quota(node, seen, each) for each in ("app", "log")] == ["30000", "30000"]
    assert seen["spec"]["initContainers"][0]["resources"]["limits"]["cpu"] == "300m"
    assert seen["metadata"]["generation"] == 2, "one patch"


async def test_the_pod_as_a_whole_is_resized_where_that_is_served(node: ResizingNode, name: str) -> None:
    free = container("app", node.image)
    given = {"requests": amounts("200m", "64Mi"), "limits": amounts("300m", "128Mi")}
    await node.run(pod(name, free, resources=given))

    await node.wish(name, {"pod": {"limits": amounts("400m")}})
    seen = await node.until(name, lambda each: condition(each)["reason"] in {"InSync", "Error"})

    if int(kubernetes_minor().partition(".")[2]) < 36:
        assert "pod-level resources" in condition(seen)["message"]
    else:
        assert condition(seen)["message"].endswith("cpu limit 400m, memory limit 128Mi")
        assert text_of(node.cgroup(seen, "cpu", "../cpu.cfs_quota_us")) == "40000"


async def test_a_restart_that_the_policy_asks_for_is_a_planned_one(node: ResizingNode, name: str) -> None:
    await node.run(pod(name, small(node, policy=("memory",)), small(node, "log")))
    before = await node.get(name)

    await node.wish(name, wish({}, amounts("", "160Mi")))
    seen = await node.outcome(name, "InSync")

    assert {each["name"]: each["restartCount"] for each in seen["status"]["containerStatuses"]} == {
        "app": 1,
        "log": 0,
    }
    assert planned(seen) == {"app": 1}
    assert ids(seen)["log"] == ids(before)["log"]
    assert memory(node, seen) == str(160 * MIB)


async def test_what_the_node_can_never_hold_is_told_within_a_second(node: ResizingNode, name: str) -> None:
    await node.run(pod(name, small(node)))

    started = time.monotonic()
    await node.wish(name, wish(amounts("64"), amounts("64")))
    seen = await node.outcome(name, "Infeasible")
    event = await node.event(name, "ResizeInfeasible")

    assert time.monotonic() - started < 1.0
    assert condition(seen)["message"] == "the node can never hold it: cpu 64 is requested, 2 is allocatable"
    assert event == condition(seen)["message"]
    assert seen["metadata"]["generation"] == 1, "nothing was sent"


async def test_who_does_not_fit_waits_until_there_is_room(node: ResizingNode, name: str) -> None:
    await node.run(pod("holder", small(node)), pod(name, small(node)))
    await node.wish("holder", wish(amounts("1"), amounts("1")))
    await node.outcome("holder", "InSync")

    await node.wish(name, wish(amounts("1500m"), amounts("1500m")))
    waits = await node.outcome(name, "Deferred")
    await node.wish("holder", wish(amounts("100m"), amounts("1")))
    seen = await node.outcome(name, "InSync")

    assert condition(waits)["message"].startswith("waits for room: cpu 1400m more is needed, 900m is free")
    assert quota(node, seen) == "150000"


async def test_memory_is_not_taken_from_who_uses_it(node: ResizingNode, name: str) -> None:
    await node.run(pod(name, small(node)))
    await node.api.kubectl("exec", name, "--", "sh", "-c", "head -c 50m /dev/zero > /dev/shm/used")

    await node.wish(name, wish(amounts("", "32Mi"), amounts("", "48Mi")))
    held = await node.outcome(name, "UnsafeDecrease")
    assert memory(node, held) == str(128 * MIB)
    await node.api.kubectl("exec", name, "--", "sh", "-c", "rm /dev/shm/used")
    seen = await node.outcome(name, "InSync")

    assert "waits until less is in use" in condition(held)["message"]
    assert memory(node, seen) == str(48 * MIB)
    assert [each["restartCount"] for each in seen["status"]["containerStatuses"]] == [0]


async def test_a_newer_wish_takes_the_place_of_one_in_flight(node: ResizingNode, name: str) -> None:
    await node.run(pod(name, small(node)))

    for millicores in range(210, 300, 10):
        await node.wish(name, wish({}, amounts(f"{millicores}m")))
    seen = await node.until(name, lambda each: "cpu limit 290m" in condition(each)["message"])

    assert condition(seen)["reason"] == "InSync"
    assert quota(node, seen) == "29000"


async def test_a_newer_wish_takes_the_place_of_one_that_waits(node: ResizingNode, name: str) -> None:
    await node.run(pod(name, small(node)))
    await node.wish(name, wish(amounts("64"), amounts("64")))
    await node.outcome(name, "Infeasible")

    await node.wish(name, wish({}, amounts("250m")))

    assert quota(node, await node.outcome(name, "InSync")) == "25000"


async def test_what_the_kubelet_defers_for_too_long_is_rolled_back(node: ResizingNode, name: str) -> None:
    await node.run(pod("holder", small(node)), pod(name, small(node)))
    await node.wish("holder", wish(amounts("1"), amounts("1")))
    await node.outcome("holder", "InSync")
    by_hand = {"name": "app", "resources": {"requests": amounts("1500m"), "limits": amounts("1500m")}}
    await node.call("PATCH", f"{PODS}/{name}/resize", {"spec": {"containers": [by_hand]}}, patch="strategic")
    await node.until(name, lambda each: condition(each, "PodResizePending")["reason"] == "Deferred")

    await node.wish(name, wish(amounts("1500m"), amounts("1500m"), onDeferred="Rollback", deadlineSeconds=1))
    told = await node.outcome(name, "RolledBack")
    seen = await node.until(name, lambda each: not condition(each, "PodResizePending")["reason"])

    assert condition(told)["message"].startswith(
        "restored app: cpu request 100m, memory request 64Mi, cpu limit 200m, memory limit 128Mi, "
        "as it had waited for 1 s: the kubelet says:"
    )
    assert seen["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "200m"
    assert await node.event(name, "ResizeRolledBack") == condition(told)["message"]


async def test_what_the_runtime_forgets_is_repaired(node: ResizingNode, name: str) -> None:
    await node.run(pod(name, small(node), wish=wish({}, amounts("300m"))))
    seen = await node.outcome(name, "InSync")

    async with Channel(str(node.cluster.containerd.socket)) as channel:
        found = ids(seen)["app"].removeprefix("containerd://")
        changed = Resources(cpu_period=100_000, cpu_quota=5_000)
        await CriClient(channel).update_container_resources(found, changed)
    await reads(node.cgroup(seen, "cpu", "cpu.cfs_quota_us"), "30000", timeout=20.0)

    event = await node.event(name, "ResourcesRepaired")
    assert "the cpu quota is 5000 us in 100000 us, not 30000" in event


async def test_what_somebody_else_resizes_is_brought_back(node: ResizingNode, name: str) -> None:
    await node.run(pod(name, small(node), wish=wish({}, amounts("300m"))))
    seen = await node.outcome(name, "InSync")
    other = {"name": "app", "resources": {"limits": amounts("400m")}}

    await node.call("PATCH", f"{PODS}/{name}/resize", {"spec": {"containers": [other]}}, patch="strategic")

    await node.until(name, lambda each: each["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "300m")
    await reads(node.cgroup(seen, "cpu", "cpu.cfs_quota_us"), "30000")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "annotation inplaced.dev/resources: Input data was truncated"),
        (
            '{"containers":{"db":{"requests":{"cpu":"1"}}}}',
            "containers.db is no container of the pod; allowed: app",
        ),
        ('{"containers":{"app":{"requests":{"cpu":"1"}}}}', "is above the limit; allowed: at most 200m"),
        ('{"containers":{"app":{"limits":{"cpu":null}}}}', "cannot be removed from a running pod"),
    ],
)
async def test_a_wish_that_cannot_be_is_refused_without_a_call(
    node: ResizingNode, name: str, text: str, told: str
) -> None:
    await node.run(pod(name, small(node)))

    body = {"metadata": {"annotations": {names.RESOURCES_ANNOTATION: text}}}
    await node.call("PATCH", f"{PODS}/{name}", body)
    seen = await node.outcome(name, "Error")

    assert told in condition(seen)["message"]
    assert seen["metadata"]["generation"] == 1


async def inplaced(node: ResizingNode, *words: str) -> str:
    """What the plugin prints to somebody who is not at a terminal."""
    program = Path(sys.executable).with_name("kubectl-inplaced")
    return await run([str(program), *words], environ=os.environ | {"KUBECONFIG": str(node.api.kubeconfig)})


async def test_a_person_resizes_pods_and_learns_what_one_waits_for(node: ResizingNode, name: str) -> None:
    await node.run(pod(name, small(node)), pod("holder", small(node)))

    holder = await inplaced(node, "resize", "holder", "--cpu", "1/1")
    asked = await inplaced(node, "resize", f"pod/{name}", "--cpu", "1500m/1500m", "--no-wait")
    await node.outcome(name, "Deferred")
    why = (await inplaced(node, "why", f"pod/{name}")).splitlines()

    assert "ok      pod/holder  app: cpu request 1, memory request 64Mi, cpu limit 1," in holder
    assert asked == f"pod/{name} asked for other resources\n"
    assert why[1].startswith("  its resources are not in sync: Deferred for ")
    assert "s: waits for room: cpu 1400m more is needed" in why[1]
    assert "    cpu 1 and memory 64Mi is held by default/holder" in why


async def test_a_patch_for_another_pod_of_that_name_is_refused(node: ResizingNode, name: str) -> None:
    await node.run(pod(name, small(node)))
    body = {
        "metadata": {"uid": "another"},
        "spec": {"containers": [{"name": "app", "resources": {"limits": amounts("300m")}}]},
    }

    with pytest.raises(Exception, match=r"422.*metadata.uid"):
        await node.call("PATCH", f"{PODS}/{name}/resize", body, patch="strategic")
