"""Signs of life, seen by a clock of one's own: whatever the wall clocks say, and while the server is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from daemon.kube.access import Fixed
from daemon.kube.client import ApiClient
from daemon.kube.informer import Informer
from daemon.kube.leases import Heartbeat, Pulses
from daemon.kube.resources import LEASES
from daemon.metrics import Metrics
from daemon.objects.leases import Lease
from daemon.objects.meta import Key
from tests.fakes.apifaults import Fault
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.following import following, running, until

NODE = Key("inplaced", "inplaced-node-a")
PATIENCE = 1.0
LONG_AGO = "2001-01-01T00:00:00.000000Z"


@dataclass(slots=True)
class World:
    """A server with leases, and who is thought to live."""

    server: FakeApiServer
    client: ApiClient
    leases: Informer[Lease]
    pulses: Pulses
    told: list[tuple[Key, bool]] = field(default_factory=list)
    stirred: asyncio.Event = field(default_factory=asyncio.Event)

    def beat(self, at: str) -> None:
        """Renew as a node whose wall clock says *at*."""
        metadata = {"name": NODE.name, "namespace": NODE.namespace}
        self.server.store("leases", {"metadata": metadata, "spec": {"holderIdentity": "a", "renewTime": at}})

    def hear(self, key: Key, alive: bool) -> None:
        self.told.append((key, alive))
        self.stirred.set()

    async def hears(self, *wanted: tuple[Key, bool]) -> None:
        """Return when exactly this has been told."""
        async with asyncio.timeout(15.0):
            while self.told != list(wanted):
                self.stirred.clear()
                await self.stirred.wait()


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    async with FakeApiServer() as server, ApiClient(Fixed(server.url), Metrics(), deadline=1.0) as client:
        leases = Informer(client, LEASES, Metrics())
        made = World(server, client, leases, Pulses(leases, patience=PATIENCE))
        made.pulses.on_change(made.hear)
        async with following(leases), running(made.pulses.run()):
            yield made


@pytest.mark.parametrize("at", [LONG_AGO, "2101-01-01T00:00:00.000000Z"])
async def test_who_has_just_renewed_lives_whatever_its_clock_says(at: str) -> None:
    async with world() as here:
        here.beat(at)

        await here.hears((NODE, True))

        assert here.pulses.alive(NODE)


async def test_who_renews_no_more_is_found_dead_once_and_may_come_back() -> None:
    async with world() as here:
        here.beat(LONG_AGO)
        await here.hears((NODE, True), (NODE, False))
        assert not here.pulses.alive(NODE)

        here.beat("2001-01-01T00:00:01.000000Z")
        await here.hears((NODE, True), (NODE, False), (NODE, True))


async def test_a_lease_that_changes_without_being_renewed_is_no_sign_of_life() -> None:
    async with world() as here:
        here.beat(LONG_AGO)
        await here.hears((NODE, True), (NODE, False))

        here.server.store(
            "leases",
            {
                "metadata": {"name": NODE.name, "namespace": NODE.namespace, "labels": {"a": "b"}},
                "spec": {"holderIdentity": "a", "renewTime": LONG_AGO},
            },
        )
        await until(here.leases, lambda: any(lease.metadata.labels for lease in here.leases.list()))

        assert not here.pulses.alive(NODE)


async def test_who_has_no_lease_any_more_does_not_live() -> None:
    async with world() as here:
        here.beat(LONG_AGO)
        await here.hears((NODE, True))

        here.server.remove("leases", NODE.name, NODE.namespace)

        await here.hears((NODE, True), (NODE, False))


async def test_nobody_dies_while_the_server_is_away_or_just_back() -> None:
    async with world() as here:
        beat = Heartbeat(here.client, NODE, "a", interval=0.2, duration=1)
        async with running(beat.run()):
            await here.hears((NODE, True))
            await here.server.stop()
            async with asyncio.timeout(15.0):
                while here.leases.behind < 2 * PATIENCE:  # noqa: ASYNC110 - only time passes
                    await asyncio.sleep(0.05)
            await here.server.start()
            await here.server.until(lambda: len(here.server.watchers) == 1)
            renewed = here.leases.get(NODE)
            await until(here.leases, lambda: here.leases.get(NODE) != renewed)

        assert here.told == [(NODE, True)]


async def test_a_heartbeat_goes_on_after_refusals() -> None:
    async with world() as here:
        here.server.fail(Fault(status=500, resource="leases", verb="patch", times=2))
        beat = Heartbeat(here.client, NODE, "a", interval=0.1, duration=1)

        async with running(beat.run()):
            await here.hears((NODE, True))
            assert beat.since is not None

        assert here.server.count("create", resource="leases") == 1


async def test_a_heartbeat_costs_one_write_each_time() -> None:
    async with world() as here:
        beat = Heartbeat(here.client, NODE, "a", interval=0.1, duration=1)

        async with running(beat.run()):
            await here.server.until(lambda: here.server.writes["patch leases"] == 5)

        assert here.server.writes == {"create leases": 1, "patch leases": 5}
        assert here.server.count("get", resource="leases") == 0


async def test_a_heartbeat_that_meets_conflicts_is_tried_again_soon_each_time() -> None:
    async with world() as here:
        beat = Heartbeat(here.client, NODE, "a", interval=60.0, duration=180)
        async with running(beat.run()):
            await here.hears((NODE, True))
        storm = Fault(status=409, resource="leases", verb="patch", times=4)
        here.server.fail(storm)
        renewed = here.leases.get(NODE)
        began = asyncio.get_running_loop().time()

        async with running(beat.run()):
            await until(here.leases, lambda: here.leases.get(NODE) != renewed)

        assert asyncio.get_running_loop().time() - began < 7.0
        assert storm.met == 4
