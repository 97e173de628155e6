"""What becomes of jobs on a node: the whole agent on real containerds, old and new."""

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from daemon.debug.views import JobView, NodeView
from tests.testbed.agent import Agent, pull_job
from tests.testbed.containerd import Containerd
from tests.testbed.faults import hold, throttle
from tests.testbed.faulty import FaultyRegistry
from tests.testbed.fixtures import MakeAgent
from tests.testbed.processes import until
from tests.testbed.pushing import ImageMaker
from tests.testbed.registry import Registry
from tests.testbed.witness import Witness

MB = 1_000_000
AFTER = 2 * MB
"""containerd writes what it fetches in steps of one MiB, so that less than that is never seen."""


def fetched(registry: Registry, repository: str) -> list[str]:
    """The blobs that were fetched of a repository, in order."""
    return [
        access.path.rpartition("/")[2]
        for access in registry.accesses(repository)
        if access.method == "GET" and "/blobs/" in access.path
    ]


def asked(registry: Registry, repository: str) -> int:
    """How often a manifest of the repository was asked for."""
    return sum(
        access.method in {"GET", "HEAD"} and "/manifests/" in access.path
        for access in registry.accesses(repository)
    )


async def state(agent: Agent, kind: str, name: str, field: str) -> dict[str, Any]:
    """The status in a state file, once *field* is in it: what is shown may be ahead of the disk."""
    found: dict[str, Any] = {}

    async def is_written() -> bool:
        for path in (agent.state / kind).rglob(f"{name}.yaml"):
            found.update(yaml.safe_load(path.read_text())["status"])
        return bool(found.get(field))

    await until(is_written, timeout=10.0, what=f"{field} in the file of {name}")
    return found


def conditions(job: JobView) -> dict[str, tuple[str, str]]:
    return {each.type: (each.status, each.reason) for each in job.conditions}


def is_pulling(ref: str, done: int = 0) -> Any:
    def reached(view: NodeView) -> bool:
        return any(
            pull.image == ref and pull.phase == "Pulling" and pull.bytes_done >= done for pull in view.pulls
        )

    return reached


def is_gone(name: str) -> Any:
    return lambda view: name not in {job.name for job in view.jobs}


async def test_a_job_brings_its_image_and_tells_so_in_openkruises_words(
    agent: Agent, witness: Witness, image_maker: ImageMaker
) -> None:
    made = await image_maker.make_random("app", 3000, 2000)

    agent.write("app", pull_job("app", made.ref))
    job = (await agent.ended("app"))["app"]

    assert (await witness.image(made.ref) or pytest.fail("not there")).id == made.config_digest
    status = await state(agent, "imagepulljobs", "app", "completionTime")
    assert {key: status[key] for key in ("desired", "active", "succeeded", "failed", "message")} == {
        "desired": 1,
        "active": 0,
        "succeeded": 1,
        "failed": 0,
        "message": "job has completed",
    }
    assert status["startTime"] <= status["completionTime"]
    assert conditions(job) == {
        "Ready": ("True", "Completed"),
        "Reconciling": ("False", "Completed"),
        "Stalled": ("False", "Completed"),
    }
    node = await state(agent, "nodeimages", "localhost", "succeeded")
    assert (node["desired"], node["succeeded"], node["failed"]) == (1, 1, 0)
    tag = node["imageStatuses"][made.name]["tags"][0]
    assert (tag["tag"], tag["phase"], tag["progress"]) == ("v1", "Succeeded", 100)
    assert made.config_digest in tag["imageID"]


@pytest.mark.parametrize("form", ["{name}:v1", "{name}@{digest}", "{name}:v1@{digest}"])
async def test_every_form_of_reference_is_pulled(
    agent: Agent, witness: Witness, image_maker: ImageMaker, form: str
) -> None:
    made = await image_maker.make_random("app", 2000)
    ref = form.format(name=made.name, digest=made.digest)

    agent.write("app", pull_job("app", ref))
    job = (await agent.ended("app"))["app"]

    assert (job.succeeded, job.failed) == (1, 0), job
    assert (await witness.image(ref) or pytest.fail("not there")).id == made.config_digest


