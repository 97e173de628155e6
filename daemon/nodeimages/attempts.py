"""The running looks and pulls of one node, and what is known of each request.

Every task has this object's task group as its parent, and ends by calling ``on_change``.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from datetime import timedelta
from math import inf

import msgspec
import structlog

from daemon.cri.errors import CriError, RuntimeDownError
from daemon.cri.progress import Progress
from daemon.cri.runtimes import Runtime
from daemon.engine.clock import Clock
from daemon.metrics import Metrics
from daemon.nodeimages.access import Access
from daemon.nodeimages.live import Live
from daemon.nodeimages.measuring import Measuring
from daemon.nodeimages.plans import UNCOUNTED, Attempt, Failure, Stage, Wanted
from daemon.nodeimages.pulling import PullAttemptError, failure_of_question, pull
from daemon.nodeimages.records import Backoff, Record, outstanding
from daemon.nodeimages.releases import Releases

log = structlog.get_logger()

_RUNTIME_PAUSE = 1.0
"""Seconds after which a pull is tried again that the runtime's end has cut off."""
_STALE_AFTER = 60.0
"""Seconds after which an image that waits for space is looked at again, as others may have brought layers."""


class Tools(msgspec.Struct, frozen=True):
    """What attempts are made with."""

    access: Access
    measuring: Measuring
    live: Live
    metrics: Metrics
    clock: Clock
    backoff: Backoff


