"""The objects of one machine without an API server: manifests in one directory, state in another.

It plays the API server's part: identities, versions and generations, conflicts, a status of its own, and
removal of what a removed object controls. Objects that manifests declare change and go with their files; all
others are made by requests and by other objects, and live in the state alone.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Generic, Self, TypeVar, cast

import structlog

from daemon.engine.clock import Clock
from daemon.engine.objects import Listener
from daemon.objects.meta import Key
from daemon.store.files import StateFiles, StorageError
from daemon.store.ledger import Ledger
from daemon.store.manifests import MAX_BYTES, Document, Manifests, Snapshot
from daemon.store.problems import Problem
from daemon.store.records import KINDS, ObjectId, Record, Stored
from daemon.store.watching import Watching
from daemon.store.writing import Batch, Writer

log = structlog.get_logger()
T = TypeVar("T", bound=Stored)


class DirectoryStore:
    """All objects of the process. Use it as a context manager, or call ``load`` first and ``close`` last."""

    def __init__(
        self, manifests: Path | None, state: Path, clock: Clock, *, max_manifest_bytes: int = MAX_BYTES
    ) -> None:
        self._files = StateFiles(state)
        self._ledger = Ledger(clock)
        self._writer = Writer(self._files, self._settle)
        self._durable: dict[ObjectId, Record] = {}
        self._behind: set[ObjectId] = set()
        """Objects that were told before they were on the disk."""
        self._manifests = Manifests(manifests, max_manifest_bytes) if manifests is not None else None
        self._watching = Watching(self._manifests.folders) if self._manifests is not None else None
        self._snapshot = Snapshot({}, ())
        self._shadowed: dict[ObjectId, Problem] = {}
        self._damages: tuple[Problem, ...] = ()
        self._failures: dict[ObjectId, Problem] = {}
        self._problems: tuple[Problem, ...] = ()
        self._problem_listeners: list[Callable[[], None]] = []

    async def __aenter__(self) -> Self:
        await self.load()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def load(self) -> None:
        """Take the state directory, read it and the manifests, and bring them together.

        Raises StateDirectoryError. Objects whose state is damaged start anew, and ``problems`` tells of them.
        """
        loaded = await asyncio.to_thread(self._files.open)
        self._ledger.restore(loaded.records)
        self._durable = {record.id: record for record in loaded.records}
        self._damages = loaded.problems
        if self._manifests is not None:
            self._manifests.remember(_declared(loaded.records))
        await self._look()
        await self._persist_if_possible(self._ledger.remove_orphans())

    async def run(self) -> None:
        """Follow the manifests until cancelled."""
        if self._watching is not None:
            await self._watching.run(self._look)

    async def close(self) -> None:
        """Finish what is being written and let another process have the state."""
        await self._writer.close()
        await asyncio.to_thread(self._files.close)

    def objects(self, type_: type[T]) -> "Shelf[T]":
        """The objects of one kind, as an ``Objects``."""
        return Shelf(self, type_)

    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong with manifests and state now."""
        return self._problems

    def on_problems(self, listener: Callable[[], None]) -> None:
        """Have *listener* called on the loop when ``problems`` changes."""
        self._problem_listeners.append(listener)

    def source_of(self, kind: str, key: Key) -> str:
        """The manifest that declares the object, as ``file:line``; empty when none does."""
        record = self._ledger.record(ObjectId(kind, key))
        return str(record.origin) if record is not None and record.origin is not None else ""

    @property
    def ledger(self) -> Ledger:
        """The objects in memory."""
        return self._ledger

    async def persist(self, ids: Iterable[ObjectId]) -> None:
        """Return when the objects of *ids* are on the disk as they are in memory. Raises StorageError."""
        self._write_behind()
        await self._writer.write(self._unwritten(ids))

    def keep(self, id_: ObjectId) -> None:
        """Have a derived object count as it is in memory, and written when the disk comes to it."""
        self._behind.add(id_)
        self._ledger.tell(id_)
        self._write_behind()

    def _write_behind(self) -> None:
        """Write what memory is ahead with before anything that may follow from it."""
        self._writer.add(self._unwritten(self._behind))

    def _unwritten(self, ids: Iterable[ObjectId]) -> Batch:
        batch: Batch = {}
        for id_ in ids:
            record = self._ledger.record(id_)
            if record is not None and record.volatile:
                self._ledger.tell(id_)
            elif record is None or record is not self._durable.get(id_):
                batch[id_] = record
        return batch

    async def delete(self, obj: Stored) -> None:
        """Remove the object and what it controls. Raises StorageError."""
        gone = self._ledger.delete(obj)
        if self._shadowed.keys() & set(gone):
            gone += self._apply()
        await self.persist(gone)

    async def _look(self) -> None:
        if self._manifests is not None:
            self._snapshot = await asyncio.to_thread(self._manifests.scan)
        await self._persist_if_possible(self._apply())

    def _apply(self) -> list[ObjectId]:
        changed, shadowed = self._ledger.apply(self._snapshot.documents)
        self._shadowed = {document.id: _shadow(document) for document in shadowed}
        self._publish()
        return changed

    async def _persist_if_possible(self, ids: list[ObjectId]) -> None:
        with suppress(StorageError):  # Told in problems; what the manifests say holds without it.
            await self.persist(ids)

    def _settle(self, id_: ObjectId, record: Record | None, error: Exception | None) -> None:
        """Learn what became of a write."""
        if error is not None:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            path = self._files.path_of(id_)
            self._failures[id_] = Problem(str(path), 1, f"cannot be written: {reason}", str(id_))
            if id_ not in self._behind:
                self._ledger.revert(id_, self._durable.get(id_))
        else:
            self._failures.pop(id_, None)
            if record is None:
                self._durable.pop(id_, None)
            else:
                self._durable[id_] = record
            if id_ not in self._behind:
                self._ledger.tell(id_)
            elif record is self._ledger.record(id_):
                self._behind.discard(id_)
        self._publish()

    def _publish(self) -> None:
        late = self._watching.complaint if self._watching is not None else ""
        problems = (
            *self._damages,
            *self._failures.values(),
            *self._snapshot.problems,
            *self._shadowed.values(),
            *([Problem("", 1, f"the manifest directory {late}")] if late else []),
        )
        if problems != self._problems:
            for problem in problems:
                if problem not in self._problems:
                    _log(problem)
            self._problems = problems
            for listener in self._problem_listeners:
                listener()


