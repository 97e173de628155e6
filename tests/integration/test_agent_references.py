"""Which image a reference means, and when it is pulled: the whole agent on real containerds, old and new."""

import pytest

from tests.integration.looking import conditions, fetched
from tests.testbed.agent import Agent, pull_job
from tests.testbed.pushing import ImageMaker
from tests.testbed.registry import Registry
from tests.testbed.witness import Witness


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
