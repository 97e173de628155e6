"""Follows the objects of one kind on the API server: reads all once, then each change, for ever.

WatchList where it is served, else pages; goes on where a broken watch ended; reads all again only when the
server has forgotten that point. Waits longer after each failure, never the same time as others.
"""

import asyncio
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from typing import Generic, Protocol, TypeVar

import structlog

from daemon.engine.objects import ApiObject
from daemon.kube.backoff import Backoff
from daemon.kube.cache import number
from daemon.kube.client import Listed
from daemon.kube.errors import ApiError, ExpiredError, OverdueError, RefusedError
from daemon.kube.resources import Resource
from daemon.kube.selections import Selection
from daemon.kube.watching import Change, Changed, Changes, Gone, Marked
from daemon.metrics import Metrics
from daemon.objects.meta import Key

T = TypeVar("T", bound=ApiObject)
T_contra = TypeVar("T_contra", bound=ApiObject, contravariant=True)

log = structlog.get_logger()

_INITIAL_SECONDS = 60.0
"""In which WatchList must have sent all objects; a server that does not know it never says that it has."""
_LATE = 30.0
"""Seconds after which a write of our own must have come back through the watch."""
_LATEST = 300.0
"""The same, doubled for each watch that did not bring it: then it is the server that is behind, and whoever
reads all anew puts it behind further."""
_LASTING = 5.0
"""Seconds after which a watch counts as a success, even if nothing changed."""


class Sink(Protocol[T_contra]):
    """What is told of the objects."""

    def put(self, obj: T_contra) -> None:
        """The object looks like this."""
        ...

    def drop(self, obj: T_contra) -> None:
        """The object is gone or not selected any more; its version says since when."""
        ...

    def keep(self, seen: AbstractSet[Key], version: str) -> None:
        """These were all objects at *version*."""
        ...


class Source(Protocol):
    """The part of ``ApiClient`` that is needed here."""

    async def list(self, resource: Resource[T], selection: Selection) -> Listed[T]:
        """Read all objects."""
        ...

    def watch(
        self, resource: Resource[T], selection: Selection, *, since: str, initial: bool
    ) -> AbstractAsyncContextManager[Changes[T]]:
        """Follow changes."""
        ...


class _StaleError(Exception):
    """The watch did not bring what this process itself has written: it is not to be trusted."""


