"""How features reach API objects, whatever holds them: a directory, or the API server."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from daemon.objects.meta import Key, ObjectMeta


class ApiObject(Protocol):
    """Anything with metadata."""

    @property
    def metadata(self) -> ObjectMeta:
        """Identity of the object."""
        ...


T = TypeVar("T", bound=ApiObject)
Listener = Callable[[Key], None]


class ObjectsError(Exception):
    """Base of what a write to objects can answer."""


class ConflictError(ObjectsError):
    """The object changed since it was read: read it again and decide anew. Normal, not logged as an error."""


class NotFoundError(ObjectsError):
    """The object is gone, or another one has its name (other UID): there is nothing left to do for it."""


class AlreadyExistsError(ObjectsError):
    """An object of that name is there already."""


class InvalidError(ObjectsError):
    """The object cannot be stored as it is; the message says why. Retrying is useless until it differs."""


class Objects(Protocol[T]):
    """The objects of one kind: a cache read without waiting, writes that answer what was stored.

    Reads show a write of this process as soon as it returned. Listeners are called on the event loop, with
    the key, after each change of an object, its deletion included; they must not block.
    """

    def get(self, key: Key) -> T | None:
        """The object as last seen."""
        ...

    def list(self) -> Sequence[T]:
        """All objects of the kind."""
        ...

    def subscribe(self, listener: Listener) -> None:
        """Have *listener* called with the key of each object that changes."""
        ...

    async def create(self, obj: T) -> T:
        """Store a new object; uid, creationTimestamp, generation and resourceVersion are given by the store.

        Raises AlreadyExistsError.
        """
        ...

    async def replace(self, obj: T) -> T:
        """Store another spec and metadata. Raises ConflictError (resourceVersion) or NotFoundError (uid)."""
        ...

    async def replace_status(self, obj: T) -> T:
        """Store another status and nothing else. Raises ConflictError or NotFoundError.

        An empty resourceVersion means: whatever is stored now, as long as the UID is the same.
        """
        ...

    async def delete(self, obj: T) -> None:
        """Remove the object with this uid; an absent one is no error."""
        ...