class Shelf(Generic[T]):
    """The objects of one kind in a DirectoryStore: see ``daemon.engine.objects.Objects``."""

    def __init__(self, store: DirectoryStore, type_: type[T]) -> None:
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
        """Store a new object. Raises AlreadyExistsError, InvalidObjectError or StorageError."""
        return await self._stored(self._store.ledger.create(obj))

    async def replace(self, obj: T) -> T:
        """Store another spec and metadata.

        Raises ConflictError, NotFoundError, DeclaredError (a manifest holds it) or StorageError.
        """
        return await self._stored(self._store.ledger.replace(obj))

    async def replace_status(self, obj: T) -> T:
        """Store another status and nothing else. Raises ConflictError, NotFoundError or StorageError."""
        return await self._stored(self._store.ledger.replace_status(obj))

    async def delete(self, obj: T) -> None:
        """Remove the object with this uid; an absent one is no error. Raises StorageError."""
        await self._store.delete(obj)

    async def _stored(self, obj: T) -> T:
        id_ = ObjectId(self._kind, obj.metadata.key)
        if KINDS[self._kind].derived:
            self._store.keep(id_)
        else:
            await self._store.persist([id_])
        return obj


def _log(problem: Problem) -> None:
    told = {
        "file": problem.file,
        "line": problem.line,
        "problem": problem.message,
        "object": problem.object,
        "field": problem.field,
        "value": problem.value,
        "allowed": problem.allowed,
    }
    log.warning("document refused", **{name: value for name, value in told.items() if value})


def _declared(records: Iterable[Record]) -> Iterable[Document]:
    for record in records:
        if record.origin is not None:
            yield Document(record.obj, record.origin)


def _shadow(document: Document) -> Problem:
    message = "is not used: an object of this name was made without a manifest, and has to be deleted first"
    return Problem(document.origin.file, document.origin.line, message, str(document.id))
