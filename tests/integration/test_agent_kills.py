"""What `kill -9` of the agent, and of the runtime under it, may not do."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from daemon.debug.views import NodeView
from tests.testbed.agent import pull_job
from tests.testbed.containerd import Containerd, Flavour
from tests.testbed.faults import hold, throttle
from tests.testbed.faulty import FaultyRegistry
from tests.testbed.fixtures import MakeAgent
from tests.testbed.processes import until
from tests.testbed.pushing import Image, ImageMaker
from tests.testbed.session import Session
from tests.testbed.witness import Witness

MB = 1_000_000
JOBS = 50
ROUNDS = 8
SEED = 20


def unreadable(state: Path) -> list[Path]:
    """State files that hold no object."""

    def is_object(path: Path) -> bool:
        try:
            return "metadata" in yaml.safe_load(path.read_text())
        except (yaml.YAMLError, TypeError):
            return False

    return [path for path in state.rglob("*.yaml") if not is_object(path)]


def is_not_ready(view: NodeView) -> bool:
    return not view.ready


def is_ready(view: NodeView) -> bool:
    return view.ready


def ended_on_disk(state: Path) -> set[str]:
    """The jobs whose end has been written."""
    return {
        path.stem
        for path in (state / "imagepulljobs").rglob("*.yaml")
        if yaml.safe_load(path.read_text())["status"].get("completionTime")
    }


async def test_jobs_end_right_however_often_the_agent_is_killed(
    make_agent: MakeAgent,
    containerd: Containerd,
    witness: Witness,
    faulty_registry: FaultyRegistry,
    prefix: str,
) -> None:
    dice = random.Random(SEED)
    maker = ImageMaker(faulty_registry, prefix)
    images = {f"j{n}": await maker.make_random(f"j{n}", 60_000) for n in range(JOBS)}
    removed = {f"j{n}" for n in range(JOBS) if n % 10 == 9}
    faulty_registry.go_wrong(throttle(1.5 * MB))
    agent = await make_agent(containerd, pull_workers="4")
    waiting = list(images.items())

    finished: dict[str, Counter[str]] = {}
    for each in range(ROUNDS):
        for name, image in waiting[each::ROUNDS]:
            agent.write(name, pull_job(name, image.ref))
        await asyncio.sleep(dice.uniform(0.05, 1.2))  # the moment of the kill is what is tried
        await agent.kill()
        assert unreadable(agent.state) == []
        _note_fetches(faulty_registry, images, ended_on_disk(agent.state), finished)
        if each == ROUNDS // 2:
            for name in removed & {path.stem for path in agent.manifests.glob("*.yaml")}:
                agent.withdraw(name)
        await agent.start()
    gone = {name for name in removed if not (agent.manifests / f"{name}.yaml").exists()}
    jobs = await agent.ended(*(images.keys() - gone))

    assert gone
    assert {name for name, job in jobs.items() if (job.succeeded, job.failed) != (1, 0)} == set()
    assert {name for name in jobs if await witness.image(images[name].ref) is None} == set()
    for name, fetches in finished.items():
        assert _fetches(faulty_registry, images[name]) == fetches, name
    wanted = {images[name].ref for name in jobs}
    await until(lambda: _has_pins(witness, prefix, wanted), timeout=20.0, what="exactly the wanted pins")
    for name in jobs:
        agent.withdraw(name)
    await until(lambda: _has_pins(witness, prefix, set()), timeout=20.0, what="no pin")
    assert unreadable(agent.state) == []


def _note_fetches(
    registry: FaultyRegistry, images: dict[str, Image], ended: set[str], finished: dict[str, Counter[str]]
) -> None:
    for name in ended - finished.keys():
        finished[name] = _fetches(registry, images[name])


def _fetches(registry: FaultyRegistry, image: Image) -> Counter[str]:
    return Counter(served.path for served in registry.requests(f"{image.repository}/blobs/"))


async def _has_pins(witness: Witness, prefix: str, wanted: set[str]) -> bool:
    pinned = {ref for ref in await witness.pinned() if f"/{prefix}/" in ref and "@" not in ref}
    return pinned == wanted


async def test_a_pull_survives_the_death_of_its_runtime(
    make_agent: MakeAgent, own_containerd: Containerd, faulty_registry: FaultyRegistry, prefix: str
) -> None:
    made = await ImageMaker(faulty_registry, prefix).make_random("app", 6 * MB)
    held = faulty_registry.go_wrong(hold(3 * MB, made.layers[0].digest))
    agent = await make_agent(own_containerd)
    agent.write("app", pull_job("app", made.ref, pullPolicy={"backoffLimit": 0}))
    await held.held.wait()
    pid = agent.pid

    await own_containerd.kill()
    await agent.until(is_not_ready, "not ready")
    _, readiness = await agent.probe("/readyz?verbose")
    faulty_registry.recover()
    await own_containerd.start()
    job = (await agent.ended("app"))["app"]

    assert (job.succeeded, job.failed) == (1, 0), job
    assert (await Witness(own_containerd).image(made.ref) or pytest.fail("gone")).id == made.config_digest
    assert "runtime" in readiness
    assert (agent.pid, agent.running) == (pid, True)
    assert (await agent.view()).ready
    await Witness(own_containerd).until_pinned(made.ref)


async def test_a_runtime_that_comes_later_is_found(
    make_agent: MakeAgent, absent_containerd: Containerd, faulty_registry: FaultyRegistry, prefix: str
) -> None:
    made = await ImageMaker(faulty_registry, prefix).make_random("app", 2000)
    agent = await make_agent(absent_containerd)
    agent.write("app", pull_job("app", made.ref))
    view = await agent.until(lambda view: bool(view.pulls), "asked for")
    _, readiness = await agent.probe("/readyz?verbose")

    await absent_containerd.start()
    job = (await agent.ended("app"))["app"]

    assert not view.ready
    assert "no container runtime found" in readiness
    assert job.succeeded == 1
    assert (await agent.view()).ready


@pytest_asyncio.fixture
async def absent_containerd(
    testbed: Session, flavour: Flavour, sandbox_image: str
) -> AsyncIterator[Containerd]:
    later = Containerd(flavour, testbed.new_directory("c"), sandbox_image)
    yield later
    await later.stop()
    later.remove()


async def test_a_runtime_that_hangs_for_a_while_costs_nothing_but_time(
    make_agent: MakeAgent, own_containerd: Containerd, faulty_registry: FaultyRegistry, prefix: str
) -> None:
    maker = ImageMaker(faulty_registry, prefix)
    before, during = await maker.make_random("before", 6 * MB), await maker.make_random("during", 2000)
    held = faulty_registry.go_wrong(hold(3 * MB, before.layers[0].digest))
    agent = await make_agent(own_containerd)
    agent.write("before", pull_job("before", before.ref))
    await held.held.wait()

    own_containerd.freeze()
    try:
        agent.write("during", pull_job("during", during.ref))
        await agent.until(lambda view: len(view.pulls) == 2, "asked for")
        alive = await agent.get("/livez")
    finally:
        own_containerd.thaw()
    faulty_registry.recover()
    jobs = await agent.ended("before", "during")

    assert alive
    assert {job.succeeded for job in jobs.values()} == {1}
    await agent.until(is_ready, "ready")
