"""Resizes of pods on a real kubelet: what the annotation asks for is what the cgroups say in the end."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.testbed.resizing import (
    ResizingNode,
    amounts,
    condition,
    container,
    ids,
    pod,
    resizing_node,
    text_of,
)
from tests.testbed.session import Session

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def node(testbed: Session) -> AsyncIterator[ResizingNode]:
    """A node with an agent that all tests of the module share."""
    async with resizing_node(resize_check_interval="1") as made:
        yield made


async def test_an_increase_reaches_the_cgroup_without_a_restart(node: ResizingNode, prefix: str) -> None:
    await node.run(
        pod(
            prefix,
            container("app", node.image, requests=amounts("100m", "64Mi"), limits=amounts("200m", "128Mi")),
        )
    )
    before = await node.get(prefix)

    await node.wish(
        prefix,
        {"containers": {"app": {"requests": amounts("0.15", "96Mi"), "limits": amounts("300m", "0.25Gi")}}},
    )
    seen = await node.outcome(prefix, "InSync")

    assert condition(seen)["status"] == "True"
    assert ids(seen) == ids(before)
    assert text_of(node.cgroup(seen, "cpu", "cpu.cfs_quota_us")) == "30000"
    assert text_of(node.cgroup(seen, "cpu", "cpu.shares")) == "153"
    assert text_of(node.cgroup(seen, "memory", "memory.limit_in_bytes")) == str(256 * 2**20)
