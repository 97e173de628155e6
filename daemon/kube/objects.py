"""The objects of one kind on the API server, as features see them: ``daemon.engine.objects.Objects``."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from daemon.engine.objects import ApiObject, ConflictError, Listener, NotFoundError
from daemon.kube.cache import number
from daemon.kube.client import ApiClient
from daemon.kube.errors import ChangedError, MissingError, RefusedError
from daemon.kube.informer import Informer
from daemon.kube.patches import (
    Operation,
    at_version,
    changes,
    json_patch,
    rooted,
    same_object,
    same_spec,
    status_changes,
)
from daemon.objects.meta import Key

T = TypeVar("T", bound=ApiObject)

_ROUNDS = 3
"""How often a status without a version is written at most, until what is stored is what was meant."""


class KubeObjects(Generic[T]):
    """Reads from *informer*, writes through *client*; own writes are seen at once.

    Both kinds of write send the difference to what was read, so that fields which our structs do not know
    survive. ``replace`` is bound to UID and generation, so that it never conflicts with a status write,
    ``replace_status`` to the UID, and to the version if it has one. Besides the errors of ``Objects``,
    ApiError's kinds are raised.
    """

    def __init__(self, client: ApiClient, informer: Informer[T]) -> None:
        self._client = client
        self._informer = informer
        self._resource = informer.resource

    def get(self, key: Key) -> T | None:
        """The object as last seen."""
        return self._informer.get(key)

    def list(self) -> Sequence[T]:
        """All objects."""
        return self._informer.list()

    def subscribe(self, listener: Listener) -> None:
        """Have *listener* called with the key of each object that changes."""
        self._informer.subscribe(listener)

    async def create(self, obj: T) -> T:
        """Store a new object. Raises AlreadyExistsError."""
        return self._learned(await self._client.create(self._resource, obj))

    async def replace(self, obj: T) -> T:
        """Store another spec and other labels, annotations, owners. Raises ConflictError or NotFoundError."""
        base = await self._base(obj)
        operations = changes(base, obj)
        if not operations:
            return base
        if _overtaken(base, obj, operations):
            raise ConflictError(f"{self._resource.kind} {obj.metadata.key} was changed by somebody else")
        try:
            return await self._patched(obj, [*same_spec(base), *operations])
        except RefusedError as error:
            fresh, document = await self._after(error, obj)
            if _generation(fresh) != _generation(base):
                raise _changed(error) from error
            return await self._patched(obj, [*same_spec(fresh), *rooted(operations, document)])

    async def replace_status(self, obj: T) -> T:
        """Store another status and nothing else. Raises ConflictError or NotFoundError."""
        base = await self._base(obj)
        version = obj.metadata.resource_version
        if version and version != base.metadata.resource_version:
            raise ConflictError(f"{self._resource.kind} {obj.metadata.key} was changed by somebody else")
        sent: list[Operation] = []
        for _ in range(_ROUNDS):
            left = [each for each in status_changes(_status(base), _status(obj)) if each not in sent]
            if not left:
                return base  # or the server will not have what is missing
            base = await self._told(obj, left)
            sent += left
            if version:
                return base
        return base

    async def _told(self, obj: T, operations: Sequence[Operation]) -> T:
        head = [*same_object(obj), *at_version(obj.metadata.resource_version)]
        try:
            return await self._patched(obj, [*head, *operations], "status")
        except ChangedError:
            await self._refresh(obj)
            raise
        except RefusedError as error:
            fresh, document = await self._after(error, obj)
            if obj.metadata.resource_version:
                raise _changed(error) from error
            wanted = status_changes(_status(fresh), _status(obj))
            return await self._patched(obj, [*head, *rooted(wanted, document)], "status")

    async def delete(self, obj: T) -> None:
        """Remove the object with this uid; an absent one is no error."""
        metadata = obj.metadata
        try:
            left = await self._client.delete(self._resource, metadata.key, uid=metadata.uid)
        except (MissingError, ChangedError):  # gone, or another object has its name
            left = None
        if left is None:
            self._informer.forget(obj)
        else:
            self._informer.learn(left)

    async def _base(self, obj: T) -> T:
        """The stored object that *obj* was made of, as far as it is known. Raises NotFoundError."""
        metadata = obj.metadata
        known = self._informer.get(metadata.key)
        if known is not None and number(known.metadata.resource_version) < number(metadata.resource_version):
            known = self._learned(await self._client.get(self._resource, metadata.key))
        if known is None or known.metadata.uid != metadata.uid:
            raise NotFoundError(f"{self._resource.kind} {metadata.key} is gone, or another one by now")
        return known

    async def _after(self, error: RefusedError, obj: T) -> tuple[T, Mapping[str, Any]]:
        """What is stored, if a patch did not apply because of that: which operation failed is not said.

        Raises the error itself when the server told what is wrong, NotFoundError for another object.
        """
        if error.causes or error.status != HTTPStatus.UNPROCESSABLE_ENTITY:
            raise error
        fresh, document = await self._client.read(self._resource, obj.metadata.key)
        self._learned(fresh)
        self._check(fresh, obj)
        return fresh, document

    async def _patched(self, obj: T, operations: Sequence[Operation], subresource: str = "") -> T:
        key, patch = obj.metadata.key, json_patch(operations)
        return self._learned(await self._client.patch(self._resource, key, patch, subresource=subresource))

    async def _refresh(self, obj: T) -> None:
        """Read what is stored, so that the next decision is not made on what just led to a conflict."""
        known = self._informer.get(obj.metadata.key)
        if known is None or known.metadata.resource_version == obj.metadata.resource_version:
            known = self._learned(await self._client.get(self._resource, obj.metadata.key))
        self._check(known, obj)

    def _check(self, fresh: T, obj: T) -> None:
        if fresh.metadata.uid != obj.metadata.uid:
            raise NotFoundError(f"{self._resource.kind} {obj.metadata.key} is another object by now")

    def _learned(self, obj: T) -> T:
        self._informer.learn(obj)
        return obj


def _status(obj: Any) -> Any:
    return obj.status


def _overtaken(base: ApiObject, obj: ApiObject, operations: Sequence[Operation]) -> bool:
    """Tell whether part of what *operations* change was changed by somebody else since *obj* was read.

    The generation tells for the spec; for metadata, and kinds without a generation, only the version does.
    """
    if base.metadata.resource_version == obj.metadata.resource_version:
        return False
    metadata = any(operation["path"].startswith("/metadata/") for operation in operations)
    generation = base.metadata.generation
    return metadata or not generation or generation != obj.metadata.generation


def _generation(obj: ApiObject) -> object:
    return obj.metadata.generation or obj.metadata.resource_version


def _changed(error: RefusedError) -> ChangedError:
    return ChangedError(error.asked, status=error.status, reason="Conflict", message=error.message)
