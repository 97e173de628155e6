"""Signs of life: an agent renews its Lease, the controller sees by its own clock who has stopped."""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from daemon.kube.backoff import Backoff
from daemon.kube.client import ApiClient
from daemon.kube.errors import ApiError, ChangedError, MissingError, TakenError
from daemon.kube.informer import Informer
from daemon.kube.patches import merge_patch
from daemon.kube.resources import LEASES
from daemon.objects.leases import Lease, LeaseSpec, micro_time
from daemon.objects.meta import Key, ObjectMeta

log = structlog.get_logger()

_SOON = 1.0
"""Seconds between two tries of a renewal while others write to the Lease: no trouble that takes patience."""
_LOOK = 1.0
"""Seconds between two looks for who has lapsed."""


class Heartbeat:
    """Renews the Lease *key* every *interval* seconds; makes it, with *labels*, when it is not there."""

    def __init__(
        self,
        client: ApiClient,
        key: Key,
        holder: str,
        *,
        interval: float = 15.0,
        duration: int = 45,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self._client = client
        self._key = key
        self._holder = holder
        self._interval = interval
        self._duration = duration
        self._labels = labels or {}
        self._last: float | None = None

    @property
    def since(self) -> float | None:
        """Seconds since the last renewal that came through, None before the first."""
        return None if self._last is None else asyncio.get_running_loop().time() - self._last

    async def run(self) -> None:
        """Renew until cancelled, whatever the server answers."""
        loop = asyncio.get_running_loop()
        backoff = Backoff(first=1.0, longest=self._interval)
        broken = False
        while True:
            began = loop.time()
            try:
                await self._renew()
            except ApiError as error:
                if not broken:
                    log.warning("no sign of life", lease=str(self._key), error=str(error))
                broken = True
                pause = min(_SOON, self._interval) if isinstance(error, ChangedError) else backoff.next()
                await asyncio.sleep(max(pause, error.retry_after))
                continue
            broken = False
            backoff.reset()
            self._last = began
            await asyncio.sleep(self._interval - (loop.time() - began))

    async def _renew(self) -> None:
        spec = {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": self._duration,
            "renewTime": micro_time(self._client.clock.precise()),
        }
        patch = merge_patch({"spec": spec})
        try:
            await self._client.patch(LEASES, self._key, patch, deadline=self._interval)
        except MissingError:
            await self._make()

    async def _make(self) -> None:
        now = micro_time(self._client.clock.precise())
        lease = Lease(
            metadata=ObjectMeta(name=self._key.name, namespace=self._key.namespace, labels=self._labels),
            spec=LeaseSpec(
                holder_identity=self._holder,
                lease_duration_seconds=self._duration,
                acquire_time=now,
                renew_time=now,
            ),
        )
        try:
            await self._client.create(LEASES, lease)
        except TakenError:
            log.debug("the lease was made by somebody else meanwhile", lease=str(self._key))


class Pulses:
    """Who is alive: a Lease that was not seen to be renewed for *patience* seconds has lapsed.

    Measured on this process's own clock, from when a renewal was *seen*, so that skewed clocks do not matter.
    While the Leases themselves cannot be followed, nobody lapses, and afterwards all get their patience anew.
    """

    def __init__(self, leases: Informer[Lease], *, patience: float = 50.0) -> None:
        self._leases = leases
        self._patience = patience
        self._seen: dict[Key, float] = {}
        """By Lease, the loop's time of the last renewal that was seen."""
        self._lapsed: set[Key] = set()
        self._listeners: list[Callable[[Key, bool], None]] = []
        leases.on_change(self._take)

    def alive(self, key: Key) -> bool:
        """Tell whether the holder of the Lease lives, as last told; False without a Lease."""
        return key in self._seen and key not in self._lapsed

    def on_change(self, listener: Callable[[Key, bool], None]) -> None:
        """Have *listener* called with the key of a Lease and whether its holder now lives."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Look for the lapsed until cancelled; without it nobody is found to be dead."""
        while True:
            await asyncio.sleep(_LOOK)
            if self._leases.behind == 0:
                self._look()

    def _look(self) -> None:
        oldest = asyncio.get_running_loop().time() - self._patience
        if self._leases.followed_since > oldest:
            return
        for key, seen in self._seen.items():
            if seen < oldest and key not in self._lapsed:
                self._lapsed.add(key)
                self._tell(key, alive=False)

    def _take(self, before: Lease | None, after: Lease | None) -> None:
        if after is None:
            if before is not None:
                self._forget(before.metadata.key)
        elif before is None or before.spec.renew_time != after.spec.renew_time:
            key = after.metadata.key
            new = not self.alive(key)
            self._seen[key] = asyncio.get_running_loop().time()
            self._lapsed.discard(key)
            if new:
                self._tell(key, alive=True)

    def _forget(self, key: Key) -> None:
        lived = self.alive(key)
        self._seen.pop(key, None)
        self._lapsed.discard(key)
        if lived:
            self._tell(key, alive=False)

    def _tell(self, key: Key, *, alive: bool) -> None:
        for listener in self._listeners:
            listener(key, alive)
