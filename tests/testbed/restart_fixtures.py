"""A cluster for tests of restarts in place, and names for its pods."""

import zlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.testbed.cluster import Cluster
from tests.testbed.handed_over import HandedOver
from tests.testbed.restarting import PAGE, Restarting, restarting
from tests.testbed.session import Session
from tests.testbed.sets import RealSet, make_images


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


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def set_images(bed: Restarting) -> tuple[str, str]:
    """Two images that differ."""
    return await make_images(bed.cluster)


@pytest_asyncio.fixture(loop_scope="session")
async def left(bed: Restarting, prefix: str) -> AsyncIterator[HandedOver]:
    """A set that nobody controls yet: agent and controller run only when the test starts them."""
    web = RealSet(bed.api, f"web-{zlib.crc32(prefix.encode()):x}")
    await bed.stop()
    try:
        yield HandedOver(web)
    finally:
        await bed.start()
        await web.delete()
