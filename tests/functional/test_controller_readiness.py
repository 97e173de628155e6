"""When a controller says that it is ready: a rollout of one that cannot do its work must not look well."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemon.controller import CentralController
from tests.fakes.apifaults import Fault
from tests.functional.agent_world import agent_world
from tests.functional.controller_world import ControllerWorld


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[ControllerWorld]:
    async with agent_world(tmp_path) as below:
        yield ControllerWorld(below)


def told(candidate: CentralController) -> tuple[bool, str]:
    """Whether it is ready, and what it says."""
    checks = candidate.ready()
    return all(check.ok for check in checks), "; ".join(check.message for check in checks)


async def test_a_leader_that_follows_the_cluster_is_ready(cluster: ControllerWorld) -> None:
    async with cluster.leading() as candidate:
        assert told(candidate) == (False, "stands by; nobody leads")
        await cluster.agent.until(lambda: told(candidate)[0], "ready")

        assert told(candidate)[1].startswith("leads")
        assert b"inplaced_leading 1.0" in candidate.metrics()


async def test_one_that_stands_by_for_another_is_ready(cluster: ControllerWorld) -> None:
    async with cluster.leading("one") as leader:
        await cluster.agent.until(lambda: told(leader)[0], "it leads")
        async with cluster.leading("two") as candidate:
            await cluster.agent.until(lambda: told(candidate)[0], "it stands by")

            assert told(candidate)[1] == "stands by; one leads"
            assert b"inplaced_leading 0.0" in candidate.metrics()


async def test_one_that_may_not_have_the_lease_is_not_and_says_why(cluster: ControllerWorld) -> None:
    cluster.agent.server.fail(Fault(status=403, resource="leases", times=1000))

    async with cluster.leading() as candidate:
        await cluster.agent.until(lambda: "Forbidden" in told(candidate)[1], "the refusal is told")

        assert not told(candidate)[0]


async def test_a_leader_without_the_kinds_is_not_until_they_are_served(cluster: ControllerWorld) -> None:
    kind = cluster.agent.server.kinds.pop("nodeimages")

    async with cluster.leading() as candidate:
        await cluster.agent.until(lambda: "nodeimages" in told(candidate)[1], "the lack is told")
        assert not told(candidate)[0]
        cluster.agent.server.kinds["nodeimages"] = kind
        await cluster.agent.until(lambda: told(candidate)[0], "ready")
