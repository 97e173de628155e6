"""Writes records in one thread of its own, so that the event loop never waits for a disk.

Records that queue up while the disk is busy are written together, each once and in its newest form.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from daemon.store.files import StateFiles, StorageError
from daemon.store.records import ObjectId, Record

Batch = dict[ObjectId, Record | None]
"""What is to be stored; None removes the file."""
Failures = dict[ObjectId, Exception]
Settled = Callable[[ObjectId, Record | None, Exception | None], None]
"""Called on the loop when a record is on the disk, or could not be put there and nothing newer is waiting."""


_GATHERING = 0.003
"""Seconds for which a batch is open."""


class Writer:
    """A queue of records and the thread that empties it. All methods belong to the event loop."""

    def __init__(self, files: StateFiles, settled: Settled) -> None:
        self._files = files
        self._settled = settled
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._next: Batch = {}
        self._waiting: list[asyncio.Future[Failures]] = []
        self._running = False

    async def write(self, batch: Batch) -> None:
        """Return when *batch*, or something newer, is on the disk. Raises StorageError.

        A caller that is cancelled does not take the write back.
        """
        if not batch:
            return
        done: asyncio.Future[Failures] = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self.add(batch)
        failures = await done
        for id_ in batch:
            if id_ in failures:
                raise StorageError(f"cannot write the state of {id_}: {failures[id_]}") from failures[id_]

    def add(self, batch: Batch) -> None:
        """Have *batch* written after all that was added before, or together with it."""
        self._next.update(batch)
        if batch and not self._running:
            self._running = True
            # What follows from this change is often decided at once, and one flush serves both.
            asyncio.get_running_loop().call_later(_GATHERING, self._start)

    async def close(self) -> None:
        """Write what is waiting and end the thread."""
        while self._running:
            done: asyncio.Future[Failures] = asyncio.get_running_loop().create_future()
            self._waiting.append(done)
            await done
        self._threads.shutdown()

    def _start(self) -> None:
        batch, self._next = self._next, {}
        waiting, self._waiting = self._waiting, []
        loop = asyncio.get_running_loop()

        def hand_over(written: Future[dict[ObjectId, OSError]]) -> None:
            loop.call_soon_threadsafe(self._finish, batch, waiting, written)

        self._threads.submit(self._files.write, batch).add_done_callback(hand_over)

    def _finish(
        self,
        batch: Batch,
        waiting: list[asyncio.Future[Failures]],
        written: Future[dict[ObjectId, OSError]],
    ) -> None:
        error = written.exception()
        failures: Failures = {}
        if isinstance(error, Exception):
            failures = dict.fromkeys(batch, error)
        elif error is None:
            failures.update(written.result())
        for id_, record in batch.items():
            if id_ not in self._next or id_ not in failures:
                self._settled(id_, record, failures.get(id_))
        self._running = bool(self._next or self._waiting)
        if self._running:
            self._start()
        for done in waiting:
            if not done.done():
                done.set_result(failures)
