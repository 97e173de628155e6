"""The stops that requests asked for: each runs by itself, and what became of it is remembered.

Every task has this object's task group as its parent, and ends by calling ``on_change``.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta

import msgspec
import structlog

from daemon.cri.errors import CriError
from daemon.engine.clock import Clock
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key
from daemon.restarts.recreate_plans import Attempt, Stage, Stop, StopKey
from daemon.restarts.stopping import OtherContainerError, StopError, Stopper
from daemon.restarts.wording import reason_of_request

MOST_TRIES = 8
"""Together some two minutes: a runtime that comes back is asked again at once."""
_LONGEST_PAUSE = 30.0

log = structlog.get_logger()


class _Record(msgspec.Struct):
    pod: Key
    attempt: Attempt
    tries: int


class Stops:
    """Begins stops, and knows how they stand."""

    def __init__(self, stopper: Stopper, clock: Clock, on_change: Callable[[Key], None]) -> None:
        self._stopper = stopper
        self._clock = clock
        self._on_change = on_change
        self._records: dict[StopKey, _Record] = {}
        self._group: asyncio.TaskGroup | None = None
        self._closed = asyncio.Event()

    async def run(self) -> None:
        """Be the parent of all stops until ``close``; then wait for those that run."""
        async with asyncio.TaskGroup() as self._group:
            await self._closed.wait()
        self._group = None

    def close(self) -> None:
        """Begin nothing new."""
        self._closed.set()

    def known(self) -> Mapping[StopKey, Attempt]:
        """How each stop stands."""
        return {key: record.attempt for key, record in self._records.items()}

    def begin(self, pod: LocalPod, stop: Stop) -> None:
        """Stop that container of *pod*, which must be whole, in the background."""
        if self._group is None or self._closed.is_set():
            return
        before = self._records.get(stop.key)
        tries = 0 if before is None else before.tries
        self._records[stop.key] = _Record(
            pod.metadata.key, Attempt(stop.container_id, Stage.RUNNING), tries + 1
        )
        self._group.create_task(self._stop(pod, stop), name=f"stop {stop.container} of {pod.metadata.key}")

    def keep_only(self, pod: Key, requests: Collection[str]) -> None:
        """Forget what was done to *pod* for requests other than those with these UIDs, unless it runs."""
        for key, record in list(self._records.items()):
            running = record.attempt.stage is Stage.RUNNING
            if record.pod == pod and key[0] not in requests and not running:
                del self._records[key]

    def hurry(self) -> None:
        """Try at once what is to be tried again: a runtime has come back."""
        for record in self._records.values():
            if record.attempt.stage is Stage.AGAIN:
                record.attempt = Attempt(record.attempt.container_id, Stage.AGAIN, record.attempt.problem)

    async def _stop(self, pod: LocalPod, stop: Stop) -> None:
        record = self._records[stop.key]
        try:
            record.attempt = await self._attempt(pod, stop, record.tries)
        finally:
            if record.attempt.stage is Stage.RUNNING:  # cancelled: the next process goes on
                record.attempt = Attempt(stop.container_id, Stage.AGAIN)
            self._on_change(pod.metadata.key)

    async def _attempt(self, pod: LocalPod, stop: Stop, tries: int) -> Attempt:
        """What became of it: this task's errors are the request's, and end no other's work."""
        grace = stop.request.spec.strategy.termination_grace_period_seconds
        reason = reason_of_request(stop.request)
        try:
            stopped = await self._stopper.stop(
                pod, stop.container, stop.container_id, reason=reason, grace=grace
            )
        except OtherContainerError as error:
            return Attempt(stop.container_id, Stage.FAILED, f"it could not be stopped: {error}")
        except (CriError, StopError) as error:
            return self._failed(stop, error, tries)
        return Attempt(stop.container_id, Stage.STOPPED if stopped else Stage.ENDED)

    def _failed(self, stop: Stop, error: CriError | StopError, tries: int) -> Attempt:
        problem = f"it could not be stopped: {error}"
        final = tries >= MOST_TRIES or (isinstance(error, CriError) and not error.retryable)
        log.warning("container not stopped", container=stop.container_id, error=str(error), tries=tries)
        if final:
            return Attempt(stop.container_id, Stage.FAILED, problem)
        pause = timedelta(seconds=min(2.0 ** (tries - 1), _LONGEST_PAUSE))
        return Attempt(stop.container_id, Stage.AGAIN, problem, self._clock.now() + pause)
