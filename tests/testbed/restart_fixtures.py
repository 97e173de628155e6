"""A cluster for tests of restarts in place, and names for its pods."""

import zlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.testbed.cluster import Cluster
from tests.testbed.restarting import PAGE, Restarting, restarting
from tests.testbed.session import Session


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def bed(testbed: Session) -> AsyncIterator[Restarting]:
    """A cluster of its own: no other agent works on this node."""
    cluster = Cluster(testbed.new_directory("k"))
    try:
        await cluster.start()
        async with restarting(cluster, settings={"listen": PAGE}) as started:
            yield started
    finally:
        await cluster.stop()
        cluster.remove()


@pytest.fixture
def web(prefix: str) -> str:
    """Of this test's pods: one of their labels, too, which is why it is short."""
    words = "".join(char if char.isalnum() else "-" for char in prefix.lower())
    return f"{words[-30:].strip('-')}-{zlib.crc32(prefix.encode()):08x}"
