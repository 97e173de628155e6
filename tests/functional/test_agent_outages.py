"""The API server goes, stumbles and returns: the node goes on with what it was told, and tells it later."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from tests.fakes.apifaults import Fault
from tests.functional.agent_world import NODE, AgentWorld, agent_world, wanting

IMAGE = "reg.test/app"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[AgentWorld]:
    async with agent_world(tmp_path) as made:
        yield made


async def test_a_pull_that_ends_while_the_api_server_is_away_is_told_when_it_is_back(
    cluster: AgentWorld,
) -> None:
    cluster.node.node.offer(f"{IMAGE}:v1")
    held = cluster.node.runtime.hang("PullImage")
    cluster.store(wanting(app="v1"))

    async with cluster.running() as agent:
        await held.met.wait()
        await cluster.server.stop()
        held.released.set()
        await agent.pull(f"{IMAGE}:v1", lambda pull: pull.phase == "Succeeded", "pulled")
        said = await agent.get("/readyz?verbose")
        await cluster.server.start()
        await cluster.phase(IMAGE, "v1", "Succeeded")

    assert cluster.node.pulled() == [f"{IMAGE}:v1"]
    assert "api" in said


async def test_an_api_server_that_is_away_is_not_asked_all_the_time(cluster: AgentWorld) -> None:
    cluster.node.node.offer(f"{IMAGE}:v1")
    held = cluster.node.runtime.hang("PullImage")
    cluster.store(wanting(app="v1"))

    async with cluster.running(progress_interval="0.1", status_interval="0.5") as agent:
        await held.met.wait()
        fault = cluster.server.fail(Fault(status=503, times=10_000))
        cluster.server.cut_watches()
        begun, before = time.monotonic(), len(cluster.server.requests)
        held.released.set()
        await agent.until(lambda _view: time.monotonic() - begun > 3.0, "three seconds on")
        asked = len(cluster.server.requests) - before
        fault.times = 0
        await cluster.phase(IMAGE, "v1", "Succeeded")

    assert 0 < asked < 30


async def test_it_waits_for_an_api_server_that_is_not_there_at_its_start(cluster: AgentWorld) -> None:
    cluster.node.node.offer(f"{IMAGE}:v1")
    cluster.store(wanting(app="v1"))
    await cluster.server.stop()

    async with cluster.running() as agent:
        await agent.until(lambda view: not view.ready, "not ready")
        said = await agent.get("/readyz?verbose")
        await cluster.server.start()
        await cluster.phase(IMAGE, "v1", "Succeeded")

    assert "api" in said


async def test_it_waits_for_a_kind_that_is_not_installed_yet(cluster: AgentWorld) -> None:
    cluster.node.node.offer(f"{IMAGE}:v1")
    kind = cluster.server.kinds.pop("nodeimages")

    async with cluster.running() as agent:
        await agent.until(lambda view: not view.ready, "not ready")
        await cluster.until(lambda: cluster.server.requests or True, "asked")
        said = await agent.get("/readyz?verbose")
        cluster.server.kinds["nodeimages"] = kind
        cluster.store(wanting(app="v1"))
        await cluster.phase(IMAGE, "v1", "Succeeded")

    assert "apps.kruise.io" in said or "not asked yet" in said


async def test_it_can_be_stopped_while_it_waits_for_the_api_server(cluster: AgentWorld) -> None:
    await cluster.server.stop()
    begun = time.monotonic()

    async with cluster.running() as agent:
        await agent.until(lambda view: not view.ready, "not ready")

    assert time.monotonic() - begun < 5.0


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=409, verb="patch", times=3),
        Fault(status=429, verb="patch", times=2, retry_after=1),
        Fault(status=500, verb="patch", times=3),
        Fault(status=504, verb="patch", times=2),
        Fault(reset=True, verb="patch"),
    ],
    ids=["conflict", "too many", "internal", "timeout", "reset after it was done"],
)
async def test_a_status_write_that_fails_is_made_good(cluster: AgentWorld, fault: Fault) -> None:
    cluster.node.node.offer(f"{IMAGE}:v1")
    cluster.store(wanting(app="v1"))
    fault.resource = "nodeimages/status"
    cluster.server.fail(fault)

    async with cluster.running():
        await cluster.phase(IMAGE, "v1", "Succeeded")

    assert cluster.node.pulled() == [f"{IMAGE}:v1"]
    assert fault.times == 0


async def test_a_watch_that_is_cut_again_and_again_misses_nothing(cluster: AgentWorld) -> None:
    names = [f"i{number}" for number in range(10)]
    for name in names:
        cluster.node.node.offer(f"reg.test/{name}:v1")
    cluster.store(wanting())

    async with cluster.running():
        for number in range(1, 11):
            cluster.server.cut_watches()
            cluster.store(wanting(**dict.fromkeys(names[:number], "v1")))
            await cluster.phase(f"reg.test/{names[number - 1]}", "v1", "Succeeded")

    assert sorted(cluster.node.pulled()) == sorted(f"reg.test/{name}:v1" for name in names)


async def test_the_death_of_the_agent_before_it_could_tell_costs_no_second_pull(cluster: AgentWorld) -> None:
    cluster.node.node.offer(f"{IMAGE}:v1")
    cluster.store(wanting(app="v1"))
    cluster.server.fail(Fault(status=503, verb="patch", resource="nodeimages/status", times=1000))
    async with cluster.running() as agent:
        await agent.pull(f"{IMAGE}:v1", lambda pull: pull.phase == "Succeeded", "pulled")
    assert cluster.tag(IMAGE, "v1") == {}

    cluster.server.faults.clear()
    async with cluster.running():
        await cluster.phase(IMAGE, "v1", "Succeeded")

    assert cluster.node.pulled() == [f"{IMAGE}:v1"]


async def test_failures_are_counted_on_over_a_restart(cluster: AgentWorld) -> None:
    cluster.store(wanting(app="v1"))
    async with cluster.running(pull_backoff="60", pull_backoff_max="60"):
        await cluster.until(lambda: cluster.tag(IMAGE, "v1").get("failures") == 1, "one failure")

    async with cluster.running():
        tag = await cluster.phase(IMAGE, "v1", "Failed")

    assert tag["failures"] == 2
    assert tag["reason"] == "ImageNotFound"


async def test_a_node_that_is_removed_in_the_middle_of_a_pull_cancels_it(cluster: AgentWorld) -> None:
    held = cluster.node.runtime.hang("PullImage")
    cluster.store(wanting(app="v1"))

    async with cluster.running() as agent:
        await held.met.wait()
        cluster.server.remove("nodeimages", NODE)
        async with asyncio.timeout(5):
            await held.cancelled.wait()
        view = await agent.until(lambda view: not view.pulls, "nothing is wanted")

    assert view.ready


async def test_progress_is_told_every_two_seconds_at_most_however_many_pulls(cluster: AgentWorld) -> None:
    names = [f"i{number}" for number in range(8)]
    for name in names:
        cluster.node.node.offer(f"reg.test/{name}:v1")
    held = cluster.node.runtime.hang("PullImage")
    cluster.store(wanting())

    async with cluster.running(pull_workers="4", status_interval="2", progress_interval="0.1") as agent:
        await cluster.until(lambda: cluster.node_image().get("status"), "it says that it is there")
        before = cluster.server.count("patch", resource="nodeimages/status")
        begun = time.monotonic()
        for number in range(1, 9):
            cluster.store(wanting(**dict.fromkeys(names[:number], "v1")))
            await agent.until(lambda view, number=number: len(view.pulls) == number, "asked")  # type: ignore[misc]
        await agent.until(lambda _view: time.monotonic() - begun > 5.0, "five seconds on")
        written = cluster.server.count("patch", resource="nodeimages/status") - before
        held.released.set()
        await cluster.until(lambda: cluster.node_image()["status"]["succeeded"] == 8, "pulled")

    assert 1 <= written <= 3


@pytest.mark.parametrize("minutes", [5, -5])
async def test_a_deadline_is_that_of_the_server_whatever_the_nodes_clock_says(
    cluster: AgentWorld, minutes: int
) -> None:
    cluster.node.node.offer(f"{IMAGE}:v1")
    cluster.server.storage.ahead = timedelta(minutes=minutes)
    wanted = yaml.safe_load(wanting(app="v1"))
    (tag,) = wanted["spec"]["images"][IMAGE]["tags"]
    tag["createdAt"] = cluster.server.storage.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    tag["pullPolicy"]["activeDeadlineSeconds"] = 60
    cluster.store(yaml.safe_dump(wanted))

    async with cluster.running():
        status = await cluster.phase(IMAGE, "v1", "Succeeded")

    assert tag["createdAt"] <= status["completionTime"]


async def test_a_deadline_that_has_passed_on_the_server_has_passed(cluster: AgentWorld) -> None:
    held = cluster.node.runtime.hang("PullImage")
    cluster.server.storage.ahead = timedelta(minutes=5)
    wanted = yaml.safe_load(wanting(app="v1"))
    (tag,) = wanted["spec"]["images"][IMAGE]["tags"]
    tag["createdAt"] = (cluster.server.storage.now() - timedelta(seconds=58)).strftime("%Y-%m-%dT%H:%M:%SZ")
    tag["pullPolicy"]["activeDeadlineSeconds"] = 60
    cluster.store(yaml.safe_dump(wanted))

    async with cluster.running():
        await held.met.wait()
        status = await cluster.phase(IMAGE, "v1", "Failed")

    assert status["reason"] == "DeadlineExceeded"