class Attempts:
    """Starts, follows and cancels the work on single images."""

    def __init__(
        self,
        tools: Tools,
        *,
        on_change: Callable[[], None],
        on_runtime_down: Callable[[Runtime], None],
        on_pulled: Callable[[str], None],
        workers: int,
    ) -> None:
        """*workers* is how many pulls there may be at the same time."""
        self._tools = tools
        self._workers = workers
        self._on_change = on_change
        self._on_runtime_down = on_runtime_down
        self._on_pulled = on_pulled
        self._records: dict[str, Record] = {}
        self.ended: dict[str, Progress] = {}
        """The last progress of pulls that have ended, for as long as their image is wanted."""
        self.pulled_at = -inf
        """Monotonic seconds of the last pull's end."""
        self._releases = Releases(tools.live)
        self._group: asyncio.TaskGroup | None = None
        self._closed = asyncio.Event()
        self._pulled = 0

    @property
    def records(self) -> Mapping[str, Record]:
        """What is known of each request, by reference."""
        return self._records

    async def run(self) -> None:
        """Be the parent of all tasks until ``close``; then wait for those that run.

        What is cancelled here goes on in the next process: the runtime keeps the bytes that it has.
        """
        async with asyncio.TaskGroup() as self._group:
            await self._closed.wait()
        self._group = None

    def close(self) -> None:
        """Start nothing new."""
        self._closed.set()

    def start(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None] | None:
        """Run *work* as a child; None when the node is stopping."""
        if self._group is None or self._closed.is_set():
            work.close()
            return None
        return self._group.create_task(work, name=name)

    def known(self) -> dict[str, Attempt]:
        """The planner's view of all records."""
        return {ref: self._attempt(ref, record) for ref, record in self._records.items()}

    def _attempt(self, ref: str, record: Record) -> Attempt:
        progress = self._tools.live.running.get(ref)
        return Attempt(
            version=record.wanted.version,
            stage=record.stage,
            facts=record.measured.facts if record.measured else None,
            stale=self._is_stale(record),
            failures=record.failures,
            failure=record.failure,
            retry_at=record.retry_at,
            started_at=record.started_at,
            image_id=record.image_id,
            percent=progress.percent if progress else 0,
            outstanding=outstanding(record, progress),
        )

    def _is_stale(self, record: Record) -> bool:
        pulled, at = record.looked
        return self._pulled > pulled or self._tools.clock.monotonic() - at > _STALE_AFTER

    def keep_only(self, wanted: Mapping[str, Wanted], finished: Collection[str]) -> None:
        """Forget requests that are over or replaced, once nothing runs for them."""
        for ref, record in list(self._records.items()):
            current = wanted.get(ref)
            stale = current is None or current.version != record.wanted.version or ref in finished
            if stale and record.stage is Stage.IDLE:
                del self._records[ref]
        for ref in self.ended.keys() - wanted.keys():
            del self.ended[ref]

    def look(self, wanted: Wanted, runtime: Runtime | None, failures: int) -> None:
        """Start a look at the image. *failures* is what an earlier process counted."""
        record = self._records.setdefault(wanted.ref, Record(wanted, failures=failures))
        record.wanted = wanted
        if runtime is not None:
            self._begin(record, Stage.LOOKING, self._look(record, runtime))

    def _begin(self, record: Record, stage: Stage, work: Coroutine[None, None, None]) -> None:
        record.task = self.start(work, f"{stage.name.lower()} {record.wanted.ref}")
        record.stage = stage if record.task is not None else Stage.IDLE

    def pull(self, wanted: Wanted, runtime: Runtime | None) -> None:
        """Start an attempt to pull the image."""
        record = self._records[wanted.ref]
        if runtime is None:
            return
        now = self._tools.clock.now()
        if record.started_at is None:
            record.started_at = now
            waited = (now - wanted.created_at) / timedelta(seconds=1)
            self._tools.metrics.pull_wait_seconds.observe(max(waited, 0.0))
        if record.failures:
            self._tools.metrics.pull_retries.inc()
        self._begin(record, Stage.PULLING, self._pull(record, runtime))

    def cancel(self, ref: str, version: int) -> None:
        """End what runs for that version; a newer one is left alone."""
        record = self._records.get(ref)
        if record is None or record.task is None or record.wanted.version != version:
            return
        if record.stage in (Stage.LOOKING, Stage.PULLING):
            record.stage = Stage.CANCELLING
            record.task.cancel()

    async def _look(self, record: Record, runtime: Runtime) -> None:
        news = True
        try:
            known = record.measured.blobs if record.measured is not None else None
            looked = self._pulled, self._tools.clock.monotonic()
            record.measured = await self._tools.measuring.look(record.wanted, runtime, known)
            record.looked = looked
        except CriError as error:
            self._fail(record, failure_of_question(error))
            self._report_down(error, runtime)
        else:
            if record.measured.facts.image_id:
                record.image_id = record.measured.facts.image_id
                self._tools.metrics.pulls.labels("present", "").inc()
            else:
                news = not self._are_busy()  # else nothing follows from it before the next pull ends
        finally:
            self._ended(record, news=news)

    def _are_busy(self) -> bool:
        running = sum(each.stage in (Stage.PULLING, Stage.CANCELLING) for each in self._records.values())
        return running >= self._workers

    async def _pull(self, record: Record, runtime: Runtime) -> None:
        live, metrics = self._tools.live, self._tools.metrics
        wanted, measured = record.wanted, record.measured
        assert measured is not None
        begun = self._tools.clock.monotonic()
        succeeded = False
        try:
            await live.begin(wanted.ref, runtime.extras, measured.blobs, measured.present)
            record.image_id = await pull(wanted, runtime, self._tools.access)
            succeeded = True
            metrics.pull_seconds.observe(self._tools.clock.monotonic() - begun)
            self._on_pulled(wanted.ref)
        except (PullAttemptError, CriError) as error:
            told = error.failure if isinstance(error, PullAttemptError) else failure_of_question(error)
            self._fail(record, told)
            self._report_down(error.__cause__ or error, runtime)
            if record.failure is not None:
                await self._releases.spoilt(wanted.ref, record.failure, runtime.extras)
        except asyncio.CancelledError:
            metrics.pulls.labels("cancelled", "").inc()
            if not self._closed.is_set():  # else a restart of the agent goes on where this stopped
                await self._releases.cancelled(wanted.ref, runtime.extras)
            raise
        finally:
            self._count(record, live.end(wanted.ref, succeeded=succeeded), succeeded=succeeded)
            self.pulled_at = self._tools.clock.monotonic()
            self._ended(record)

    def _report_down(self, error: BaseException, runtime: Runtime) -> None:
        if isinstance(error, RuntimeDownError):
            self._on_runtime_down(runtime)

    def _fail(self, record: Record, failure: Failure) -> None:
        backoff = self._tools.backoff
        record.failure = failure
        record.measured = None  # the world may have changed until the next attempt
        if failure.reason == "NoSpace":
            pause = backoff.space
        elif failure.reason in UNCOUNTED:
            pause = _RUNTIME_PAUSE
        else:
            record.failures += 1
            pause = backoff.after(record.failures)
        record.retry_at = self._tools.clock.monotonic() + pause
        record.retry_time = self._tools.clock.now() + timedelta(seconds=pause)
        self._tools.metrics.pulls.labels("failed", failure.reason).inc()
        log.warning(
            "pull failed",
            image=record.wanted.ref,
            reason=failure.reason,
            error=failure.message,
            failures=record.failures,
        )

    def _count(self, record: Record, progress: Progress | None, *, succeeded: bool) -> None:
        metrics = self._tools.metrics
        if succeeded:
            self._pulled += 1
            metrics.pulls.labels("pulled", "").inc()
            record.failure = None
            log.info("pulled", image=record.wanted.ref, **_sizes(progress))
        if progress is not None:
            self.ended[record.wanted.ref] = progress
            metrics.bytes_fetched.inc(progress.done)
            metrics.bytes_reused.inc(progress.reused if succeeded else 0)

    def _ended(self, record: Record, *, news: bool = True) -> None:
        record.stage = Stage.IDLE
        record.task = None
        if news:
            self._on_change()


def _sizes(progress: Progress | None) -> dict[str, object]:
    if progress is None or not progress.known:
        return {}
    return {"fetched": progress.done, "reused": progress.reused}
