"""Runs a reconcile function over a queue: the one place with a broad ``except``, timing and counting."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import structlog

from daemon.engine.objects import ConflictError, ObjectsError
from daemon.engine.queue import QueueClosedError, WorkQueue
from daemon.metrics import Metrics

K = TypeVar("K", bound=Hashable)
Reconcile = Callable[[K], Awaitable[float | None]]

log = structlog.get_logger()

_RESULTS = ("ok", "conflict", "refused", "error")
"""Counted from the start, so that a dashboard shows them before the first event."""


class PermanentError(Exception):
    """Trying again is useless until the object changes; the reconciler has told why in a condition."""


class Controller(Generic[K]):
    """Workers that call *reconcile* for each key.

    Three outcomes: done (look again in the seconds that it returned, if any), error (back-off), permanent
    (given up until the key is added again). A conflict is normal: the key is looked at again soon, with the
    newer object, however many there were before.
    """

    def __init__(
        self,
        name: str,
        reconcile: Reconcile[K],
        metrics: Metrics,
        *,
        workers: int = 1,
        max_delay: float = 60.0,
    ) -> None:
        """*max_delay* is the longest pause after errors, in seconds."""
        self.name = name
        self.queue: WorkQueue[K] = WorkQueue(max_delay=max_delay)
        self._reconcile = reconcile
        self._workers = workers
        self._results = {result: metrics.reconciles.labels(name, result) for result in _RESULTS}
        self._seconds = metrics.reconcile_seconds.labels(name)

    async def run(self) -> None:
        """Work until the queue is closed and empty."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._work(), name=f"{self.name}-worker-{number}")

    async def _work(self) -> None:
        # A worker is a task, with a context of its own.
        structlog.contextvars.bind_contextvars(controller=self.name)
        while True:
            try:
                key = await self.queue.get()
            except QueueClosedError:
                return
            structlog.contextvars.bind_contextvars(key=str(key))
            try:
                await self._attempt(key)
            finally:
                self.queue.done(key)

    async def _attempt(self, key: K) -> None:
        started = time.monotonic()
        result = "ok"
        try:
            again_in = await self._reconcile(key)
        except PermanentError as error:
            result = "refused"
            self.queue.forget(key)
            log.warning("gave up", error=str(error))
        except ConflictError:
            result = "conflict"
            self.queue.retry_soon(key)
        except ObjectsError as error:  # the store's answer, which says all there is to know
            result = "error"
            log.warning("cannot read or write", error=str(error), retry_in=round(self.queue.retry(key), 3))
        except Exception:  # the one broad except: a bug in one key must not end the work on others
            result = "error"
            log.exception("reconcile failed", retry_in=round(self.queue.retry(key), 3))
        else:
            self.queue.forget(key)
            if again_in is not None:
                self.queue.add_after(key, again_in)
        self._results[result].inc()
        self._seconds.observe(time.monotonic() - started)