@pytest.mark.parametrize("form", ["{name}:v1", "{name}@{digest}"])
async def test_what_is_present_is_not_pulled(
    agent: Agent, witness: Witness, registry: Registry, image_maker: ImageMaker, form: str
) -> None:
    made = await image_maker.make_random("app", 2000)
    ref = form.format(name=made.name, digest=made.digest)
    await witness.pull(ref)
    before = registry.accesses(made.repository)

    agent.write("app", pull_job("app", ref))
    job = (await agent.ended("app"))["app"]

    assert job.succeeded == 1
    assert registry.accesses(made.repository) == before


async def test_always_asks_the_registry_again(
    agent: Agent, witness: Witness, registry: Registry, image_maker: ImageMaker
) -> None:
    old = await image_maker.make_random("app", 2000)
    await witness.pull(old.ref)
    new = await image_maker.make("app", old.layers, env={"VERSION": "2"})

    agent.write("app", pull_job("app", new.ref, imagePullPolicy="Always"))
    job = (await agent.ended("app"))["app"]

    assert job.succeeded == 1
    assert (await witness.image(new.ref) or pytest.fail("not there")).id == new.config_digest
    assert fetched(registry, new.repository).count(new.layers[0].digest) == 1


async def test_a_missing_image_fails_after_its_retries(
    agent: Agent, registry: Registry, image_maker: ImageMaker
) -> None:
    ref = image_maker.missing("app")

    agent.write("app", pull_job("app", ref, pullPolicy={"backoffLimit": 2}))
    job = (await agent.ended("app"))["app"]

    pull = await agent.pull(ref)
    assert (job.failed, pull.phase, pull.reason, pull.failures) == (1, "Failed", "ImageNotFound", 3)
    assert "push it" in pull.remedy
    assert conditions(job)["Stalled"][0] == "True"


async def test_workers_are_bounded_and_the_highest_priority_goes_first(
    make_agent: MakeAgent, containerd: Containerd, faulty_registry: FaultyRegistry, prefix: str
) -> None:
    agent = await make_agent(containerd, pull_workers="1", measure_images="false")
    maker = ImageMaker(faulty_registry, prefix)
    names = ["first", "low", "high", "middle"]
    images = {name: await maker.make_random(name, 3000) for name in names}
    held = faulty_registry.go_wrong(hold(-1, f"first/blobs/{images['first'].layers[0].digest}"))

    agent.write("first", pull_job("first", images["first"].ref))
    await held.held.wait()
    for name, priority in (("low", "-5"), ("high", "100"), ("middle", "7")):
        job = pull_job(name, images[name].ref)
        job["metadata"]["annotations"] = {"inplaced.dev/priority": priority}
        agent.write(name, job)
    view = await agent.until(lambda view: len(view.pulls) == len(names), "all asked for")
    running = [pull.image for pull in view.pulls if pull.phase == "Pulling"]
    faulty_registry.recover()
    await agent.ended(*names)

    assert running == [images["first"].ref]
    order = [served.path.split("/")[-3] for served in faulty_registry.requests("/blobs/")]
    assert list(dict.fromkeys(order)) == ["first", "high", "middle", "low"]


async def test_parallelism_zero_pauses_until_it_is_raised(
    agent: Agent, registry: Registry, image_maker: ImageMaker
) -> None:
    made = await image_maker.make_random("app", 2000)

    agent.write("app", pull_job("app", made.ref, parallelism=0))
    await agent.until(
        lambda view: any(conditions(job).get("Reconciling") == ("False", "Paused") for job in view.jobs),
        "paused",
    )
    asked_while_paused = fetched(registry, made.repository)
    agent.write("app", pull_job("app", made.ref, parallelism=1))
    job = (await agent.ended("app"))["app"]

    assert asked_while_paused == []
    assert job.succeeded == 1


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
    before = await agent.job("app")
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


