"""What the standalone process makes of jobs, over a fake containerd: success, refusal, silence, cancel."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpclib.const import Status

from daemon.debug.views import NodeView
from tests.fakes.holdings import digest_of
from tests.functional.standalone_world import World, world
from tests.testbed.agent import pull_job, secret

REF = "registry.test/app:v1"
LAYER = digest_of("layer")
ONCE = {"backoffLimit": 0}


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        made.node.offer(REF)
        yield made


def is_forgotten(view: NodeView) -> bool:
    return not view.pulls and not view.jobs


async def test_a_job_brings_its_image_pins_it_and_tells(here: World) -> None:
    async with here.running() as process:
        here.write("app", pull_job("app", REF))
        job = await process.ended("app")
        pull = await process.pull(REF, lambda pull: pull.pinned, "pinned")
        pulled = await process.metric('inplaced_pulls_total{reason="",result="pulled"}')
        timed = [
            await process.metric(f"inplaced_pull_{what}_seconds_count") for what in ("duration", "queue_wait")
        ]

    (image,) = here.node.images.values()
    assert (job.desired, job.succeeded, job.failed) == (1, 1, 0)
    assert (pull.phase, pull.percent, pull.owners) == ("Succeeded", 100, ("ImagePullJob/default/app",))
    assert image.pinned
    assert here.pulled() == [REF]
    assert (pulled, timed) == (1, [1, 1])
    assert (here.state / "imagepulljobs" / "default" / "app.yaml").exists()


async def test_what_is_present_is_not_pulled_unless_always(here: World) -> None:
    image = here.node.offer("registry.test/there:v1")
    here.node.images[image.id] = image
    ref = image.repo_tags[0]

    async with here.running() as process:
        here.write("lazy", pull_job("lazy", ref))
        await process.ended("lazy")
        lazily = here.pulled()
        present = await process.metric('inplaced_pulls_total{reason="",result="present"}')
        here.write("eager", pull_job("eager", ref, imagePullPolicy="Always"))
        await process.ended("eager")

    assert (lazily, present) == ([], 1)
    assert here.pulled() == [ref]


async def test_credentials_are_tried_one_by_one_and_then_none(here: World) -> None:
    here.runtime.fail("PullImage", Status.UNKNOWN, "failed to authorize: 401 Unauthorized", times=2)
    secrets = [secret("one", "registry.test", "one", "x"), secret("two", "registry.test/app", "two", "x")]

    async with here.running() as process:
        here.write("app", *secrets, pull_job("app", REF, pullSecrets=["one", "two"], pullPolicy=ONCE))
        job = await process.ended("app")

    assert job.succeeded == 1
    assert [request.auth.username for request in here.runtime.requests("PullImage")] == ["two", "one", ""]


async def test_a_refusal_of_all_credentials_is_told_in_the_words_for_the_first(here: World) -> None:
    here.runtime.fail("PullImage", Status.UNKNOWN, "denied: requested access: 403 Forbidden", times=1)
    here.write("one", secret("one", "registry.test", "one", "x"))
    job = pull_job("app", "registry.test/missing:v1", pullSecrets=["one"], pullPolicy=ONCE)

    async with here.running() as process:
        here.write("app", job)
        ended = await process.ended("app")
        view = await process.view()

    assert ended.failed == 1
    assert view.pulls[0].reason == "Denied"
    assert "granted" in view.pulls[0].remedy


async def test_a_missing_image_is_tried_again_as_often_as_the_job_allows(here: World) -> None:
    async with here.running() as process:
        here.write("app", pull_job("app", "registry.test/missing:v1", pullPolicy={"backoffLimit": 2}))
        job = await process.ended("app")
        retries = await process.metric("inplaced_pull_retries_total")
        failed = await process.metric('inplaced_pulls_total{reason="ImageNotFound",result="failed"}')

    assert job.failed == 1
    assert len(here.pulled()) == 3
    assert (retries, failed) == (2, 3)


async def test_an_attempt_that_takes_too_long_ends_in_the_runtime_too(here: World) -> None:
    stuck = here.runtime.hang("PullImage")

    async with here.running() as process:
        here.write("app", pull_job("app", REF, pullPolicy={"backoffLimit": 0, "timeoutSeconds": 1}))
        job = await process.ended("app")
        view = await process.view()

    assert job.failed == 1
    assert (view.pulls[0].reason, view.pulls[0].failures) == ("TimedOut", 1)
    assert stuck.cancelled.is_set()


async def test_a_withdrawn_job_ends_its_pull_and_what_it_left_half_fetched(here: World) -> None:
    stuck = here.runtime.hang("PullImage")

    async with here.running() as process:
        here.write("app", pull_job("app", REF))
        await stuck.met.wait()
        here.containerd.fetch(f"layer-{LAYER}", 30, 100)
        await process.pull(REF, lambda pull: pull.bytes_done == 30, "half fetched")
        here.withdraw("app")
        await process.until(is_forgotten, "forgotten")
        cancelled = await process.metric('inplaced_pulls_total{reason="",result="cancelled"}')

    assert stuck.cancelled.is_set()
    assert here.containerd.ingests == {}
    assert cancelled == 1


async def test_what_waits_and_what_runs_is_counted(here: World) -> None:
    refs = [f"registry.test/{name}:v1" for name in ("one", "two", "three")]
    for ref in refs:
        here.node.offer(ref)
    stuck = here.runtime.hang("PullImage")

    async with here.running(pull_workers="1") as process:
        here.write("all", *(pull_job(ref.split("/")[1].split(":")[0], ref) for ref in refs))
        await stuck.met.wait()
        await process.until(lambda view: len(view.pulls) == len(refs), "asked for")
        counted = [await process.metric(f"inplaced_pulls_{what}") for what in ("running", "waiting")]
        here.runtime.heal()
        await process.until(lambda view: all(job.succeeded for job in view.jobs), "all there")
        after = [await process.metric(f"inplaced_pulls_{what}") for what in ("running", "waiting")]

    assert counted == [1, 2]
    assert after == [0, 0]


async def test_wrong_bytes_are_dropped_before_the_next_attempt(here: World) -> None:
    text = f'failed commit on ref "layer-{LAYER}": unexpected commit digest {LAYER}'
    here.runtime.fail("PullImage", Status.UNKNOWN, text, times=1)
    here.containerd.fetch(f"layer-{LAYER}", 100, 100)

    async with here.running() as process:
        here.write("app", pull_job("app", REF))
        job = await process.ended("app")

    assert job.succeeded == 1
    assert here.containerd.ingests == {}


async def test_what_cannot_be_dropped_stays_and_hinders_nothing(here: World) -> None:
    stuck = here.runtime.hang("PullImage", times=1)
    here.containerd.refuse["Content.Abort"] = Status.PERMISSION_DENIED

    async with here.running() as process:
        here.write("app", pull_job("app", REF))
        await stuck.met.wait()
        here.containerd.fetch(f"layer-{LAYER}", 30, 100)
        await process.pull(REF, lambda pull: pull.bytes_done == 30, "half fetched")
        here.withdraw("app")
        await process.until(is_forgotten, "forgotten")
        here.write("again", pull_job("again", REF))
        job = await process.ended("again")

    assert "Content.Abort" in here.containerd.calls
    assert job.succeeded == 1


async def test_what_another_pull_fetches_too_is_not_dropped(here: World) -> None:
    other = "registry.test/other:v1"
    here.node.offer(other)
    stuck = here.runtime.hang("PullImage")

    async with here.running() as process:
        here.write("app", pull_job("app", REF))
        await stuck.met.wait()
        here.containerd.fetch(f"layer-{LAYER}", 30, 100)
        await process.pull(REF, lambda pull: pull.bytes_done == 30, "half fetched")
        here.write("other", pull_job("other", other))
        await process.pull(other, lambda pull: pull.phase == "Pulling", "begun")
        here.containerd.fetch(f"layer-{LAYER}", 60, 100)
        await process.pull(REF, lambda pull: pull.bytes_done == 60, "further")
        here.withdraw("other")
        await process.until(lambda view: len(view.pulls) == 1, "forgotten")

        assert here.containerd.ingests.keys() == {f"layer-{LAYER}"}
