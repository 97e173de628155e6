"""What probes answer while the runtime comes, goes and hangs: the whole agent on real containerds."""

import time

import pytest
import pytest_asyncio

from tests.integration.looking import MB
from tests.testbed.agent import Agent, pull_job
from tests.testbed.containerd import Containerd
from tests.testbed.fixtures import MakeAgent
from tests.testbed.processes import until
from tests.testbed.pushing import ImageMaker
from tests.testbed.witness import Witness

NOTICED_IN = 2.0
"""Seconds for the end of a runtime, and its return, to be seen by a probe of the agent."""


@pytest_asyncio.fixture
async def agent(make_agent: MakeAgent, own_containerd: Containerd) -> Agent:
    """An agent that is ready, on a containerd that may be hurt."""
    made = await make_agent(own_containerd)
    await made.until(lambda view: view.ready, "ready")
    return made


async def until_ready(agent: Agent, *, ready: bool, timeout: float) -> float:
    """Wait for what /readyz answers; return the seconds that took."""
    wanted, begun = 200 if ready else 503, time.monotonic()

    async def reached() -> bool:
        status, _ = await agent.probe("/readyz")
        return status == wanted

    await until(reached, timeout=timeout, what=f"/readyz answers {wanted}")
    return time.monotonic() - begun


async def test_a_ready_agent_names_what_it_looked_at(agent: Agent) -> None:
    status, text = await agent.probe("/readyz?verbose")

    assert (status, text.splitlines()) == (200, ["[+]runtime ok", "[+]manifests ok", "readyz check passed"])


async def test_the_end_of_an_idle_runtime_and_its_return_are_told_within_seconds(
    agent: Agent, own_containerd: Containerd
) -> None:
    pid = agent.pid

    await own_containerd.kill()
    await until_ready(agent, ready=False, timeout=NOTICED_IN)
    gone = await agent.probe("/readyz?verbose")
    alive, _ = await agent.probe("/livez")
    await own_containerd.start()
    await until_ready(agent, ready=True, timeout=NOTICED_IN + 1.0)
    back = await agent.probe("/readyz?verbose")

    assert gone[0] == 503
    assert "[-]runtime failed" in gone[1]
    assert str(own_containerd.socket) in gone[1]
    assert "[+]manifests ok" in gone[1]
    assert (alive, agent.pid, agent.running) == (200, pid, True)
    assert (back[0], back[1].splitlines()[0]) == (200, "[+]runtime ok")


@pytest.mark.slow
async def test_a_runtime_that_hangs_is_told_and_work_goes_on_when_it_answers_again(
    agent: Agent, own_containerd: Containerd, image_maker: ImageMaker
) -> None:
    made = await image_maker.make_random("app", MB)

    own_containerd.freeze()
    try:
        agent.write("app", pull_job("app", made.ref, pullPolicy={"backoffLimit": 0}))
        await until_ready(agent, ready=False, timeout=20.0)
        alive, _ = await agent.probe("/livez")
    finally:
        own_containerd.thaw()
    took = await until_ready(agent, ready=True, timeout=NOTICED_IN + 1.0)
    job = (await agent.ended("app", timeout=10.0))["app"]

    assert alive == 200
    assert took < NOTICED_IN + 1.0
    assert (job.succeeded, job.failed) == (1, 0), await agent.pull(made.ref)
    assert await Witness(own_containerd).image(made.ref) is not None
