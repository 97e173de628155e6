"""Events that ``kubectl describe`` shows: repeats merged into series, never more than a bounded rate.

Nothing depends on an event: what cannot be written is dropped and counted.
"""

import asyncio
import uuid
from collections import OrderedDict
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal

import msgspec
import structlog

from daemon.engine.clock import Clock
from daemon.engine.objects import ApiObject
from daemon.kube.client import ApiClient
from daemon.kube.errors import ApiError, BusyError, MissingError, ServerError, UnreachableError
from daemon.kube.patches import merge_patch
from daemon.kube.resources import EVENTS, Resource
from daemon.metrics import Metrics
from daemon.objects.events import Event, EventSeries, ObjectReference
from daemon.objects.leases import micro_time
from daemon.objects.meta import Key, ObjectMeta
from daemon.redaction import redacted

Level = Literal["Normal", "Warning"]

log = structlog.get_logger()

_LONGEST_NOTE = 1024
"""Bytes; the API server refuses more (events.k8s.io/v1)."""
_WAITING = 256
"""Events that wait to be written at most."""
_SERIES_SECONDS = 360.0
"""A repeat after so long is a new event: client-go ends a series after six minutes, too."""
_SERIES = 512
"""Events that are remembered for repeats at most."""
_TRIES = 5
_FAR_NAMESPACE = "default"
"""Where events about objects without a namespace live."""


class EventPace(msgspec.Struct, frozen=True):
    """How fast events are written: *burst* at once, then *rate* a second."""

    burst: float = 25.0
    rate: float = 1.0
    between_repeats: float = 30.0
    """Seconds between two writes that only count repeats of the same."""
    before_retry: float = 10.0
    """Seconds after a failure that may pass."""


_USUAL = EventPace()


class _Happening(msgspec.Struct, frozen=True):
    """What makes two events the same one, repeated."""

    regarding: ObjectReference
    reason: str
    action: str
    note: str
    type: Level


class _Series(msgspec.Struct):
    """How often something has happened, and what of it was written."""

    first: datetime
    last: datetime
    heard_at: float
    """The loop's time of the last repeat."""
    count: int = 1
    tries: int = 0
    written_as: Key | None = None


