"""When a runtime is probed out of turn: its silence and its end are noticed without waiting, at no cost."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemon.cri.client import CriClient
from daemon.cri.errors import TimedOutError
from daemon.cri.runtimes import Runtime
from tests.fakes.runtime import FakeRuntime, serving
from tests.functional.watched_runtimes import DEADLINE, NEVER, ready, watching

ROUNDS = ["ListImages"] * 3


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cri.sock"


@pytest.fixture
async def fake(path: Path) -> AsyncIterator[FakeRuntime]:
    async with serving(path) as started:
        yield started


async def test_a_suspected_runtime_that_is_well_stays_ready(fake: FakeRuntime, path: Path) -> None:
    async with watching(path) as watched:
        runtime = await ready(watched)
        before = len(fake.calls)
        probed = fake.hang("Status", times=1)

        watched.runtimes.suspect(runtime)
        async with asyncio.timeout(DEADLINE):
            await probed.met.wait()
        probed.released.set()

    assert len(fake.calls) > before
    assert runtime.ready
    assert watched.changes == 1


async def test_a_runtime_that_hangs_is_not_ready(fake: FakeRuntime, path: Path) -> None:
    async with watching(path) as watched:
        runtime = await ready(watched)
        fake.hang("Version")

        watched.runtimes.suspect(runtime)
        await watched.until(lambda: not runtime.ready)

        assert "DEADLINE_EXCEEDED" in runtime.problem


async def test_a_runtime_that_ends_is_noticed_while_nobody_asks_it(fake: FakeRuntime, path: Path) -> None:
    async with watching(path) as watched:
        runtime = await ready(watched)

        await fake.stop()
        await watched.until(lambda: not runtime.ready)

    assert "UNAVAILABLE" in runtime.problem


async def test_a_question_that_is_not_answered_has_the_runtime_probed(fake: FakeRuntime, path: Path) -> None:
    async with watching(path) as watched:
        runtime = await ready(watched)
        for method in ("ImageStatus", "Version"):
            fake.hang(method)

        with pytest.raises(TimedOutError):
            await CriClient(runtime.channel, timeout=0.1).image_status("app:v1")
        await watched.until(lambda: not runtime.ready)

        fake.heal()
        await watched.until(lambda: runtime.ready)


async def test_a_question_that_is_long_unanswered_has_the_runtime_probed_while_it_waits(
    fake: FakeRuntime, path: Path
) -> None:
    async with watching(path) as watched:
        runtime = await ready(watched)
        for method in ("ImageStatus", "Version"):
            fake.hang(method)

        async with asyncio.TaskGroup() as group:
            question = group.create_task(runtime.client.image_status("app:v1"))
            await watched.until(lambda: not runtime.ready)
            waiting = not question.done()
            fake.heal()

    assert waiting
    assert question.result() is None


async def test_a_pull_that_takes_too_long_says_nothing_about_the_runtime(
    fake: FakeRuntime, path: Path
) -> None:
    async with watching(path) as watched:
        runtime = await ready(watched)
        fake.hang("PullImage")

        with pytest.raises(TimedOutError):
            await runtime.client.pull_image("app:v1", timeout=0.1)
        await _rounds(runtime)

        assert not runtime.suspected.is_set()
        assert [name for name, _ in fake.calls] == ["Version", "Status", "PullImage", *ROUNDS]


async def test_a_runtime_that_is_suspected_without_end_is_not_probed_without_end(
    fake: FakeRuntime, path: Path
) -> None:
    async with watching(path, probing=NEVER) as watched:
        runtime = await ready(watched)

        runtime.suspect()
        await _rounds(runtime)

        assert [name for name, _ in fake.calls] == ["Version", "Status", *ROUNDS]


async def _rounds(runtime: Runtime) -> None:
    """Give a probe that has begun the time to be seen."""
    for _ in ROUNDS:
        await runtime.client.list_images()


async def test_at_rest_a_ready_runtime_is_not_asked_again(fake: FakeRuntime, path: Path) -> None:
    async with watching(path, probing=NEVER) as watched:
        await ready(watched)
        handles = [task for task in asyncio.all_tasks() if task.get_name().startswith("runtime ")]

        assert [name for name, _ in fake.calls] == ["Version", "Status"]
        assert len(handles) == 1
