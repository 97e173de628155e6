"""Manifests of either version, edited ones, wrong ones: the whole agent on real containerds, old and new."""

import html
import json
from pathlib import Path

import pytest

from tests.integration.looking import AFTER, MB, is_pulling
from tests.testbed.agent import Agent, pull_job
from tests.testbed.faults import hold
from tests.testbed.faulty import FaultyRegistry
from tests.testbed.pushing import ImageMaker
from tests.testbed.witness import Witness


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


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
async def test_lists_are_served_in_both_versions_of_the_api(
    agent: Agent, image_maker: ImageMaker, version: str
) -> None:
    images = [await image_maker.make_random(name, 2000) for name in ("one", "two")]
    job = pull_job("all", "") | {"apiVersion": f"apps.kruise.io/{version}", "kind": "ImageListPullJob"}
    job["spec"] = {"images": [image.ref for image in images]}

    agent.write("all", job)
    ended = (await agent.ended("all"))["all"]

    assert (ended.desired, ended.succeeded, ended.failed) == (2, 2, 0)


async def test_a_job_whose_document_turns_wrong_goes_on_as_it_was(
    agent: Agent, witness: Witness, faulty_registry: FaultyRegistry, faulty_image_maker: ImageMaker
) -> None:
    made = await faulty_image_maker.make_random("app", 4 * MB)
    held = faulty_registry.go_wrong(hold(AFTER, made.layers[0].digest))
    agent.write("app", pull_job("app", made.ref))
    await held.held.wait()

    agent.write("app", pull_job("app", made.ref, parallelism="many"))
    view = await agent.until(lambda view: bool(view.problems), "a problem")
    faulty_registry.recover()
    job = (await agent.ended("app"))["app"]

    assert [pull.phase for pull in view.pulls] == ["Pulling"]
    assert job.succeeded == 1
    await witness.until_pinned(made.ref)


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
    assert "bad" not in {job.name for job in view.jobs}
    (told,) = [json.loads(line) for line in agent.log.splitlines() if "document refused" in line]
    words = {"field": problem.field, "value": problem.value, "problem": problem.message}
    assert (
        told.items()
        >= ({"file": problem.file, "line": problem.line, "allowed": problem.allowed} | words).items()
    )
    for path in ("/", "/statusz"):
        shown = html.unescape((await agent.get(path, Accept="text/html")).decode())
        missing = [word for word in (f"jobs.yaml:{problem.line}", problem.message) if word not in shown]
        assert (path, missing) == (path, [])

    agent.write("jobs", documents[0], pull_job("bad", bad.ref, parallelism="50%"))
    ended = await agent.ended("bad")
    assert ended["bad"].succeeded == 1
    assert (await agent.view()).problems == ()
