"""The work queue: keys that want to be looked at, each at most once at a time.

Merges repeats, never hands one key to two workers, delays double up to a longest one. No lock: one event
loop owns the state.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_SOON = 0.5
"""Longest pause, in seconds, before a key is looked at again that somebody else wrote to meanwhile."""


class QueueClosedError(Exception):
    """The queue was closed and is empty: the worker may end."""


class WorkQueue(Generic[K]):
    """Keys to reconcile, in the order in which they became due."""

    def __init__(self, *, first_delay: float = 0.05, max_delay: float = 60.0) -> None:
        self._first_delay = first_delay
        self._max_delay = max_delay
        self._ready: OrderedDict[K, None] = OrderedDict()
        self._active: set[K] = set()
        self._repeats: set[K] = set()
        self._failures: dict[K, int] = {}
        self._conflicts: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._wakeup = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: K) -> None:
        """Have *key* looked at as soon as a worker is free; again afterwards if one is at it now."""
        if self._closed:
            return
        if key in self._active:
            self._repeats.add(key)
            return
        self._ready[key] = None
        self._wakeup.set()

    def add_after(self, key: K, delay: float) -> None:
        """Have *key* looked at in *delay* seconds; an earlier date that is set already stays."""
        loop = asyncio.get_running_loop()
        due = loop.time() + delay
        timer = self._timers.get(key)
        if self._closed or (timer is not None and timer.when() <= due):
            return
        if timer is not None:
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._ring, key)

    def _ring(self, key: K) -> None:
        del self._timers[key]
        self.add(key)

    def retry(self, key: K) -> float:
        """Look again after a delay that doubles with each failure, less jitter; return it in seconds."""
        return self._again(key, self._failures, self._max_delay)

    def retry_soon(self, key: K) -> float:
        """Look again as after a failure, but never much later: what led here is no trouble.

        A key that met one conflict after the other would else wait the longer, the more others write.
        """
        return self._again(key, self._conflicts, min(_SOON, self._max_delay))

    def _again(self, key: K, counted: dict[K, int], longest: float) -> float:
        times = counted[key] = counted.get(key, 0) + 1
        delay = min(self._first_delay * 2.0 ** min(times - 1, 32), longest)
        delay *= random.uniform(0.75, 1.0)  # noqa: S311 - spreads load, is no secret
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Start counting failures and conflicts of *key* anew."""
        self._failures.pop(key, None)
        self._conflicts.pop(key, None)

    async def get(self) -> K:
        """The next key; it counts as being worked on until ``done``. Raises QueueClosedError at the end."""
        while not self._ready:
            if self._closed:
                raise QueueClosedError
            self._wakeup.clear()
            await self._wakeup.wait()
        key, _ = self._ready.popitem(last=False)
        self._active.add(key)
        return key

    def done(self, key: K) -> None:
        """Say that the work on *key* is over; it comes back if it was added meanwhile."""
        self._active.discard(key)
        if key in self._repeats:
            self._repeats.discard(key)
            self.add(key)

    def close(self) -> None:
        """Take no new keys, drop the delayed ones, let workers end when the ready ones are through."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._repeats.clear()
        self._wakeup.set()
