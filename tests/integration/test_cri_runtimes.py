"""Supervision of real runtimes: found, lost, frozen, restarted."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from daemon.cri.channel import Channel
from daemon.cri.errors import RuntimeDownError
from daemon.cri.extras import ImageExtras, PhasesOnly
from daemon.cri.runtimes import Probing, Runtimes
from daemon.cri.sockets import candidates
from tests.testbed import faults
from tests.testbed.containerd import Containerd
from tests.testbed.faulty import FaultyRegistry
from tests.testbed.pushing import ImageMaker

DEADLINE = 30.0


async def _no_extras(channel: Channel, name: str, version: str) -> ImageExtras:
    return PhasesOnly()


@pytest.fixture
def changed() -> asyncio.Event:
    """Set when a runtime became ready, or ceased to be."""
    return asyncio.Event()


@pytest_asyncio.fixture
async def runtimes(own_containerd: Containerd, changed: asyncio.Event) -> AsyncIterator[Runtimes]:
    supervised = Runtimes(
        candidates([own_containerd.endpoint]),
        _no_extras,
        on_change=changed.set,
        probing=Probing(interval=60.0, first_retry=0.05, last_retry=0.5, timeout=1.0),
    )
    task = asyncio.create_task(supervised.run())
    yield supervised
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_killed_runtime_is_down_at_once_and_back_after_its_restart(
    runtimes: Runtimes,
    own_containerd: Containerd,
    faulty_registry: FaultyRegistry,
    faulty_image_maker: ImageMaker,
) -> None:
    made = await faulty_image_maker.make_random("app", 1000)
    fault = faulty_registry.go_wrong(faults.hold(10))
    async with asyncio.timeout(DEADLINE):
        runtime = await runtimes.wait_ready()
        pull = asyncio.create_task(runtime.client.pull_image(made.ref, timeout=600))
        await fault.held.wait()

        await own_containerd.kill()
        await asyncio.wait([pull])
        runtimes.suspect(runtime)
        faulty_registry.recover()
        await own_containerd.start()
        returned = await runtimes.wait_ready()
        pulled = await returned.client.pull_image(made.ref, timeout=DEADLINE)

    assert isinstance(pull.exception(), RuntimeDownError)
    assert returned is runtime
    assert pulled == made.config_digest


async def test_a_frozen_runtime_is_not_ready_and_ready_when_it_thaws(
    runtimes: Runtimes, own_containerd: Containerd, changed: asyncio.Event
) -> None:
    async with asyncio.timeout(DEADLINE):
        runtime = await runtimes.wait_ready()
        changed.clear()
        own_containerd.freeze()
        try:
            runtimes.suspect(runtime)
            await changed.wait()
            ready, problem = runtime.ready, runtime.problem
        finally:
            own_containerd.thaw()
        await runtimes.wait_ready()

    assert ready is False
    assert "DEADLINE_EXCEEDED" in problem
