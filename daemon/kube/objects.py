"""The objects of one kind on the API server, as features see them: ``daemon.engine.objects.Objects``."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from daemon.engine.objects import ApiObject, Listener
from daemon.kube.client import ApiClient
from daemon.kube.informer import Informer
from daemon.objects.meta import Key

T = TypeVar("T", bound=ApiObject)


class KubeObjects(Generic[T]):
    """Reads from *informer*, writes through *client*; own writes are seen at once.

    ``replace`` sends a JSON patch of the difference to what was read, bound to UID and generation, so that it
    never conflicts with a status write; ``replace_status`` a merge patch of ``/status``. Fields that our
    structs do not know survive both. Besides the errors of ``Objects``, ApiError's kinds are raised.
    """

    def __init__(self, client: ApiClient, informer: Informer[T]) -> None:
        raise NotImplementedError

    def get(self, key: Key) -> T | None:
        """The object as last seen."""
        raise NotImplementedError

    def list(self) -> Sequence[T]:
        """All objects."""
        raise NotImplementedError

    def subscribe(self, listener: Listener) -> None:
        """Have *listener* called with the key of each object that changes."""
        raise NotImplementedError

    async def create(self, obj: T) -> T:
        """Store a new object. Raises AlreadyExistsError."""
        raise NotImplementedError

    async def replace(self, obj: T) -> T:
        """Store another spec and other labels, annotations, owners. Raises ConflictError or NotFoundError."""
        raise NotImplementedError

    async def replace_status(self, obj: T) -> T:
        """Store another status and nothing else. Raises ConflictError or NotFoundError."""
        raise NotImplementedError

    async def delete(self, obj: T) -> None:
        """Remove the object with this uid; an absent one is no error."""
        raise NotImplementedError
