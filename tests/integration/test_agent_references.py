"""Which image a reference means, and when it is pulled: the whole agent on real containerds, old and new."""

import pytest

from tests.integration.looking import asked, conditions, fetched
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


@pytest.mark.parametrize("came_by", ["{name}:v1", "{name}@{digest}", "{name}:v1@{digest}"])
async def test_a_tag_with_a_digest_is_present_however_its_image_came(
    agent: Agent, witness: Witness, registry: Registry, image_maker: ImageMaker, came_by: str
) -> None:
    made = await image_maker.make_random("app", 2000)
    await witness.pull(came_by.format(name=made.name, digest=made.digest))
    before = registry.accesses(made.repository)

    agent.write("app", pull_job("app", f"{made.ref}@{made.digest}"))
    job = (await agent.ended("app"))["app"]

    assert job.succeeded == 1
    assert registry.accesses(made.repository) == before
    await witness.until_pinned(made.by_digest)


async def test_a_tag_with_a_digest_is_absent_when_its_tag_names_another_image(
    agent: Agent, witness: Witness, registry: Registry, image_maker: ImageMaker
) -> None:
    old = await image_maker.make_random("app", 2000)
    new = await image_maker.make("app", old.layers, env={"VERSION": "2"})
    await witness.pull(new.ref)

    agent.write("app", pull_job("app", f"{old.ref}@{old.digest}"))
    job = (await agent.ended("app"))["app"]

    assert job.succeeded == 1, await agent.pull(old.by_digest)
    assert (await witness.image(old.by_digest) or pytest.fail("not there")).id == old.config_digest
    assert (await witness.image(new.ref) or pytest.fail("gone")).id == new.config_digest
    assert fetched(registry, old.repository).count(old.layers[0].digest) == 1


async def test_a_tag_with_a_digest_that_is_nowhere_fails(agent: Agent, image_maker: ImageMaker) -> None:
    made = await image_maker.make_random("app", 2000)
    digest = f"sha256:{'0' * 64}"

    agent.write("app", pull_job("app", f"{made.ref}@{digest}", pullPolicy={"backoffLimit": 0}))
    job = (await agent.ended("app"))["app"]

    pull = await agent.pull(f"{made.name}@{digest}")
    assert (job.failed, pull.reason) == (1, "ImageNotFound")


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


async def test_always_asks_also_when_nothing_has_changed_and_fetches_no_layer_twice(
    agent: Agent, witness: Witness, registry: Registry, image_maker: ImageMaker
) -> None:
    made = await image_maker.make_random("app", 2000)
    await witness.pull(made.ref)
    before = asked(registry, made.repository)

    agent.write("app", pull_job("app", made.ref, imagePullPolicy="Always"))
    job = (await agent.ended("app"))["app"]

    assert job.succeeded == 1
    assert asked(registry, made.repository) > before
    assert fetched(registry, made.repository).count(made.layers[0].digest) == 1


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
