"""What goes wrong between a cluster's API server and what works on it: everything ends right all the same."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from tests.fakes.apifaults import Fault
from tests.functional.agent_world import NODE, agent_world
from tests.functional.controller_world import ControllerWorld, job, node

JOBS = 8


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[ControllerWorld]:
    async with agent_world(tmp_path) as below:
        for number in range(JOBS):
            below.node.node.offer(f"reg.test/app{number}:v1")
        yield ControllerWorld(below)


async def ask_for_all(cluster: ControllerWorld, **spec: object) -> None:
    for number in range(JOBS):
        cluster.agent.store(job(f"job-{number}", f"reg.test/app{number}:v1", **spec))


async def all_ended_well(cluster: ControllerWorld) -> None:
    """Every job ended with its image on the node, each was pulled once, and the node tells the same."""
    for number in range(JOBS):
        status = await cluster.ended(f"job-{number}")
        counts = {key: status[key] for key in ("desired", "succeeded", "failed", "active")}
        assert counts == {"desired": 1, "succeeded": 1, "failed": 0, "active": 0}
    assert sorted(cluster.agent.node.pulled()) == [f"reg.test/app{number}:v1" for number in range(JOBS)]
    assert cluster.agent.node_image()["status"]["succeeded"] == JOBS


@asynccontextmanager
async def cutting_watches(cluster: ControllerWorld, every: float) -> AsyncIterator[None]:
    """End all watches again and again."""

    async def cut() -> None:
        while True:
            cluster.agent.server.cut_watches()
            await asyncio.sleep(every)

    task = asyncio.create_task(cut())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("resource", ["nodeimages", "nodeimages/status", "imagepulljobs/status", ""])
async def test_a_storm_of_conflicts_ends_right(cluster: ControllerWorld, resource: str) -> None:
    cluster.agent.store(node())

    async with cluster.leading(), cluster.agent.running():
        await cluster.node_image_is_there()
        # Two of three writes, renewals of Leases among them where all are meant, until it is over.
        storm = Fault(status=409, verb="patch", resource=resource, times=1000, sparing=3)
        cluster.agent.server.fail(storm)
        await ask_for_all(cluster)
        await all_ended_well(cluster)

    assert storm.met > 1


async def test_after_a_storm_of_conflicts_nothing_is_written_any_more(cluster: ControllerWorld) -> None:
    cluster.agent.store(node())

    async with cluster.leading(), cluster.agent.running():
        await cluster.node_image_is_there()
        cluster.agent.server.fail(Fault(status=409, verb="patch", times=20, sparing=3))
        await ask_for_all(cluster)
        await all_ended_well(cluster)
        before = cluster.agent.server.writes
        await asyncio.sleep(3.0)  # Longer than any interval in which something is told.
        after = cluster.agent.server.writes - before

    assert {what for what in after if not what.endswith(("leases", "events"))} == set()


async def test_watches_that_are_cut_all_the_time_lose_nothing(cluster: ControllerWorld) -> None:
    cluster.agent.store(node())

    async with cluster.leading(), cluster.agent.running(), cutting_watches(cluster, every=0.03):
        await cluster.node_image_is_there()
        await ask_for_all(cluster)
        await all_ended_well(cluster)


async def test_a_node_that_is_removed_during_a_pull_leaves_its_jobs_and_is_served_when_it_is_back(
    cluster: ControllerWorld,
) -> None:
    held = cluster.agent.node.runtime.hang("PullImage")
    cluster.agent.store(node())

    async with cluster.leading(), cluster.agent.running():
        await cluster.node_image_is_there()
        cluster.agent.store(job("job-0", "reg.test/app0:v1", completionPolicy={"type": "Never"}))
        await held.met.wait()
        cluster.agent.server.remove("nodes", NODE)
        async with asyncio.timeout(5):
            await held.cancelled.wait()
        await cluster.agent.until(lambda: cluster.status("job-0")["desired"] == 0, "nobody is asked")
        held.released.set()
        cluster.agent.store(node())
        await cluster.agent.until(lambda: cluster.status("job-0")["succeeded"] == 1, "served again")

    assert cluster.status("job-0")["failed"] == 0


@pytest.mark.parametrize("ahead", [timedelta(minutes=5), timedelta(minutes=-5)])
async def test_a_server_whose_clock_differs_cuts_no_deadline_short_and_keeps_what_is_over(
    cluster: ControllerWorld, ahead: timedelta
) -> None:
    cluster.agent.server.storage.ahead = ahead
    cluster.agent.store(node())
    policy = {"type": "Always", "activeDeadlineSeconds": 60, "ttlSecondsAfterFinished": 60}

    async with cluster.leading(), cluster.agent.running():
        await cluster.node_image_is_there()
        await ask_for_all(cluster, completionPolicy=policy)
        await all_ended_well(cluster)
        status = cluster.status("job-0")

    stored = cluster.agent.server.document("imagepulljobs", "job-0", "shop")
    assert stored["metadata"]["creationTimestamp"] <= status["startTime"] <= status["completionTime"]