async def test_a_list_tells_which_of_its_images_failed(
    agent: Agent, witness: Witness, image_maker: ImageMaker
) -> None:
    images = [await image_maker.make_random(name, 2000) for name in ("one", "two")]
    missing = image_maker.missing("three")
    job = pull_job("all", "")
    job["kind"] = "ImageListPullJob"
    job["spec"] = {
        "images": [images[0].ref, missing, images[1].ref],
        "pullPolicy": {"backoffLimit": 0},
    }

    agent.write("all", job)
    ended = (await agent.ended("all"))["all"]

    status = await state(agent, "imagelistpulljobs", "all", "completionTime")
    assert (ended.desired, ended.succeeded, ended.failed) == (3, 2, 1), status
    assert (status["completed"], status["active"]) == (3, 0)
    assert [failed["name"] for failed in status["failedImageStatuses"]] == [missing]
    assert "not found" in status["failedImageStatuses"][0]["message"]
    assert all([await witness.image(image.ref) for image in images])


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
async def test_both_versions_of_the_api_are_served(
    agent: Agent, image_maker: ImageMaker, version: str
) -> None:
    made = await image_maker.make_random("app", 2000)
    job = pull_job("app", made.ref) | {"apiVersion": f"apps.kruise.io/{version}"}

    agent.write("app", job)

    assert (await agent.ended("app"))["app"].succeeded == 1


async def test_another_image_in_a_running_job_replaces_the_first(
    agent: Agent, witness: Witness, faulty_registry: FaultyRegistry, faulty_image_maker: ImageMaker
) -> None:
    old = await faulty_image_maker.make_random("old", 4 * MB)
    new = await faulty_image_maker.make_random("new", 2000)
    faulty_registry.go_wrong(hold(AFTER, old.layers[0].digest))
    agent.write("app", pull_job("app", old.ref))
    await agent.until(is_pulling(old.ref, MB), "half fetched")

    agent.write("app", pull_job("app", new.ref))
    job = (await agent.ended("app"))["app"]
    await witness.until_idle()

    assert (job.desired, job.succeeded) == (1, 1)
    assert await witness.image(new.ref) is not None
    assert await witness.image(old.ref) is None
    assert [pull.image for pull in (await agent.view()).pulls] == [new.ref]


async def test_an_ended_job_that_is_edited_runs_again(
    agent: Agent, witness: Witness, image_maker: ImageMaker
) -> None:
    first = await image_maker.make_random("first", 2000)
    second = await image_maker.make_random("second", 2000)
    agent.write("app", pull_job("app", first.ref))
    before = (await agent.ended("app"))["app"]

    agent.write("app", pull_job("app", second.ref))
    await agent.until(
        lambda view: any(pull.image == second.ref and pull.phase == "Succeeded" for pull in view.pulls),
        "second pulled",
    )
    after = (await agent.ended("app"))["app"]

    assert before.completed_at is not None
    assert after.completed_at is not None
    assert after.completed_at >= before.completed_at
    assert await witness.image(second.ref) is not None
    await witness.until_pinned(first.ref, pinned=False)


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


async def test_a_wrong_document_is_told_by_its_place_and_runs_once_it_is_right(
    agent: Agent, image_maker: ImageMaker
) -> None:
    good = await image_maker.make_random("good", 2000)
    bad = await image_maker.make_random("bad", 2000)
    documents = [pull_job("good", good.ref), pull_job("bad", bad.ref, parallelism="many")]

    agent.write("jobs", *documents)
    await agent.ended("good")
    view = await agent.until(lambda view: bool(view.problems), "a problem")

    (problem,) = view.problems
    lines = (agent.manifests / "jobs.yaml").read_text().splitlines()
    assert Path(problem.file).name == "jobs.yaml"
    assert lines[problem.line - 1].strip() == "parallelism: many"
    assert (problem.field, problem.value) == ("spec.parallelism", '"many"')
    assert "spec.parallelism" in agent.log
    assert "bad" not in {job.name for job in view.jobs}

    agent.write("jobs", documents[0], pull_job("bad", bad.ref, parallelism="50%"))
    ended = await agent.ended("bad")
    assert ended["bad"].succeeded == 1
    assert (await agent.view()).problems == ()


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


async def test_progress_moves_while_bytes_come(
    agent: Agent, faulty_registry: FaultyRegistry, faulty_image_maker: ImageMaker
) -> None:
    made = await faulty_image_maker.make_random("app", 6 * MB)
    faulty_registry.go_wrong(throttle(4 * MB))

    agent.write("app", pull_job("app", made.ref))
    view = await agent.until(is_pulling(made.ref, MB), "on its way")
    await agent.ended("app")

    (pull,) = view.pulls
    assert 0 < pull.percent < 100
    assert MB <= pull.bytes_done < pull.bytes_total
    assert pull.rate > 0
    assert (await agent.pull(made.ref)).percent == 100
