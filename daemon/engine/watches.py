"""Copies of small parts of what the API server holds, each followed only for as long as somebody needs it."""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Generic, Protocol, TypeVar

from daemon.engine.objects import ApiObject, Listener
from daemon.objects.meta import Key

K = TypeVar("K", bound=Hashable)
T_co = TypeVar("T_co", bound=ApiObject, covariant=True)
T = TypeVar("T", bound=ApiObject)


class Copy(Protocol[T_co]):
    """A copy of some objects; an informer is one."""

    async def run(self) -> None:
        """Follow them until cancelled."""
        ...

    async def synced(self) -> None:
        """Return when all have been seen once."""
        ...

    def list(self) -> Sequence[T_co]:
        """All of them."""
        ...

    def subscribe(self, listener: Listener) -> None:
        """Have *listener* called with the key of each that changes."""
        ...


class Watches(Generic[K, T]):
    """What is followed, by what was asked for; *on_change* is called when such a part was read or changed."""

    def __init__(self, open_: Callable[[K], Copy[T]], on_change: Callable[[K], None]) -> None:
        self._open = open_
        self._on_change = on_change
        self._parts: dict[K, Copy[T]] = {}
        self._known: set[K] = set()
        self._tasks: dict[K, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Follow what is asked for until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for part in self._parts:
                self._start(group, part)
            await asyncio.get_running_loop().create_future()

    def objects(self, part: K) -> Sequence[T] | None:
        """The objects of *part*; None as long as they were not read. They are followed from now on."""
        if part not in self._parts:
            self._parts[part] = self._open(part)
            if self._group is not None:
                self._start(self._group, part)
        return self._parts[part].list() if part in self._known else None

    async def known(self, part: K, patience: float) -> Sequence[T] | None:
        """The objects of *part*, waited for; None when they cannot be read within *patience* seconds."""
        self.objects(part)
        try:
            async with asyncio.timeout(patience):
                await self._parts[part].synced()
        except TimeoutError:
            return None
        return self._parts[part].list()

    def keep_only(self, parts: AbstractSet[K]) -> None:
        """Follow nothing but *parts* any more."""
        for part in self._parts.keys() - parts:
            del self._parts[part]
            self._known.discard(part)
            task = self._tasks.pop(part, None)
            if task is not None:
                task.cancel()

    def _start(self, group: asyncio.TaskGroup, part: K) -> None:
        self._tasks[part] = group.create_task(self._follow(part), name=f"watch {part}")

    async def _follow(self, part: K) -> None:
        followed = self._parts[part]
        async with asyncio.TaskGroup() as group:
            group.create_task(followed.run(), name=f"follow {part}")
            await followed.synced()
            followed.subscribe(partial(self._tell, part))
            self._known.add(part)
            self._on_change(part)

    def _tell(self, part: K, _key: Key) -> None:
        if part in self._known:
            self._on_change(part)
