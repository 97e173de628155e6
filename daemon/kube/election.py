"""One of several candidates leads, by holding a Lease.

Ours and not ``kubernetes.aio.leaderelection``: that one measures with the wall clock, sets no deadline on
its requests (a renewal that hangs leads for ever), does not wait for the leading work to end, never gives the
Lease up, and its import costs 20 MiB.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import structlog

from daemon.kube.client import ApiClient
from daemon.kube.errors import ApiError, ChangedError, MissingError, TakenError
from daemon.kube.patches import merge_patch
from daemon.kube.resources import LEASES
from daemon.objects.leases import Lease, LeaseSpec, micro_time
from daemon.objects.meta import Key, ObjectMeta

log = structlog.get_logger()

Lead = Callable[[], Awaitable[None]]

_GIVING_UP = 2.0
"""Seconds that the end of a process may be held up by giving the Lease up."""
_SOON = 0.1
"""Seconds until a write is made anew that somebody else's has overtaken, though not to take the Lease."""


class Election:
    """A candidate for the Lease *key*.

    It leads at most *renew_deadline* seconds beyond the start of its last renewal that came through; others
    take over only *lease_seconds* after they saw that renewal, each by its own monotonic clock. What lies
    between the two is for the leading work to end in, and for clocks that do not run equally fast.
    """

    def __init__(
        self,
        client: ApiClient,
        key: Key,
        identity: str,
        *,
        lease_seconds: int = 10,
        renew_deadline: float = 6.0,
        retry: float = 2.0,
    ) -> None:
        self._client = client
        self._key = key
        self._identity = identity
        self._lease_seconds = lease_seconds
        self._renew_deadline = renew_deadline
        self._retry = retry
        self._lease: Lease | None = None
        """As last seen."""
        self._seen_at = 0.0
        """The loop's time when it was first seen like this."""
        self._held_from = 0.0
        """The loop's time when the last renewal of ours that came through was sent."""
        self._leading = False
        self.trouble = ""
        """Why the Lease could not be looked at or written when that was last tried; empty when it could."""
        self._overtaken = False
        """Whether the last try failed since the Lease was written to meanwhile."""

    @property
    def leading(self) -> bool:
        """Whether this candidate leads now."""
        return self._leading

    @property
    def leader(self) -> str:
        """The identity of the leader as last seen, empty when there is none."""
        return self._lease.spec.holder_identity if self._lease is not None else ""

    async def run(self, lead: Lead) -> None:
        """Stand until cancelled; run *lead* while leading, cancel it when leadership is lost, stand again.

        Returns when *lead* returns by itself, raises what it raises. The Lease is given up in the end, so
        that another candidate takes it at once.
        """
        while True:
            await self._win()
            log.info("leads", lease=str(self._key), identity=self._identity)
            self._leading = True
            try:
                if await self._govern(lead):
                    return
            finally:
                self._leading = False
                await self._give_up()

    async def _win(self) -> None:
        """Return when the Lease is held."""
        while not await self._try():  # noqa: ASYNC110 - nobody here could set an event
            await asyncio.sleep(self._retry)

    async def _govern(self, lead: Lead) -> bool:
        """Lead for as long as the Lease can be renewed; tell whether the work ended by itself."""
        work = asyncio.create_task(_awaited(lead), name="leading")
        renewing = asyncio.create_task(self._keep(), name="renewing")
        try:
            await asyncio.wait((work, renewing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._leading = not renewing.done()
            ended = work.done()
            work.cancel()
            await asyncio.gather(
                work, return_exceptions=True
            )  # the Lease is still renewed, unless it is lost already
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
        if ended or not work.cancelled():
            work.result()
        if not ended:
            log.warning("leads no more", lease=str(self._key), identity=self._identity, leader=self.leader)
        return ended

    async def _keep(self) -> None:
        """Renew; return when the Lease is lost, or could not be renewed in time."""
        with suppress(TimeoutError):
            while self.leader == self._identity:
                async with asyncio.timeout_at(self._held_from + self._renew_deadline):
                    await asyncio.sleep(_SOON if self._overtaken else self._retry)
                    await self._try()

    async def _try(self) -> bool:
        """Take or renew the Lease if that is possible now; tell whether it is held."""
        began = asyncio.get_running_loop().time()
        self._overtaken = False
        try:
            if self.leader != self._identity:
                await self._look()
            if not self._may_claim():
                self.trouble = ""
                return False
            await self._claim()
        except (ChangedError, TakenError):
            return await self._lose()
        except ApiError as error:
            tell = log.debug if self.trouble else log.warning  # an outage is told once
            tell("the lease cannot be had", lease=str(self._key), error=str(error))
            self.trouble = str(error)
            return False
        self.trouble = ""
        self._held_from = began
        return True

    async def _lose(self) -> bool:
        """Somebody else wrote first: find out who, and forget that the Lease was ours if it is not."""
        self._overtaken = True
        with suppress(ApiError):
            await self._look()
        return False

    async def _look(self) -> None:
        try:
            self._observe(await self._client.get(LEASES, self._key))
        except MissingError:
            self._lease = None

    def _observe(self, lease: Lease) -> None:
        if self._lease is None or self._lease.spec != lease.spec:
            self._seen_at = asyncio.get_running_loop().time()
        self._lease = lease

    def _may_claim(self) -> bool:
        if self._lease is None or self.leader in {"", self._identity}:
            return True
        lasts = self._lease.spec.lease_duration_seconds or self._lease_seconds
        return asyncio.get_running_loop().time() >= self._seen_at + lasts

    async def _claim(self) -> None:
        now = micro_time(self._client.clock.precise())
        if self._lease is None:
            self._observe(await self._client.create(LEASES, self._first(now)))
            return
        spec: dict[str, str | int] = {"renewTime": now, "leaseDurationSeconds": self._lease_seconds}
        if self.leader != self._identity:
            transitions = self._lease.spec.lease_transitions + 1
            spec |= {"holderIdentity": self._identity, "acquireTime": now, "leaseTransitions": transitions}
        self._observe(await self._write(self._lease, spec))

    def _first(self, now: str) -> Lease:
        return Lease(
            metadata=ObjectMeta(name=self._key.name, namespace=self._key.namespace),
            spec=LeaseSpec(
                holder_identity=self._identity,
                lease_duration_seconds=self._lease_seconds,
                acquire_time=now,
                renew_time=now,
            ),
        )

    async def _write(self, lease: Lease, spec: Mapping[str, str | int | None]) -> Lease:
        """Change the Lease if nobody else has since it was read."""
        patch = merge_patch({"metadata": {"resourceVersion": lease.metadata.resource_version}, "spec": spec})
        return await self._client.patch(LEASES, self._key, patch, deadline=self._renew_deadline)

    async def _give_up(self) -> None:
        """Let others have the Lease at once, if it is still ours."""
        try:
            async with asyncio.timeout(_GIVING_UP):
                while not await self._release():
                    await asyncio.sleep(_SOON)
                    await self._look()
        except (ApiError, TimeoutError) as error:
            self._lease = None
            log.warning("the lease was not given up", lease=str(self._key), error=str(error))

    async def _release(self) -> bool:
        """Whether the Lease is not ours any more; a renewal that was cancelled may have come through."""
        if self._lease is None or self.leader != self._identity:
            return True
        spec = {
            "holderIdentity": None,
            "leaseDurationSeconds": 1,
            "renewTime": micro_time(self._client.clock.precise()),
        }
        try:
            self._observe(await self._write(self._lease, spec))
        except ChangedError:
            return False
        return True


async def _awaited(lead: Lead) -> None:
    await lead()
