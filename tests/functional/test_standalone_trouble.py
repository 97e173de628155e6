"""The standalone process when its runtime fails, its disk fills up, or it ends and starts again itself."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpclib.const import Status

from tests.fakes.holdings import digest_of
from tests.functional.standalone_world import World, world
from tests.testbed.agent import pull_job

REF = "registry.test/app:v1"
LAYER = digest_of("layer")
ONCE = {"backoffLimit": 0}


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        made.node.offer(REF)
        yield made


async def test_the_end_of_the_process_leaves_what_is_half_fetched_to_the_next(here: World) -> None:
    stuck = here.runtime.hang("PullImage")

    async with here.running(shutdown_grace="0") as process:
        here.write("app", pull_job("app", REF))
        await stuck.met.wait()
        here.containerd.fetch(f"layer-{LAYER}", 30, 100)
        await process.pull(REF, lambda pull: pull.bytes_done == 30, "half fetched")

    assert stuck.cancelled.is_set()
    assert here.containerd.ingests.keys() == {f"layer-{LAYER}"}


async def test_a_stop_waits_for_nothing_when_nothing_is_under_way(here: World) -> None:
    # Far longer than the world has patience for.
    async with here.running(shutdown_grace="3600") as process:
        here.write("app", pull_job("app", REF))
        await process.ended("app")


async def test_a_pull_that_ends_within_the_grace_of_a_stop_is_not_repeated(here: World) -> None:
    stuck = here.runtime.hang("PullImage")
    async with here.running(shutdown_grace="5"):
        here.write("app", pull_job("app", REF))
        await stuck.met.wait()
        asyncio.get_running_loop().call_later(0.3, here.runtime.heal)

    async with here.running() as process:
        job = await process.ended("app")

    assert job.succeeded == 1
    assert not stuck.cancelled.is_set()
    assert here.pulled() == [REF]


async def test_a_disk_that_fills_up_while_a_pull_runs_uses_up_no_retry(here: World) -> None:
    text = "failed to extract layer: write /x: no space left on device"
    here.runtime.fail("PullImage", Status.UNKNOWN, text, times=2)

    async with here.running(space_retry="0.5") as process:
        here.write("app", pull_job("app", REF, pullPolicy=ONCE))
        pull = await process.pull(REF, lambda pull: pull.reason == "NoSpace", "told")
        job = await process.ended("app")

    assert pull.failures == 0
    assert (job.succeeded, len(here.pulled())) == (1, 3)


@pytest.mark.parametrize("what", ["PullImage", "ImageStatus"])
async def test_a_runtime_that_goes_away_uses_up_no_retry(here: World, what: str) -> None:
    stuck = here.runtime.hang(what)

    async with here.running() as process:
        here.write("app", pull_job("app", REF, pullPolicy=ONCE))
        await stuck.met.wait()
        await here.runtime.stop()
        view = await process.until(lambda view: not view.ready, "not ready")
        here.runtime.heal()
        await here.runtime.start()
        job = await process.ended("app")
        failures = (await process.view()).pulls[0].failures

    assert "UNAVAILABLE" in view.runtimes[0].message
    assert (job.succeeded, job.failed, failures) == (1, 0, 0)


async def test_a_question_that_is_not_answered_uses_up_no_retry(here: World) -> None:
    here.runtime.fail("ImageStatus", Status.DEADLINE_EXCEEDED, "context deadline exceeded", times=1)

    async with here.running() as process:
        here.write("app", pull_job("app", REF, pullPolicy=ONCE))
        pull = await process.pull(REF, lambda pull: pull.reason == "RuntimeDown", "told")
        job = await process.ended("app")

    assert pull.phase in {"Waiting", "BackingOff"}
    assert (job.succeeded, job.failed) == (1, 0)


async def test_a_failure_of_the_runtime_that_passes_holds_nothing_up(here: World) -> None:
    here.runtime.fail("ImageFsInfo", Status.UNKNOWN, "database is locked", times=2)
    here.write("app", pull_job("app", REF))

    async with here.running() as process:
        job = await process.ended("app")

    assert job.succeeded == 1


async def test_pins_that_cannot_be_listed_at_first_are_listed_later(here: World) -> None:
    here.containerd.refuse["Leases.List"] = Status.UNKNOWN
    here.write("app", pull_job("app", REF))

    async with here.running() as process:
        await process.until(lambda view: not view.ready and bool(view.pulls), "told")
        del here.containerd.refuse["Leases.List"]
        await process.pull(REF, lambda pull: pull.pinned, "pinned")


async def test_images_that_lie_where_nothing_can_be_read_are_told_and_wait_until_it_can(here: World) -> None:
    here.images.rmdir()

    async with here.running() as process:
        here.write("app", pull_job("app", REF))
        await process.until(
            lambda view: not view.ready and any(each.ready for each in view.runtimes) and bool(view.pulls),
            "not ready though the runtime is",
        )
        readiness = await process.get("/readyz?verbose")
        here.images.mkdir()
        job = await process.ended("app")
        view = await process.view()

    assert f"the file system of the images cannot be read: {here.images}: No such file" in readiness
    assert here.pulled() == [REF]
    assert (job.succeeded, view.ready) == (1, True)


async def test_a_restart_repeats_nothing_that_is_finished_and_forgets_no_failure(here: World) -> None:
    missing = "registry.test/missing:v1"
    async with here.running(pull_backoff="3600", pull_backoff_max="3600") as process:
        here.write("app", pull_job("app", REF))
        here.write("gone", pull_job("gone", missing, pullPolicy={"backoffLimit": 1}))
        await process.ended("app")
        await process.pull(missing, lambda pull: pull.failures == 1, "failed once")

    async with here.running() as process:
        job = await process.ended("gone")

    assert job.failed == 1
    assert sorted(here.pulled()) == [REF, missing, missing]
