"""Elections under faults: two never lead at once, and the next one leads soon."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from daemon.kube.access import Fixed
from daemon.kube.client import ApiClient
from daemon.kube.election import Election
from daemon.metrics import Metrics
from daemon.objects.meta import Key
from tests.fakes.apifaults import Fault
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.following import running

LEASE = Key("inplaced", "inplaced-controller")
LASTS = 1.0
DEADLINE = 0.6


@dataclass(slots=True)
class Office:
    """Who led from when to when."""

    terms: list[tuple[str, float, float]] = field(default_factory=list)
    leading: set[str] = field(default_factory=set)
    most: int = 0
    """Leaders at the same time."""
    stirred: asyncio.Event = field(default_factory=asyncio.Event)

    async def lead(self, name: str, slowness: float = 0.0) -> None:
        """Do the leading work; it takes *slowness* seconds to end."""
        began = time.monotonic()
        self.leading.add(name)
        self.most = max(self.most, len(self.leading))
        self.stirred.set()
        try:
            await asyncio.Event().wait()
        finally:
            if slowness:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(slowness)
            self.leading.discard(name)
            self.terms.append((name, began, time.monotonic()))
            self.stirred.set()

    async def until(self, *names: str) -> None:
        """Return when exactly these lead."""
        async with asyncio.timeout(20.0):
            while self.leading != set(names):
                self.stirred.clear()
                await self.stirred.wait()


@asynccontextmanager
async def candidate(server: FakeApiServer, office: Office, name: str) -> AsyncIterator[Election]:
    async with ApiClient(Fixed(server.url), Metrics(), user_agent=name, deadline=1.0) as client:
        election = Election(client, LEASE, name, lease_seconds=int(LASTS), renew_deadline=DEADLINE, retry=0.1)
        async with running(election.run(lambda: office.lead(name))):
            yield election


async def test_a_leader_that_reaches_nobody_has_ended_before_the_next_begins() -> None:
    office = Office()
    async with FakeApiServer() as server, candidate(server, office, "one") as one:
        await office.until("one")
        async with candidate(server, office, "two") as two:
            await server.until(lambda: len({each.headers["User-Agent"] for each in server.requests}) == 2)
            server.fail(Fault(status=500, user_agent="one", times=10_000))
            await office.until("two")

            assert (one.leading, two.leading) == (False, True)

    assert office.most == 1


async def test_renewals_that_hang_end_a_term_in_time() -> None:
    office = Office()
    async with FakeApiServer() as server, candidate(server, office, "one"):
        await office.until("one")
        server.fail(Fault(status=500, hang=True, user_agent="one", times=10_000))
        hung = time.monotonic()
        await office.until()

    assert DEADLINE - 0.2 < office.terms[0][2] - hung < LASTS


async def test_somebody_leads_again_soon_after_the_server_is_back() -> None:
    office = Office()
    async with FakeApiServer() as server, candidate(server, office, "two"):
        await office.until("two")
        await server.stop()  # the one that leads cannot give the lease up any more
        await office.until()
        document = server.document("leases", LEASE.name, LEASE.namespace)
        assert document["spec"]["holderIdentity"] == "two"
        began = time.monotonic()
        await server.start()
        await office.until("two")

    assert time.monotonic() - began < 5.0


@pytest.mark.parametrize("at", ["2001-01-01T00:00:00.000000Z", "2101-01-01T00:00:00.000000Z"])
async def test_a_silent_leader_is_waited_for_by_one_s_own_clock(at: str) -> None:
    office = Office()
    async with FakeApiServer() as server:
        spec = {"holderIdentity": "ghost", "leaseDurationSeconds": 2, "renewTime": at, "leaseTransitions": 4}
        metadata = {"name": LEASE.name, "namespace": LEASE.namespace}
        server.store("leases", {"metadata": metadata, "spec": spec})
        began = time.monotonic()

        async with candidate(server, office, "one") as one:
            await office.until("one")
            assert one.leader == "one"

        spec = server.document("leases", LEASE.name, LEASE.namespace)["spec"]

    assert 2.0 <= time.monotonic() - began < 5.0
    assert spec["leaseTransitions"] == 5
    assert "holderIdentity" not in spec


async def test_a_leader_that_was_replaced_stops() -> None:
    office = Office()
    async with FakeApiServer() as server, candidate(server, office, "one") as one:
        await office.until("one")
        spec = {"holderIdentity": "usurper", "leaseDurationSeconds": 60, "renewTime": "x"}
        server.store("leases", {"metadata": {"name": LEASE.name, "namespace": LEASE.namespace}, "spec": spec})
        await office.until()

        assert (one.leading, one.leader) == (False, "usurper")


async def test_somebody_else_s_label_does_not_end_a_term() -> None:
    office = Office()
    async with FakeApiServer() as server, candidate(server, office, "one"):
        await office.until("one")
        now = server.document("leases", LEASE.name, LEASE.namespace)
        metadata = {"name": LEASE.name, "namespace": LEASE.namespace, "labels": {"a": "b"}}
        server.store("leases", {"metadata": metadata, "spec": now["spec"]})
        renewed = server.writes["patch leases"]
        await server.until(lambda: server.writes["patch leases"] > renewed + 3)

        assert office.leading == {"one"}
    assert len(office.terms) == 1


async def test_the_lease_is_held_until_slow_work_has_ended() -> None:
    office = Office()
    async with FakeApiServer() as server, ApiClient(Fixed(server.url), Metrics()) as client:
        one = Election(client, LEASE, "one", lease_seconds=10, renew_deadline=8.0, retry=0.1)
        standing = asyncio.create_task(one.run(lambda: office.lead("one", slowness=2.0)))
        await office.until("one")
        renewed = server.writes["patch leases"]

        standing.cancel()
        await server.until(lambda: server.writes["patch leases"] > renewed + 3)
        still = set(office.leading)
        with contextlib.suppress(asyncio.CancelledError):
            await standing

        lease = server.document("leases", LEASE.name, LEASE.namespace)
    assert still == {"one"}
    assert "holderIdentity" not in lease["spec"]


async def test_work_that_ends_or_fails_ends_the_candidacy() -> None:
    async with FakeApiServer() as server, ApiClient(Fixed(server.url), Metrics()) as client:
        election = Election(client, LEASE, "one", lease_seconds=60, retry=0.1)

        async def end() -> None:
            return

        async def fail() -> None:
            raise RuntimeError("broken")

        await election.run(end)
        with pytest.raises(RuntimeError, match="broken"):
            await election.run(fail)

        assert not election.leading
        assert "holderIdentity" not in server.document("leases", LEASE.name, LEASE.namespace)["spec"]


async def test_under_random_faults_never_two_lead_and_always_somebody_again() -> None:
    dice = random.Random(4)
    office = Office()
    names = ["one", "two", "three"]
    async with FakeApiServer() as server, contextlib.AsyncExitStack() as stack:
        for name in names:
            await stack.enter_async_context(candidate(server, office, name))
        ends = time.monotonic() + 8.0
        while time.monotonic() < ends:
            times, name = dice.randint(1, 12), dice.choice(names)
            kind = dice.choice(["status", "reset", "hang"])
            server.fail(
                Fault(
                    status=500 if kind == "status" else 0,
                    reset=kind == "reset",
                    hang=kind == "hang",
                    user_agent=name,
                    times=times,
                )
            )
            seen = len(server.requests)
            await server.until(lambda seen=seen: len(server.requests) > seen + 3)  # type: ignore[misc]
        server.faults.clear()
        async with asyncio.timeout(20.0):
            while len(office.leading) != 1:
                office.stirred.clear()
                await office.stirred.wait()

    assert office.most == 1
    assert len({name for name, _, _ in office.terms}) > 1


async def test_a_leader_goes_on_through_a_storm_of_conflicts_and_gives_the_lease_up_in_it() -> None:
    office = Office()
    async with FakeApiServer() as server, ApiClient(Fixed(server.url), Metrics()) as client:
        one = Election(client, LEASE, "one", renew_deadline=3.0, retry=1.0)
        async with running(one.run(lambda: office.lead("one"))):
            await office.until("one")
            storm = Fault(status=409, verb="patch", resource="leases", times=1000, sparing=4)
            server.fail(storm)
            await server.until(lambda: storm.met >= 8)
            assert office.leading == {"one"}

        lease = server.document("leases", LEASE.name, LEASE.namespace)
    assert len(office.terms) == 1
    assert "holderIdentity" not in lease["spec"]
