"""How requests end, and what they leave behind: the whole agent on real containerds, old and new."""

import time
from datetime import timedelta

from tests.integration.looking import AFTER, MB, conditions, is_gone, is_pulling
from tests.testbed.agent import Agent, pull_job
from tests.testbed.containerd import Containerd
from tests.testbed.faults import hold
from tests.testbed.faulty import FaultyRegistry
from tests.testbed.fixtures import MakeAgent
from tests.testbed.pushing import ImageMaker
from tests.testbed.registry import Registry
from tests.testbed.witness import Witness


async def test_a_deadline_ends_the_call_and_leaves_nothing_half_fetched(
    agent: Agent, witness: Witness, faulty_registry: FaultyRegistry, faulty_image_maker: ImageMaker
) -> None:
    made = await faulty_image_maker.make_random("app", 4 * MB)
    faulty_registry.go_wrong(hold(AFTER, made.layers[0].digest))

    agent.write("app", pull_job("app", made.ref, completionPolicy={"activeDeadlineSeconds": 1}))
    job = (await agent.ended("app", timeout=15.0))["app"]
    await witness.until_idle()

    assert (job.failed, conditions(job)["Ready"]) == (1, ("False", "DeadlineExceeded"))
    # Node and job mind the same moment, each by itself: whichever is first tells of it.
    assert job.message in {"job exceeds activeDeadlineSeconds", "job has completed"}
    assert await witness.image(made.ref) is None
    assert made.ref not in await witness.pinned()


async def test_a_deadline_goes_on_over_a_restart(
    agent: Agent, faulty_registry: FaultyRegistry, faulty_image_maker: ImageMaker
) -> None:
    made = await faulty_image_maker.make_random("app", 4 * MB)
    held = faulty_registry.go_wrong(hold(AFTER, made.layers[0].digest))
    limit = 3

    agent.write("app", pull_job("app", made.ref, completionPolicy={"activeDeadlineSeconds": limit}))
    await held.held.wait()
    # What begins is told a moment later than what ends, and on the page a moment before the disk.
    view = await agent.until(lambda view: view.jobs[0].started_at is not None, "told as begun")
    before = view.jobs[0]
    stored = agent.state / "imagepulljobs" / "default" / "app.yaml"
    await agent.until(lambda _: "startTime: null" not in stored.read_text(), "stored as begun")
    await agent.kill()
    await agent.start()
    job = (await agent.ended("app", timeout=15.0))["app"]

    assert before.started_at is not None
    assert job.started_at == before.started_at
    assert job.completed_at is not None
    assert (
        timedelta(0) <= job.completed_at - before.started_at - timedelta(seconds=limit) < timedelta(seconds=2)
    )
    assert conditions(job)["Ready"] == ("False", "DeadlineExceeded")


async def test_removing_the_manifest_cancels_at_once_and_leaves_nothing(
    agent: Agent, witness: Witness, faulty_registry: FaultyRegistry, faulty_image_maker: ImageMaker
) -> None:
    made = await faulty_image_maker.make_random("app", 4 * MB)
    faulty_registry.go_wrong(hold(AFTER, made.layers[0].digest))
    agent.write("app", pull_job("app", made.ref))
    await agent.until(is_pulling(made.ref, MB), "half fetched")
    assert await witness.ingests()

    agent.withdraw("app")
    begun = time.monotonic()
    await agent.until(lambda view: not view.jobs and not view.pulls, "forgotten", timeout=5.0)
    await witness.until_idle()

    assert time.monotonic() - begun < 3.0
    assert await witness.image(made.ref) is None
    assert made.ref not in await witness.pinned()


async def test_an_image_is_pinned_until_the_ttl_of_its_job_which_is_removed_then(
    agent: Agent, witness: Witness, image_maker: ImageMaker
) -> None:
    made = await image_maker.make_random("app", 2000)
    policy = {"ttlSecondsAfterFinished": 3}

    agent.write("app", pull_job("app", made.ref, completionPolicy=policy))
    job = (await agent.ended("app"))["app"]
    await witness.until_pinned(made.ref)
    await agent.until(is_gone("app"), "expired", timeout=10.0)
    view = await agent.until(lambda view: not view.pulls, "tag gone")
    await witness.until_pinned(made.ref, pinned=False)

    assert job.completed_at is not None
    assert view.now - job.completed_at >= timedelta(seconds=3)
    assert not list((agent.state / "nodeimages").rglob("app*"))
    assert await witness.image(made.ref) is not None


async def test_a_job_without_ttl_keeps_its_pin_for_the_default_and_stays(
    make_agent: MakeAgent, containerd: Containerd, witness: Witness, image_maker: ImageMaker
) -> None:
    agent = await make_agent(containerd, default_ttl_seconds="1")
    made = await image_maker.make_random("app", 2000)

    agent.write("app", pull_job("app", made.ref))
    await agent.ended("app")
    await agent.until(lambda view: not view.pulls, "tag gone")
    await witness.until_pinned(made.ref, pinned=False)

    assert (await agent.job("app")).succeeded == 1


async def test_a_job_that_never_ends_stays_active_after_its_image_is_there(
    agent: Agent, witness: Witness, image_maker: ImageMaker
) -> None:
    made = await image_maker.make_random("app", 2000)

    agent.write("app", pull_job("app", made.ref, completionPolicy={"type": "Never"}))
    view = await agent.until(lambda view: any(job.succeeded == 1 for job in view.jobs), "succeeded")

    assert view.jobs[0].completed_at is None
    assert conditions(view.jobs[0])["Ready"][0] == "True"
    await witness.until_pinned(made.ref)


async def test_no_pin_outlives_a_job_that_went_while_the_agent_was_dead(
    agent: Agent, witness: Witness, image_maker: ImageMaker
) -> None:
    gone, kept = [await image_maker.make_random(name, 2000) for name in ("gone", "kept")]
    for name, image in (("gone", gone), ("kept", kept)):
        agent.write(name, pull_job(name, image.ref))
    await agent.ended("gone", "kept")

    for image in (gone, kept):
        await witness.until_pinned(image.ref)
    await agent.kill()
    agent.withdraw("gone")
    await agent.start()
    await witness.until_pinned(gone.ref, pinned=False)

    assert kept.ref in await witness.pinned()


async def test_a_finished_job_is_not_pulled_again_after_a_restart(
    agent: Agent, witness: Witness, registry: Registry, image_maker: ImageMaker
) -> None:
    made = await image_maker.make_random("app", 2000)
    missing = image_maker.missing("other")
    agent.write("app", pull_job("app", made.ref), pull_job("other", missing, pullPolicy={"backoffLimit": 0}))
    before = await agent.ended("app", "other")
    asked_before = registry.accesses(made.repository), registry.accesses(f"{image_maker.prefix}/other")
    await witness.remove(made.ref)

    await agent.stop()
    files = {path: path.read_text() for path in agent.state.rglob("*.yaml")}
    await agent.start()
    view = await agent.until(lambda view: view.ready and len(view.pulls) == 2, "ready")

    assert {job.name: job for job in view.jobs} == before
    assert {path: path.read_text() for path in agent.state.rglob("*.yaml")} == files
    asked_after = registry.accesses(made.repository), registry.accesses(f"{image_maker.prefix}/other")
    assert asked_after == asked_before
