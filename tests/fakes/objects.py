"""Objects in memory, under the rules of the directory store, whose writes can be counted, held and broken."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast

from daemon.engine.clock import Clock
from daemon.engine.objects import Listener
from daemon.objects.meta import Key
from daemon.store.ledger import Ledger
from daemon.store.records import ObjectId, Stored

T = TypeVar("T", bound=Stored)
Hook = Callable[[str, Stored], None]


class MemoryStore:
    """All objects of a process that is not to outlive its test."""

    def __init__(self, clock: Clock) -> None:
        self.ledger = Ledger(clock)
        self.writes: list[str] = []
        """``verb Kind key`` of each write that came through."""
        self.before: Hook = lambda _write, _obj: None
        """Called before each write; what it raises is what the write raises."""
        self.open = asyncio.Event()
        """Writes wait while it is not set."""
        self.open.set()
        self.waiting = 0

    def objects(self, type_: type[T]) -> "Memory[T]":
        """The objects of one kind, as an ``Objects``."""
        return Memory(self, type_)

    async def write(self, verb: str, obj: Stored, change: Callable[[], T]) -> T:
        """Do one write, as slow and as unsure as writes are."""
        write = f"{verb} {obj.kind} {obj.metadata.key}"
        self.waiting += 1
        try:
            await asyncio.sleep(0)  # a write always gives others their turn
            await self.open.wait()
        finally:
            self.waiting -= 1
        self.before(write, obj)
        done = change()
        self.writes.append(write)
        return done


class Memory(Generic[T]):
    """The objects of one kind: see ``daemon.engine.objects.Objects``."""

    def __init__(self, store: MemoryStore, type_: type[T]) -> None:
        self._store = store
        self._kind = type_.__name__

    def get(self, key: Key) -> T | None:
        """The object as it is now."""
        return cast("T | None", self._store.ledger.object(ObjectId(self._kind, key)))

    def list(self) -> Sequence[T]:
        """All objects of the kind."""
        return cast("tuple[T, ...]", self._store.ledger.objects(self._kind))

    def subscribe(self, listener: Listener) -> None:
        """Have *listener* called with the key of each object that changed."""
        self._store.ledger.subscribe(self._kind, listener)

    async def create(self, obj: T) -> T:
        """Store a new object."""
        return await self._told("create", obj, lambda: self._store.ledger.create(obj))

    async def replace(self, obj: T) -> T:
        """Store another spec and metadata."""
        return await self._told("replace", obj, lambda: self._store.ledger.replace(obj))

    async def replace_status(self, obj: T) -> T:
        """Store another status."""
        return await self._told("replace_status", obj, lambda: self._store.ledger.replace_status(obj))

    async def delete(self, obj: T) -> None:
        """Remove the object with this uid and what it controls."""
        gone: list[ObjectId] = []

        def remove() -> T:
            gone.extend(self._store.ledger.delete(obj))
            return obj

        await self._store.write("delete", obj, remove)
        for id_ in gone:
            self._store.ledger.tell(id_)

    async def _told(self, verb: str, obj: T, change: Callable[[], T]) -> T:
        before = self.get(obj.metadata.key)
        done = await self._store.write(verb, obj, change)
        if done is not before:
            self._store.ledger.tell(ObjectId(self._kind, done.metadata.key))
        return done