class EventRecorder:
    """Writes events of ``events.k8s.io/v1`` while ``run`` runs."""

    def __init__(
        self,
        client: ApiClient,
        metrics: Metrics,
        clock: Clock,
        *,
        controller: str,
        instance: str,
        pace: EventPace = _USUAL,
    ) -> None:
        self._client = client
        self._metrics = metrics
        self._clock = clock
        self._controller = controller
        self._instance = instance
        self._series: OrderedDict[_Happening, _Series] = OrderedDict()
        self._due: dict[_Happening, float] = {}
        """What is to be written, and the loop's time from when on."""
        self._stir = asyncio.Event()
        self._pace = pace
        self._tokens = _Tokens(pace)

    def record(
        self,
        resource: Resource[Any],
        obj: ApiObject,
        reason: str,
        note: str,
        *,
        action: str = "",
        type_: Level = "Normal",
    ) -> None:
        """Have it said that *reason* happened to *obj*; returns at once, never raises.

        *reason* is CamelCase, *note* for people; *action* (what was done, default *reason*) is CamelCase too.
        """
        about = _reference(resource, obj)
        happening = _Happening(about, reason, action or reason, _shortened(redacted(note)), type_)
        now = asyncio.get_running_loop().time()
        if len(self._due) >= _WAITING and happening not in self._due:
            self._metrics.events_dropped.labels("full").inc()
            return
        series = self._series.get(happening)
        repeated = series is not None and now - series.heard_at < _SERIES_SECONDS
        if series is not None and repeated:
            series.count, series.last, series.heard_at = series.count + 1, self._clock.now(), now
        else:
            self._begin(happening, now)
        self._due.setdefault(happening, now + (self._pace.between_repeats if repeated else 0.0))
        self._stir.set()

    async def run(self) -> None:
        """Write what was recorded until cancelled."""
        while True:
            happening = await self._next()
            await self._tokens.take()
            series = self._series.get(happening)
            if series is None:  # forgotten for the sake of newer ones
                continue
            try:
                await self._write(happening, series)
            except ApiError as error:
                self._fail(happening, series, error)

    def _begin(self, happening: _Happening, now: float) -> None:
        at = self._clock.now()
        self._series[happening] = _Series(at, at, now)
        self._series.move_to_end(happening)
        while len(self._series) > _SERIES:
            self._due.pop(self._series.popitem(last=False)[0], None)

    async def _next(self) -> _Happening:
        """What is due to be written, as soon as something is."""
        loop = asyncio.get_running_loop()
        while True:
            self._stir.clear()
            first = min(self._due, key=self._due.__getitem__, default=None)
            if first is not None and self._due[first] <= loop.time():
                del self._due[first]
                return first
            with suppress(TimeoutError):
                async with asyncio.timeout_at(None if first is None else self._due[first]):
                    await self._stir.wait()

    async def _write(self, happening: _Happening, series: _Series) -> None:
        if series.written_as is not None:
            try:
                await self._count_on(series.written_as, series)
            except MissingError:  # events are kept for an hour or so
                series.written_as = None
        if series.written_as is None:
            made = await self._client.create(EVENTS, self._event(happening, series))
            series.written_as = made.metadata.key
        series.tries = 0

    async def _count_on(self, key: Key, series: _Series) -> None:
        patch = merge_patch({"series": {"count": series.count, "lastObservedTime": micro_time(series.last)}})
        await self._client.patch(EVENTS, key, patch)

    def _event(self, happening: _Happening, series: _Series) -> Event:
        about = happening.regarding
        name = f"{about.name[:200]}.{uuid.uuid4().hex[:16]}"
        repeated = EventSeries(count=series.count, last_observed_time=micro_time(series.last))
        return Event(
            metadata=ObjectMeta(name=name, namespace=about.namespace or _FAR_NAMESPACE),
            event_time=micro_time(series.first),
            reporting_controller=self._controller,
            reporting_instance=self._instance,
            action=happening.action,
            reason=happening.reason,
            regarding=about,
            note=happening.note,
            type=happening.type,
            series=repeated if series.count > 1 else None,
        )

    def _fail(self, happening: _Happening, series: _Series, error: ApiError) -> None:
        """Try again later what may still come through; drop the rest."""
        series.tries += 1
        if isinstance(error, UnreachableError | ServerError | BusyError) and series.tries < _TRIES:
            pause = max(error.retry_after, self._pace.before_retry)
            self._due.setdefault(happening, asyncio.get_running_loop().time() + pause)
            return
        self._metrics.events_dropped.labels("failed").inc()
        log.debug("event dropped", reason=happening.reason, error=str(error))
        self._series.pop(happening, None)


class _Tokens:
    """A token bucket: so many at once, then so many a second."""

    def __init__(self, pace: EventPace) -> None:
        self._pace = pace
        self._left = pace.burst
        self._at = 0.0

    async def take(self) -> None:
        """Return when there is a token to be had."""
        loop = asyncio.get_running_loop()
        self._left = min(self._pace.burst, self._left + (loop.time() - self._at) * self._pace.rate)
        self._at = loop.time()
        self._left -= 1.0
        if self._left < 0.0:
            await asyncio.sleep(-self._left / self._pace.rate)


def _reference(resource: Resource[Any], obj: ApiObject) -> ObjectReference:
    return ObjectReference(
        kind=resource.kind,
        name=obj.metadata.name,
        namespace=obj.metadata.namespace,
        uid=obj.metadata.uid,
        api_version=resource.api_version,
    )


def _shortened(note: str) -> str:
    """*note* in as many bytes as the API server takes."""
    data = note.encode()
    return note if len(data) <= _LONGEST_NOTE else data[: _LONGEST_NOTE - 3].decode(errors="ignore") + "…"
