"""What fails while pods are resized, and what must be true after it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.testbed.resizing import (
    PODS,
    ResizingNode,
    amounts,
    condition,
    container,
    pod,
    reads,
    resizing_node,
)
from tests.testbed.session import Session

pytestmark = pytest.mark.asyncio(loop_scope="session")
KILLED_AFTER = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.15)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def node(testbed: Session) -> AsyncIterator[ResizingNode]:
    """A node with an agent; what is killed is started again."""
    async with resizing_node() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def name(node: ResizingNode, prefix: str) -> AsyncIterator[str]:
    """The name of a running pod of this test."""
    await node.run(
        pod(prefix, container("app", node.image, requests=amounts("100m"), limits=amounts("200m")))
    )
    yield prefix
    left = [each["metadata"]["name"] for each in (await node.call("GET", PODS))["items"]]
    await node.remove(*left)


def limit(millicores: int, **more: object) -> dict[str, object]:
    return {"containers": {"app": {"limits": amounts(f"{millicores}m")}}, **more}


async def test_an_agent_that_is_killed_at_any_line_goes_on_where_it_was(
    node: ResizingNode, name: str
) -> None:
    file = node.cgroup(await node.get(name), "cpu", "cpu.cfs_quota_us")
    for number, seconds in enumerate(KILLED_AFTER):
        millicores = 300 + 10 * number

        await node.wish(name, limit(millicores))
        await asyncio.sleep(seconds)  # The line at which it is killed.
        await node.agent.kill()
        await node.agent.start()

        seen = await node.until(
            name, lambda each, told=f"cpu limit {millicores}m": told in condition(each)["message"]
        )
        assert condition(seen)["reason"] == "InSync"
        await reads(file, str(millicores * 100))
    generation = (await node.get(name))["metadata"]["generation"]
    assert generation == 1 + len(KILLED_AFTER), "each was patched once"


async def test_a_roll_back_outlives_the_agent(node: ResizingNode, name: str) -> None:
    for number, seconds in enumerate((0.0, 0.01, 0.03)):
        await node.wish(
            name,
            {
                "containers": {"app": {"requests": amounts(f"{64 + number}"), "limits": amounts("99")}},
                "onInfeasible": "Rollback",
            },
        )
        await asyncio.sleep(seconds)  # The line at which it is killed.
        await node.agent.kill()
        await node.agent.start()

        seen = await node.until(
            name, lambda each, told=f"cpu {64 + number} is": told in condition(each)["message"]
        )
        assert condition(seen)["reason"] == "RolledBack"
        assert seen["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "200m"


async def test_a_resize_outlives_a_restart_of_the_kubelet(node: ResizingNode, name: str) -> None:
    await node.cluster.kubelet.stop()
    await node.wish(name, limit(400))
    told = await node.outcome(name, "Resizing")
    node.cluster.kubelet.start()

    # What came while it was away, a kubelet looks at 30 s after its start.
    seen = await node.outcome(name, "InSync", timeout=60.0)

    assert condition(told)["message"] != ""
    await reads(node.cgroup(seen, "cpu", "cpu.cfs_quota_us"), "40000")


async def test_a_pod_that_is_deleted_meanwhile_is_no_error(node: ResizingNode, name: str) -> None:
    await node.run(
        pod("gone", container("app", node.image, requests=amounts("100m"), limits=amounts("200m")))
    )
    written = len(node.agent.log)

    await node.wish("gone", limit(300))
    await node.remove("gone")
    await node.wish(name, limit(300))
    await node.outcome(name, "InSync")

    assert '"level": "error"' not in node.agent.log[written:]


async def test_the_api_server_may_be_away_meanwhile(node: ResizingNode, name: str) -> None:
    await node.wish(name, limit(300))
    await node.cluster.control_plane.stop_apiserver()
    await node.cluster.control_plane.start_apiserver()
    await node.wish(name, limit(350))

    seen = await node.until(name, lambda each: "cpu limit 350m" in condition(each)["message"])

    assert condition(seen)["reason"] == "InSync"
