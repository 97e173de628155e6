"""The objects of one kind on the API server, as features see them: ``daemon.engine.objects.Objects``."""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from daemon.engine.objects import ApiObject, ConflictError, Listener, NotFoundError
from daemon.kube.cache import number
from daemon.kube.client import ApiClient
from daemon.kube.errors import ChangedError, MissingError, RefusedError
from daemon.kube.informer import Informer
from daemon.kube.patches import (
    Operation,
    Patch,
    changes,
    json_patch,
    merge_patch,
    preconditions,
    rooted,
    status_change,
)
from daemon.objects.meta import Key

T = TypeVar("T", bound=ApiObject)

_ROUNDS = 3
"""How often a status without a version is written at most, until what is stored is what was meant."""


class KubeObjects(Generic[T]):
    """Reads from *informer*, writes through *client*; own writes are seen at once.

    ``replace`` sends a JSON patch of the difference to what was read, bound to UID and generation, so that it
    never conflicts with a status write; ``replace_status`` a merge patch of ``/status``. Fields that our
    structs do not know survive both. Besides the errors of ``Objects``, ApiError's kinds are raised.
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
            return await self._patched(obj, json_patch([*preconditions(base), *operations]))
        except RefusedError as error:
            if error.causes:
                raise
            return await self._replace_anew(base, operations, error)

    async def replace_status(self, obj: T) -> T:
        """Store another status and nothing else. Raises ConflictError or NotFoundError."""
        base = await self._base(obj)
        version = obj.metadata.resource_version
        if version and version != base.metadata.resource_version:
            raise ConflictError(f"{self._resource.kind} {obj.metadata.key} was changed by somebody else")
        change = status_change(_status(base), _status(obj))
        for _ in range(_ROUNDS):
            if not change:
                return base
            base = await self._told(obj, change)
            left = status_change(_status(base), _status(obj))
            if version or _within(left, change):
                return base
            change = left  # what was stored was not what this process had seen last
        return base

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

    async def _told(self, obj: T, change: Mapping[str, Any]) -> T:
        metadata = obj.metadata
        identity = {"uid": metadata.uid}
        if metadata.resource_version:
            identity["resourceVersion"] = metadata.resource_version
        patch = merge_patch({"metadata": identity, "status": change})
        try:
            return await self._patched(obj, patch, "status")
        except (ChangedError, RefusedError) as error:
            if isinstance(error, RefusedError) and not _names_uid(error):
                raise
            await self._refreshed(obj)
            raise error if isinstance(error, ChangedError) else _changed(error) from error

    async def _replace_anew(self, base: T, operations: Sequence[Operation], error: RefusedError) -> T:
        """Find out why a patch did not apply: another object, another spec, or members that are not there."""
        fresh = await self._refreshed(base)
        if fresh.metadata.generation != base.metadata.generation or not base.metadata.generation:
            raise _changed(error) from error
        document = await self._client.document(self._resource, base.metadata.key)
        return await self._patched(base, json_patch([*preconditions(base), *rooted(operations, document)]))

    async def _patched(self, obj: T, patch: Patch, subresource: str = "") -> T:
        key = obj.metadata.key
        return self._learned(await self._client.patch(self._resource, key, patch, subresource=subresource))

    async def _refreshed(self, obj: T) -> T:
        """Read what is stored, so that the next decision is not made on what just led to a conflict.

        Raises NotFoundError when it is no longer the same object.
        """
        fresh = self._learned(await self._client.get(self._resource, obj.metadata.key))
        if fresh.metadata.uid != obj.metadata.uid:
            raise NotFoundError(f"{self._resource.kind} {obj.metadata.key} is another object by now")
        return fresh

    def _learned(self, obj: T) -> T:
        self._informer.learn(obj)
        return obj


def _status(obj: Any) -> Any:
    return obj.status


def _within(part: Mapping[str, Any], whole: Mapping[str, Any]) -> bool:
    """Tell whether *part* asks for nothing that *whole* did not: then the server will not have it."""
    return all(
        key in whole
        and (
            _within(value, whole[key])
            if isinstance(value, dict) and isinstance(whole[key], dict)
            else value == whole[key]
        )
        for key, value in part.items()
    )


def _overtaken(base: ApiObject, obj: ApiObject, operations: Sequence[Operation]) -> bool:
    """Tell whether part of what *operations* change was changed by somebody else since *obj* was read.

    The generation tells for the spec; for metadata, and kinds without a generation, only the version does.
    """
    if base.metadata.resource_version == obj.metadata.resource_version:
        return False
    metadata = any(operation["path"].startswith("/metadata/") for operation in operations)
    generation = base.metadata.generation
    return metadata or not generation or generation != obj.metadata.generation


def _names_uid(error: RefusedError) -> bool:
    return any(cause.field == "metadata.uid" for cause in error.causes)


def _changed(error: RefusedError) -> ChangedError:
    return ChangedError(error.asked, status=error.status, reason="Conflict", message=error.message)