class Follower(Generic[T]):
    """Tells *sink* of all objects of *selection*, and of each change, while ``run`` runs."""

    def __init__(
        self,
        client: Source,
        resource: Resource[T],
        selection: Selection,
        sink: Sink[T],
        metrics: Metrics,
    ) -> None:
        self._client = client
        self._resource = resource
        self._selection = selection
        self._sink = sink
        self._metrics = metrics
        self._backoff = Backoff()
        self._streams = True
        """Whether the server is thought to serve WatchList."""
        self._version = ""
        """Where the watch goes on; empty when everything has to be read again."""
        self._seen: set[Key] | None = None
        """While all objects are being sent: those that were."""
        self._watching: asyncio.Timeout | None = None
        self._own = OwnWrites(self._suspect)
        self._doubts = 0
        """How many watches in a row did not bring a write of this process."""
        self._opened_at: float | None = None
        """The loop's time since when this watch tells of changes."""
        self.synced = asyncio.Event()
        """Set when all objects have been told of once."""
        self.lost_at: float | None = None
        """The loop's time since when changes may be missed; None while they come."""
        self.problem = ""
        """Why they may be, as the last failure has it; empty while they come, and before the first."""
        self.followed_since = 0.0
        """The loop's time since when no change was missed, or 0."""

    async def run(self) -> None:
        """Follow until cancelled; never ends otherwise, whatever the server does."""
        loop = asyncio.get_running_loop()
        self.lost_at = loop.time()
        try:
            while True:
                self._opened_at = None
                wait = await self._round()
                if self._opened_at is not None and loop.time() - self._opened_at > _LASTING:
                    self._backoff.reset()
                await asyncio.sleep(max(wait, self._backoff.next()))
        finally:
            self._own.forget()

    def expect(self, version: str) -> None:
        """Learn that this process has written *version*: a watch that does not bring it soon is no good."""
        self._own.expect(number(version), armed=self._watching is not None)

    async def _round(self) -> float:
        """Follow until something ends it; return the seconds to wait at least before the next time."""
        try:
            await self._follow()
        except ExpiredError as error:
            self._version = ""
            self._restart("expired", error)
        except ApiError as error:
            self._restart("failed", error)
            return error.retry_after
        except _StaleError as error:
            self._doubts += 1
            self._own.late_after = min(_LATE * 2**self._doubts, _LATEST)
            if self._doubts > 1:
                self._version = ""
            self._restart("stale", error)
        else:
            self._restart("ended", None)
        return 0.0

    def _restart(self, reason: str, error: Exception | None) -> None:
        self._metrics.watch_restarts.labels(self._resource.plural, reason).inc()
        if error is None:
            return
        tell = log.debug if self.problem else log.warning  # an outage is told once
        tell("watch broke", resource=self._resource.plural, reason=reason, error=str(error))
        self.problem = str(error)
        if self.lost_at is None:
            self.lost_at = asyncio.get_running_loop().time()

    async def _follow(self) -> None:
        if not self._version and self._streams:
            try:
                return await self._watch(initial=True)
            except RefusedError as error:
                self._streams = False
                log.info("lists, as it may not stream", resource=self._resource.plural, error=str(error))
        if not self._version:
            listed = await self._client.list(self._resource, self._selection)
            for obj in listed.objects:
                self._sink.put(obj)
            self._complete({obj.metadata.key for obj in listed.objects}, listed.resource_version)
        return await self._watch(initial=False)

    async def _watch(self, *, initial: bool) -> None:
        self._seen = set() if initial else None
        opened = self._client.watch(self._resource, self._selection, since=self._version, initial=initial)
        try:
            async with asyncio.timeout(_INITIAL_SECONDS if initial else None) as self._watching:
                async with opened as watch:
                    if not initial:
                        self._caught_up()
                    await self._take_all(watch)
        except TimeoutError as error:
            raise self._cut_short() from error
        finally:
            self._watching = self._seen = None

    def _cut_short(self) -> Exception:
        if self._seen is None:
            return _StaleError("a write of this process did not come back")
        self._streams = False
        return OverdueError(f"watch {self._resource.plural}", message="not all objects were sent")

    async def _take_all(self, watch: Changes[T]) -> None:
        while (changes := await watch.changes()) is not None:
            for change in changes:
                self._take(change)
            if self._seen is None:
                self._backoff.reset()

    def _take(self, change: Change[T]) -> None:
        match change:
            case Changed(obj):
                if self._seen is not None:
                    self._seen.add(obj.metadata.key)
                self._sink.put(obj)
                self._reach(obj.metadata.resource_version)
            case Gone(obj):
                self._sink.drop(obj)
                self._reach(obj.metadata.resource_version)
            case Marked(version, complete):
                if complete and self._seen is not None:
                    self._complete(self._seen, version)
                    self._caught_up()
                self._reach(version)

    def _complete(self, seen: set[Key], version: str) -> None:
        """All objects that there were at *version* are known."""
        self._seen = None
        self._sink.keep(seen, version)
        self._reach(version)
        self.synced.set()

    def _caught_up(self) -> None:
        """From here on no change is missed."""
        if self._watching is not None:
            self._watching.reschedule(None)
        self._own.arm()
        self.problem = ""
        now = self._opened_at = asyncio.get_running_loop().time()
        if self.lost_at is not None:
            log.info("follows", resource=self._resource.plural, after=round(now - self.lost_at, 3))
            self.lost_at = None
            self.followed_since = now

    def _reach(self, version: str) -> None:
        """Go on from *version* next time, unless not even all objects have come."""
        if self._seen is None and version:
            self._version = version
            if self._own.arrived(number(version)):
                self._doubts, self._own.late_after = 0, _LATE

    def _suspect(self) -> None:
        """End the watch, which is late: the next one begins where this one stands."""
        if self._watching is not None and not self._watching.expired():
            self._watching.reschedule(asyncio.get_running_loop().time())


class OwnWrites:
    """The newest version that this process wrote, until the watch has brought it or *late* was called."""

    def __init__(self, late: Callable[[], None]) -> None:
        self.late_after = _LATE
        """Seconds for which a write is waited for."""
        self._late = late
        self._expected = 0
        self._awaited = 0
        """What was expected when the waiting began; what is written meanwhile has its own time."""
        self._reached = 0
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, version: int, *, armed: bool) -> None:
        """Wait for *version* to come back, from now on if the watch is open."""
        self._expected = max(self._expected, version)
        if armed:
            self.arm()

    def arm(self) -> None:
        """Begin to wait, if there is something to wait for."""
        if self._timer is None and self._expected > self._reached:
            self._awaited = self._expected
            self._timer = asyncio.get_running_loop().call_later(self.late_after, self._ring)

    def arrived(self, version: int) -> bool:
        """Learn that the watch has brought *version*; tell whether it brings what this process writes."""
        self._reached = max(self._reached, version)
        if self._reached < (self._expected if self._timer is None else self._awaited):
            return False
        waited = self._timer is not None
        self.forget()
        if waited:
            self.arm()
        return True

    def forget(self) -> None:
        """Wait no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        self._late()
