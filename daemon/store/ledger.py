"""The objects as they are in memory: versions, conflicts, owners, and what the manifests say of them.

Everything here happens at once and on the event loop. What a request changed is told to the listeners only
when it is on the disk (``tell``): nobody acts on what a crash may undo, and a full disk makes no busy loop.
What the manifests changed is told at once.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import TypeVar, cast

from msgspec.structs import replace

from daemon.engine.clock import Clock
from daemon.engine.objects import (
    AlreadyExistsError,
    ConflictError,
    InvalidError,
    Listener,
    NotFoundError,
    ObjectsError,
)
from daemon.objects.meta import Key, ObjectMeta
from daemon.objects.validation import metadata_problems
from daemon.store.manifests import Document
from daemon.store.records import (
    KINDS,
    ObjectId,
    Origin,
    Record,
    Stored,
    same_content,
    with_metadata,
    with_status_of,
)

T = TypeVar("T", bound=Stored)


class InvalidObjectError(InvalidError):
    """The object's own names are wrong; the message says which. Do not retry."""


class DeclaredError(ObjectsError):
    """A manifest declares the object, and only its author may change it there. Do not retry."""


class Ledger:
    """All records by kind and key, and who wants to hear of their changes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: dict[str, dict[Key, Record]] = {kind: {} for kind in KINDS}
        self._listeners: dict[str, list[Listener]] = defaultdict(list)
        self._applied: Mapping[ObjectId, Document] = {}
        self._version = 0

    def record(self, id_: ObjectId) -> Record | None:
        """The record of that id, the memory of a removed object included."""
        return self._records[id_.kind].get(id_.key)

    def object(self, id_: ObjectId) -> Stored | None:
        """The object of that id, if it is there."""
        record = self.record(id_)
        return record.obj if record is not None and record.present else None

    def objects(self, kind: str) -> tuple[Stored, ...]:
        """All objects of one kind."""
        return tuple(record.obj for record in self._records[kind].values() if record.present)

    def records(self) -> Iterator[Record]:
        """Every record."""
        for records in self._records.values():
            yield from records.values()

    def subscribe(self, kind: str, listener: Listener) -> None:
        """Have *listener* called with the key of each object of *kind* that changes."""
        self._listeners[kind].append(listener)

    def restore(self, records: Iterable[Record]) -> None:
        """Take over what an earlier process stored; versions go on where it ended."""
        for record in records:
            self._records[record.obj.kind][record.obj.metadata.key] = record
            version = record.obj.metadata.resource_version
            self._version = max(self._version, int(version) if version.isdecimal() else 0)

    def create(self, obj: T) -> T:
        """Add a new object, with the status of one. Raises AlreadyExistsError or InvalidObjectError."""
        id_ = ObjectId(obj.kind, obj.metadata.key)
        if problems := metadata_problems(obj.metadata, namespaced=KINDS[obj.kind].namespaced):
            raise InvalidObjectError("; ".join(map(str, problems)))
        if (there := self.record(id_)) is not None:
            where = f", declared in {there.origin}" if there.origin is not None else ""
            raise AlreadyExistsError(f"{id_} is there already{where}")
        return self._stored(self._new(obj))

    def replace(self, obj: T) -> T:
        """Change everything but the status. Raises ConflictError, NotFoundError or DeclaredError."""
        now = self._current(obj)
        if obj.metadata.resource_version != now.obj.metadata.resource_version:
            raise ConflictError(f"{now.id} was changed by somebody else")
        if now.origin is not None:
            raise DeclaredError(f"{now.id} is declared in {now.origin}: change it there")
        return self._stored(self._changed(cast(T, now.obj), obj))

    def replace_status(self, obj: T) -> T:
        """Change the status and nothing else. Raises ConflictError or NotFoundError."""
        now = self._current(obj)
        if obj.metadata.resource_version not in {"", now.obj.metadata.resource_version}:
            raise ConflictError(f"{now.id} was changed by somebody else")
        told = with_status_of(cast(T, now.obj), obj)
        return self._stored(now.obj if told == now.obj else self._versioned(told), now.origin)

    def delete(self, obj: Stored) -> list[ObjectId]:
        """Remove the object with this UID and what existed for it alone; return what has gone."""
        now = self.record(ObjectId(obj.kind, obj.metadata.key))
        if now is None or not now.present or now.obj.metadata.uid != obj.metadata.uid:
            return []
        return self._remove(now)

    def revert(self, id_: ObjectId, durable: Record | None) -> None:
        """Go back to what is on the disk, because something newer could not be put there.

        What a manifest says stays: it is on another disk.
        """
        now = self.record(id_)
        if now is not None and now.present and now.origin is not None:
            told = with_status_of(now.obj, durable.obj if durable is not None else None)
            self._set(Record(self._versioned(told), now.origin))
        elif durable is not None:
            self._set(durable)
        elif now is not None:
            self._drop(id_)

    def tell(self, id_: ObjectId) -> None:
        """Call the listeners of that object's kind."""
        for listener in self._listeners[id_.kind]:
            listener(id_.key)

    def apply(self, declared: Mapping[ObjectId, Document]) -> tuple[list[ObjectId], list[Document]]:
        """Make the objects be what the manifests say; return the ids to be written, and documents in the way.

        A document is in the way when an object of its name was made by a request or by another object.
        """
        changed = self._withdraw(declared)
        shadowed = []
        for id_, document in declared.items():
            now = self.record(id_)
            if now is not None and now.origin is None:
                shadowed.append(document)
                continue
            if now is not None and self._applied.get(id_) is document:
                continue  # Comparing would be right, too, but most files do not change most of the time.
            after = self._declared(now, document)
            self._set(after)
            if now is None or after.obj is not now.obj:
                changed.append(id_)
            elif now.origin is not None and now.origin.file != document.origin.file:
                changed.append(id_)  # The next process must know from which file a last good object came.
        self._applied = declared
        for id_ in changed:
            self.tell(id_)
        return changed, shadowed

    def _withdraw(self, declared: Mapping[ObjectId, Document]) -> list[ObjectId]:
        """Remove what no manifest declares any more."""
        gone = [
            record for record in self.records() if record.origin is not None and record.id not in declared
        ]
        return [id_ for record in gone for id_ in self._remove(record, for_good=True)]

    def remove_orphans(self) -> list[ObjectId]:
        """Remove what exists for objects that are no longer there; return what has gone."""
        present = self._uids()
        orphans = [record for record in self.records() if _is_orphan(record, present)]
        return [id_ for record in orphans if self.record(record.id) is record for id_ in self._remove(record)]

    def _uids(self) -> set[str]:
        return {record.obj.metadata.uid for record in self.records() if record.present}

    def _declared(self, now: Record | None, document: Document) -> Record:
        """The record that the document asks for."""
        if now is None or (not now.present and not same_content(now.obj, document.obj)):
            return Record(self._new(document.obj), document.origin)
        if not now.present:
            return Record(now.obj, replace(document.origin, removed=True))
        return Record(self._changed(now.obj, document.obj), document.origin)

    def _current(self, obj: Stored) -> Record:
        id_ = ObjectId(obj.kind, obj.metadata.key)
        now = self.record(id_)
        if now is None or not now.present:
            raise NotFoundError(f"{id_} is not there")
        if now.obj.metadata.uid != obj.metadata.uid:
            raise NotFoundError(f"{id_} is another object by now")
        return now

    def _new(self, obj: T) -> T:
        metadata = replace(
            obj.metadata, uid=str(uuid.uuid4()), generation=1, creation_timestamp=self._clock.now()
        )
        return self._versioned(with_status_of(with_metadata(obj, metadata), None))

    def _changed(self, now: T, wanted: T) -> T:
        """*now* with the content and the labels of *wanted*; *now* itself when they are the same."""
        same = same_content(now, wanted)
        metadata = _with_tags(now.metadata, wanted.metadata)
        if same and metadata == now.metadata:
            return now
        metadata = replace(metadata, generation=now.metadata.generation + (0 if same else 1))
        return self._versioned(with_status_of(with_metadata(wanted, metadata), now))

    def _versioned(self, obj: T) -> T:
        self._version += 1
        return with_metadata(obj, replace(obj.metadata, resource_version=str(self._version)))

    def _remove(self, record: Record, *, for_good: bool = False) -> list[ObjectId]:
        """Remove a record, and what has no owner left then; a declared one is remembered as removed."""
        if record.origin is None or for_good:
            self._drop(record.id)
        else:
            bare = with_status_of(record.obj, None)
            self._set(Record(bare, replace(record.origin, removed=True)))
        gone = [record.id]
        for each in [each for each in self.records() if record.obj.metadata.uid in _owners(each)]:
            if self.record(each.id) is each and _is_orphan(each, self._uids()):
                gone += self._remove(each)
        return gone

    def _stored(self, obj: T, origin: Origin | None = None) -> T:
        if self.object(ObjectId(obj.kind, obj.metadata.key)) is not obj:
            self._set(Record(obj, origin))
        return obj

    def _set(self, record: Record) -> None:
        self._records[record.obj.kind][record.obj.metadata.key] = record

    def _drop(self, id_: ObjectId) -> None:
        del self._records[id_.kind][id_.key]


def _with_tags(now: ObjectMeta, wanted: ObjectMeta) -> ObjectMeta:
    """*now* with what an author may change: labels, annotations and owners."""
    return replace(
        now,
        labels=wanted.labels,
        annotations=wanted.annotations,
        owner_references=wanted.owner_references,
    )


def _owners(record: Record) -> set[str]:
    return {owner.uid for owner in record.obj.metadata.owner_references}


def _is_orphan(record: Record, present: Set[str]) -> bool:
    """Whether it was made for objects that have all gone, or for ones that its maker came to make no more.

    What a manifest declares has been exported from a cluster, perhaps, with owners that are not here.
    """
    if record.origin is not None or not record.present:
        return False
    owners = _owners(record)
    return not owners & present if owners else KINDS[record.obj.kind].secret
