"""What the store keeps of one object: the object, and for one that a manifest declares, where that stands."""

from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from daemon.objects.images import ImageListPullJob, ImagePullJob, NodeImage, Secret
from daemon.objects.meta import Key, ObjectMeta
from daemon.store.documents import Node, documents
from daemon.store.emitting import emitted

Stored = ImagePullJob | ImageListPullJob | NodeImage | Secret
T = TypeVar("T", bound=Stored)

ORIGIN = "origin"
"""The one field of a state file that is no field of the object."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """One kind of object and how the store holds it."""

    type: type[T]
    plural: str
    namespaced: bool = True
    secret: bool = False
    """Kept from other users of the machine; never written when a manifest holds it."""
    derived: bool = False
    """It only repeats what other objects and a runtime know: nobody waits until it is on the disk."""

    @property
    def name(self) -> str:
        """The kind as it stands in manifests."""
        return self.type.__name__


KINDS: dict[str, Kind[Any]] = {
    kind.name: kind
    for kind in (
        Kind(ImagePullJob, "imagepulljobs"),
        Kind(ImageListPullJob, "imagelistpulljobs"),
        Kind(NodeImage, "nodeimages", namespaced=False, derived=True),
        Kind(Secret, "secrets", secret=True),
    )
}


class ObjectId(NamedTuple):
    """Names one object of the store."""

    kind: str
    key: Key

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class Origin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the manifest of an object stands."""

    file: str
    line: int
    removed: bool = False
    """The object was deleted although its manifest is still there: it stays away until that changes."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Record:
    """One object as it is now. Without an origin it was made by a request or by another object."""

    obj: Stored
    origin: Origin | None = None

    @property
    def id(self) -> ObjectId:
        """Kind and key of the object."""
        return ObjectId(self.obj.kind, self.obj.metadata.key)

    @property
    def present(self) -> bool:
        """Whether the object is there, or only the memory of its removal."""
        return self.origin is None or not self.origin.removed

    @property
    def volatile(self) -> bool:
        """Whether the record must not be written: a Secret that stands in a manifest already."""
        return self.origin is not None and KINDS[self.obj.kind].secret


class RecordError(Exception):
    """The text is not a record: a state file was damaged."""


def same_content(one: Stored, other: Stored) -> bool:
    """Tell whether two objects ask for the same: everything but metadata and status."""
    return _bare(one) == _bare(other)


def with_metadata(obj: T, metadata: ObjectMeta) -> T:
    """The object with other metadata."""
    return msgspec.structs.replace(obj, metadata=metadata)


def with_status_of(obj: T, other: Stored | None) -> T:
    """The object with the status of *other*, or with the one of a new object."""
    if isinstance(obj, Secret):
        return obj
    status = type(obj.status)() if other is None or isinstance(other, Secret) else other.status
    return msgspec.structs.replace(obj, status=status)


def _bare(obj: Stored) -> Stored:
    return with_status_of(with_metadata(obj, ObjectMeta(name="")), None)


def encoded(record: Record) -> bytes:
    """The text of a state file: the object as kubectl would show it, and its origin."""
    # Fields that have their default are left out of the content, and these two must stand first.
    head = {"apiVersion": record.obj.api_version, "kind": record.obj.kind}
    whole = head | msgspec.to_builtins(record.obj)
    if record.origin is not None:
        whole[ORIGIN] = msgspec.to_builtins(record.origin)
    return emitted(whole).encode()


def decoded(data: bytes) -> Record:
    """Read what *encoded* wrote. Raises RecordError."""
    match list(documents(data)):
        case [Node(value=dict(raw))] if raw.get("kind") in KINDS:
            pass
        case _:
            raise RecordError("is not one object of a known kind")
    origin = raw.pop(ORIGIN, None)
    try:
        obj = msgspec.convert(raw, KINDS[raw["kind"]].type)
        return Record(obj, None if origin is None else msgspec.convert(origin, Origin))
    except msgspec.ValidationError as error:
        raise RecordError(f"does not hold what its kind needs: {error}") from error
