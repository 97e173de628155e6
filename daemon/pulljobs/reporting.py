"""Writes the status of jobs: ends at once, all else at a bounded rate, so that a short job is told once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import msgspec
import structlog

from daemon import names
from daemon.engine.clock import Clock
from daemon.engine.objects import NotFoundError, Objects
from daemon.objects.images import (
    ImageListPullJob,
    ImageListPullJobStatus,
    ImagePullJob,
    ImagePullJobStatus,
)
from daemon.objects.meta import Key, condition_of

J = TypeVar("J", ImagePullJob, ImageListPullJob)
JobStatus = ImagePullJobStatus | ImageListPullJobStatus

_SETTLE = 0.3
_SETTLE_MORE = 0.15
_SETTLE_MOST = 3.0
"""Seconds before the first word of a job that goes on, the second for each other one that said none yet: the
more began together, the more end soon. A job without a status is one in progress for whoever waits for it."""
_BETWEEN = 1.0
_BETWEEN_MORE = 0.15
"""Seconds between two words of progress of one job, the second for each job that goes on."""

_NEAR = 0.001
"""Seconds before its time at which a word may be told, since timers are not exact."""

log = structlog.get_logger()


class Announce(Protocol):
    """Has it said, as an Event, that something happened to a job."""

    def __call__(
        self, job: ImagePullJob | ImageListPullJob, reason: str, note: str, *, warning: bool
    ) -> None:
        """Return at once, and never raise."""
        ...


def say_nothing(
    job: ImagePullJob | ImageListPullJob,
    reason: str,
    note: str,
    *,
    warning: bool,
) -> None:
    """Announce to nobody."""


@dataclass(slots=True)
class _Untold:
    uid: str
    since: float
    settled_at: float = 0.0
    status: JobStatus | None = None
    written_at: float = float("-inf")


class Statuses(Generic[J]):
    """What jobs are to say, written or not yet. *live* tells how many jobs go on."""

    def __init__(
        self, jobs: Objects[J], clock: Clock, live: Callable[[], int], announce: Announce = say_nothing
    ) -> None:
        self._jobs: Objects[J] = jobs
        self._clock = clock
        self._live = live
        self._announce = announce
        self._untold: dict[Key, _Untold] = {}
        self._silent: set[Key] = set()
        """Those that have said nothing yet."""

    def latest(self, job: J) -> J:
        """The job with what was decided of it last, written or not."""
        untold = self._untold.get(job.metadata.key)
        if untold is None or untold.status is None or untold.uid != job.metadata.uid:
            return job
        return msgspec.structs.replace(job, status=untold.status)

    def forget(self, key: Key) -> None:
        """The job is gone."""
        self._untold.pop(key, None)
        self._silent.discard(key)

    async def tell(self, key: Key, uid: str, status: JobStatus) -> float | None:
        """Have the job say *status*; return in how many seconds to come again when it is too early for it."""
        stored = self._jobs.get(key)
        if stored is None or stored.metadata.uid != uid:
            self.forget(key)
            return None
        if stored.status == status:
            self._told(key, status)
            return None
        untold = self._untold.get(key)
        if untold is None or untold.uid != uid:
            untold = self._untold[key] = _Untold(uid, self._clock.monotonic())
            self._silent.add(key)
        untold.status = status
        wait = 0.0 if _is_urgent(status) else self._due(untold) - self._clock.monotonic()
        if wait > _NEAR:
            return wait
        await self._write(stored, untold, status)
        return None

    def _due(self, untold: _Untold) -> float:
        others = max(len(self._silent) - 1, 0)
        settled = untold.since + min(_SETTLE + _SETTLE_MORE * others, _SETTLE_MOST)
        # Never earlier than was thought before: that others have ended says that this one soon will, too.
        untold.settled_at = max(untold.settled_at, settled)
        return max(untold.settled_at, untold.written_at + max(_BETWEEN, _BETWEEN_MORE * self._live()))

    async def _write(self, stored: J, untold: _Untold, status: JobStatus) -> None:
        # Nobody else writes it, and what it is about stands in observedGeneration: no resourceVersion.
        metadata = msgspec.structs.replace(stored.metadata, resource_version="")
        try:
            told = await self._jobs.replace_status(
                msgspec.structs.replace(stored, metadata=metadata, status=status)
            )
        except NotFoundError:
            log.info("job is gone", job=str(stored.metadata.key))
            self.forget(stored.metadata.key)
            return
        untold.written_at = self._clock.monotonic()
        self._silent.discard(stored.metadata.key)
        self._told(stored.metadata.key, status)
        if _is_urgent(status) or (_is_ready(status) and not _is_ready(stored.status)):
            self._announce_state(told)

    def _told(self, key: Key, status: JobStatus) -> None:
        untold = self._untold.get(key)
        if untold is None or untold.status != status:
            return
        untold.status = None
        if _is_urgent(status):
            del self._untold[key]

    def _announce_state(self, job: J) -> None:
        ready = condition_of(job.status.conditions, names.READY)
        if ready is not None:
            self._announce(job, ready.reason, ready.message, warning=ready.status != "True")


def _is_ready(status: JobStatus) -> bool:
    ready = condition_of(status.conditions, names.READY)
    return ready is not None and ready.status == "True"


def _is_urgent(status: JobStatus) -> bool:
    stalled = condition_of(status.conditions, names.STALLED)
    return status.completion_time is not None or (stalled is not None and stalled.status == "True")
