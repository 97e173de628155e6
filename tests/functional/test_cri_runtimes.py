"""Runtimes that come, go and return, on real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpclib.const import Status

from daemon.cri.channel import Channel
from daemon.cri.errors import RuntimeDownError
from daemon.cri.extras import ImageExtras, PhasesOnly
from daemon.cri.runtimes import Runtimes
from daemon.cri.sockets import Candidate
from tests.fakes.holdings import FakeHoldings
from tests.fakes.runtime import FakeRuntime, serving
from tests.functional.watched_runtimes import DEADLINE, PROBING, ready, watching


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cri.sock"


@pytest.fixture
async def fake(path: Path) -> AsyncIterator[FakeRuntime]:
    async with serving(path) as started:
        yield started


async def test_a_runtime_is_found_with_name_version_and_extras(fake: FakeRuntime, path: Path) -> None:
    async with watching(path) as watched:
        runtime = await ready(watched)

    assert (runtime.name, runtime.version.runtime_version) == ("containerd", "2.3.7")
    assert runtime.socket == str(path)
    assert watched.made == [("containerd", "2.3.7")]
    assert watched.changes == 1


async def test_without_a_runtime_nothing_is_ready_and_the_reason_is_told(path: Path) -> None:
    async with watching(path) as watched:
        assert watched.runtimes.default is None
        assert watched.runtimes.problem == f"no container runtime found at {path}"


async def test_a_runtime_that_appears_later_is_found(path: Path) -> None:
    async with watching(path) as watched, serving(path):
        runtime = await ready(watched)

    assert runtime.ready


async def test_a_lost_runtime_is_not_ready_and_its_return_is_seen(fake: FakeRuntime, path: Path) -> None:
    async with watching(path) as watched:
        runtime = await ready(watched)
        await fake.stop()
        watched.runtimes.suspect(runtime)
        await watched.until(lambda: not runtime.ready)

        assert watched.runtimes.default is None
        assert "UNAVAILABLE" in watched.runtimes.problem

        await fake.start()
        returned = await ready(watched)

    assert returned is runtime
    assert watched.runtimes.problem == ""
    assert watched.changes == 3


async def test_a_runtime_that_says_so_itself_is_not_ready(fake: FakeRuntime, path: Path) -> None:
    async with watching(path) as watched:
        runtime = await ready(watched)
        fake.node.ready = False

        watched.runtimes.suspect(runtime)
        await watched.until(lambda: not runtime.ready)

        assert runtime.problem == "RuntimeDown: told to"


async def test_a_runtime_that_does_not_say_whether_it_is_ready_is_not(fake: FakeRuntime, path: Path) -> None:
    async with watching(path) as watched:
        runtime = await ready(watched)
        fake.node.ready = None

        watched.runtimes.suspect(runtime)
        await watched.until(lambda: not runtime.ready)

        assert "no RuntimeReady condition" in repr(runtime)


async def test_a_socket_that_serves_no_cri_is_not_ready_but_others_are(tmp_path: Path) -> None:
    first, second = tmp_path / "first.sock", tmp_path / "second.sock"
    async with serving(first) as broken, serving(second):
        broken.fail("Version", Status.UNIMPLEMENTED, "unknown service runtime.v1.RuntimeService")
        async with watching(first, second) as watched:
            runtime = await ready(watched)

            assert runtime.socket == str(second)


async def test_several_runtimes_are_kept_and_found_by_name(tmp_path: Path) -> None:
    first, second = tmp_path / "first.sock", tmp_path / "second.sock"
    crio = FakeHoldings(name="cri-o", version="1.34.0")
    async with serving(first), serving(second, crio), watching(first, second) as watched:
        await watched.until(lambda: sum(runtime.ready for runtime in watched.runtimes.all) == 2)
        found = watched.runtimes.by_name("cri-o")

        assert found is not None
        assert found.socket == str(second)
        assert watched.runtimes.default is watched.runtimes.by_name("containerd")
        assert watched.runtimes.by_name("docker") is None


async def test_by_name_knows_a_runtime_that_is_down(fake: FakeRuntime, path: Path) -> None:
    async with watching(path) as watched:
        runtime = await ready(watched)
        await fake.stop()
        watched.runtimes.suspect(runtime)
        await watched.until(lambda: not runtime.ready)

        assert watched.runtimes.by_name("containerd") is runtime


async def test_the_next_runtime_is_the_default_while_the_first_is_down(tmp_path: Path) -> None:
    first, second = tmp_path / "first.sock", tmp_path / "second.sock"
    async with serving(first) as primary, serving(second), watching(first, second) as watched:
        await watched.until(lambda: sum(runtime.ready for runtime in watched.runtimes.all) == 2)
        before = watched.runtimes.default
        assert before is not None

        await primary.stop()
        watched.runtimes.suspect(before)
        await watched.until(lambda: watched.runtimes.default is not before)

        assert watched.runtimes.default is watched.runtimes.all[1]


async def test_a_new_version_behind_the_same_socket_has_extras_of_its_own(
    fake: FakeRuntime, path: Path
) -> None:
    async with watching(path) as watched:
        runtime = await ready(watched)
        fake.node.version = "2.4.0"

        watched.runtimes.suspect(runtime)
        await watched.until(lambda: runtime.version.runtime_version == "2.4.0")

    assert watched.made == [("containerd", "2.3.7"), ("containerd", "2.4.0")]
    assert watched.changes == 2


async def test_extras_that_cannot_be_made_yet_are_made_later(fake: FakeRuntime, path: Path) -> None:
    failing = 2

    async def make(channel: Channel, name: str, version: str) -> ImageExtras:
        nonlocal failing
        failing -= 1
        if failing >= 0:
            raise RuntimeDownError("Version.Version", "UNAVAILABLE", "not yet")
        return PhasesOnly()

    runtimes = Runtimes([Candidate(path, "settings")], make, probing=PROBING)
    task = asyncio.create_task(runtimes.run())
    async with asyncio.timeout(DEADLINE):
        runtime = await runtimes.wait_ready()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

    assert runtime.ready
    assert failing < 0


async def test_the_end_closes_connections_and_leaves_no_task(fake: FakeRuntime, path: Path) -> None:
    before = asyncio.all_tasks()
    async with watching(path) as watched:
        runtime = await ready(watched)

    assert asyncio.all_tasks() - before == set()
    assert runtime.channel._connection is None


async def test_a_call_that_waits_is_woken_by_readiness(path: Path) -> None:
    async with watching(path) as watched:
        waiting = asyncio.create_task(watched.runtimes.wait_ready())
        async with serving(path):
            async with asyncio.timeout(DEADLINE):
                runtime = await waiting

            assert runtime.ready
