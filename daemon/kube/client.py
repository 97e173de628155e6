"""The verbs of the API server: objects in and out, errors typed. ``transport`` sends what is built here."""

import random
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic, Self, TypeVar

import msgspec
import structlog

from daemon.engine.objects import ApiObject
from daemon.kube.access import Access
from daemon.kube.clock import ServerClock
from daemon.kube.decoding import PAGE, Page, UndecodableError, decoded, shown
from daemon.kube.encoding import encoded
from daemon.kube.errors import ExpiredError, MissingError, UnreadableError
from daemon.kube.patches import Patch, plain
from daemon.kube.resources import Resource
from daemon.kube.selections import EVERYTHING, Selection
from daemon.kube.transport import Ask, Transport
from daemon.kube.watching import Watch
from daemon.metrics import Metrics
from daemon.objects.meta import Key

T = TypeVar("T", bound=ApiObject)

log = structlog.get_logger()

_WATCH_SECONDS = (300, 600)
"""How long the server is to keep a watch open: spread, so that watches do not all begin anew at once."""


class Listed(msgspec.Struct, Generic[T], frozen=True):
    """All objects of one selection, at one version of the cluster's state."""

    objects: tuple[T, ...]
    resource_version: str


class ApiClient:
    """Requests to one API server. Use it as a context manager, or call ``close`` in the end.

    Every call has a *deadline* (seconds), is counted by verb, resource and code, and may be cancelled. When
    the server says to come back later (429, 5xx), that is done within the deadline. Raises ApiError's kinds.
    """

    def __init__(
        self, access: Access, metrics: Metrics, *, user_agent: str = "inplaced", deadline: float = 30.0
    ) -> None:
        self._transport = Transport(access, metrics, user_agent)
        self._deadline = deadline

    @property
    def clock(self) -> ServerClock:
        """Time as the API server has it, as far as its answers have told."""
        return self._transport.clock

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def get(self, resource: Resource[T], key: Key) -> T:
        """Read one object as it is stored now. Raises MissingError."""
        ask = _ask("get", resource, key)
        return _read(ask, resource, await self._transport.fetch(ask, self._deadline))

    async def read(self, resource: Resource[T], key: Key) -> tuple[T, dict[str, Any]]:
        """Read one object as ``get`` does, and with all its fields. Raises MissingError."""
        ask = _ask("get", resource, key)
        answer = await self._transport.fetch(ask, self._deadline)
        return _read(ask, resource, answer), msgspec.json.decode(answer)

    async def list(self, resource: Resource[T], selection: Selection = EVERYTHING) -> Listed[T]:
        """Read all objects of *selection*, page by page. Objects that cannot be read are left out."""
        try:
            return await self._pages(resource, selection, resource.page)
        except ExpiredError:  # the pages were turned too slowly: all at once, then, as client-go does
            return await self._pages(resource, selection, 0)

    async def _pages(self, resource: Resource[T], selection: Selection, limit: int) -> Listed[T]:
        query = selection.parameters() | ({"limit": str(limit)} if limit else {})
        objects: list[T] = []
        while True:
            ask = _collection("list", resource, selection.namespace, query)
            page = _page(ask, await self._transport.fetch(ask, self._deadline))
            objects += _readable(resource, page.items or ())
            if not page.metadata.continue_:
                return Listed(tuple(objects), page.metadata.resource_version)
            query["continue"] = page.metadata.continue_

    async def create(self, resource: Resource[T], obj: T) -> T:
        """Store a new object. Raises TakenError."""
        ask = Ask(
            "create",
            resource.plural,
            resource.collection(obj.metadata.namespace),
            name=str(obj.metadata.key),
            body=_document_of(resource, obj),
            confidential=resource.confidential,
        )
        return _read(ask, resource, await self._transport.fetch(ask, self._deadline))

    async def make(self, resource: Resource[T], document: Mapping[str, Any], *, dry_run: bool = False) -> T:
        """Store what is written as a document, so that nothing of it is lost; with *dry_run* judge it alone.

        Raises TakenError, or RefusedError with the fields that are wrong.
        """
        metadata = document["metadata"]
        namespace = metadata.get("namespace", "")
        ask = Ask(
            "create",
            resource.plural,
            resource.collection(namespace),
            name=str(Key(namespace, metadata["name"])),
            query={"dryRun": "All"} if dry_run else {},
            body=encoded(document),
            confidential=resource.confidential,
        )
        return _read(ask, resource, await self._transport.fetch(ask, self._deadline))

    async def patch(
        self,
        resource: Resource[T],
        key: Key,
        patch: Patch,
        *,
        subresource: str = "",
        deadline: float = 0.0,
        dry_run: bool = False,
    ) -> T:
        """Change one object, within *deadline* seconds if not as usual; with *dry_run* judge it alone.

        Raises MissingError, ChangedError or RefusedError.
        """
        plural = f"{resource.plural}/{subresource}" if subresource else resource.plural
        ask = Ask(
            "patch",
            plural,
            resource.path(key, subresource),
            name=str(key),
            query={"dryRun": "All"} if dry_run else {},
            body=patch.body,
            content_type=patch.content_type,
            confidential=resource.confidential,
        )
        return _read(ask, resource, await self._transport.fetch(ask, deadline or self._deadline))

    async def delete(self, resource: Resource[T], key: Key, *, uid: str = "") -> T | None:
        """Remove the object, what it owns in the background.

        Returns it when finalizers still hold it. Raises MissingError, or ChangedError for another *uid*.
        """
        options: dict[str, Any] = {"propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        ask = Ask(
            "delete",
            resource.plural,
            resource.path(key),
            name=str(key),
            body=msgspec.json.encode(options),
            confidential=resource.confidential,
        )
        answer = await self._transport.fetch(ask, self._deadline)
        return _remaining(resource, answer)

    @asynccontextmanager
    async def watch(
        self, resource: Resource[T], selection: Selection, *, since: str, initial: bool = False
    ) -> AsyncIterator[Watch[T]]:
        """Follow changes after version *since*; with *initial*, be sent all objects first (WatchList).

        The answer must begin within the client's deadline. Raises ExpiredError when *since* is too old, and
        RefusedError where WatchList is not served.
        """
        seconds = random.randint(*_WATCH_SECONDS)  # noqa: S311 - spreads load, is no secret
        query = selection.parameters() | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        if initial:
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        else:
            query["resourceVersion"] = since
        ask = _collection("watch", resource, selection.namespace, query)
        async with self._transport.stream(ask, self._deadline) as stream:
            yield Watch(ask, resource, stream)

    async def served(self, resource: Resource[T], versions: tuple[str, ...]) -> Resource[T]:
        """*resource* in the first of *versions* that the server serves. Raises MissingError."""
        for version in versions:
            candidate = resource.served_as(version)
            ask = Ask("get", "resources", candidate.collection().rpartition("/")[0])
            try:
                answer = await self._transport.fetch(ask, self._deadline)
            except MissingError:
                continue
            if any(each.name == resource.plural for each in _DISCOVERY.decode(answer).resources):
                return candidate
        tried = ", ".join(versions)
        raise MissingError(
            f"discover {resource.plural}", message=f"{resource.group} is served in none of {tried}"
        )

    async def offers(self, resource: Resource[Any], subresource: str) -> bool:
        """Tell whether the server has that subresource of *resource*."""
        ask = Ask("get", "resources", resource.collection().rpartition("/")[0])
        served = _DISCOVERY.decode(await self._transport.fetch(ask, self._deadline)).resources
        return any(each.name == f"{resource.plural}/{subresource}" for each in served)

    async def version(self) -> str:
        """The server's own version, such as ``v1.37.2``."""
        answer = await self._transport.fetch(Ask("get", "version", "/version"), self._deadline)
        return _VERSION.decode(answer).git_version


class _ServedResource(msgspec.Struct, frozen=True):
    name: str


class _ServedResources(msgspec.Struct, frozen=True):
    resources: tuple[_ServedResource, ...] = ()


class _Kind(msgspec.Struct, frozen=True):
    kind: str = ""


class _Version(msgspec.Struct, frozen=True, rename="camel"):
    git_version: str = ""


_DISCOVERY = msgspec.json.Decoder(_ServedResources)
_KIND = msgspec.json.Decoder(_Kind)
_VERSION = msgspec.json.Decoder(_Version)


def _ask(verb: str, resource: Resource[Any], key: Key) -> Ask:
    return Ask(verb, resource.plural, resource.path(key), name=str(key), confidential=resource.confidential)


def _collection(verb: str, resource: Resource[Any], namespace: str, query: dict[str, str]) -> Ask:
    return Ask(verb, resource.plural, resource.collection(namespace), name=namespace, query=dict(query))


def _read(ask: Ask, resource: Resource[T], answer: bytes) -> T:
    try:
        return decoded(resource, answer)
    except UndecodableError as error:
        raise UnreadableError(str(ask), message=f"the answer {error}") from error


def _page(ask: Ask, answer: bytes) -> Page:
    try:
        return PAGE.decode(answer)
    except msgspec.MsgspecError as error:
        raise UnreadableError(str(ask), message=f"the answer is no list: {error}") from error


def _readable(resource: Resource[T], items: Iterable[msgspec.Raw]) -> list[T]:
    objects = []
    for raw in items:
        try:
            objects.append(decoded(resource, raw))
        except UndecodableError as error:
            log.warning("object left out", resource=resource.plural, object=shown(raw), error=str(error))
    return objects


def _document_of(resource: Resource[T], obj: T) -> bytes:
    """What is sent to create *obj*: the status is the server's to begin, identity the server's to give."""
    document = plain(obj)
    document.pop("status", None)
    if hasattr(obj, "spec"):
        document.setdefault("spec", {})
    for field in ("uid", "resourceVersion", "generation", "creationTimestamp"):
        document["metadata"].pop(field, None)
    return encoded(document | {"apiVersion": resource.api_version, "kind": resource.kind})


def _remaining(resource: Resource[T], answer: bytes) -> T | None:
    """What a deletion leaves for now: some kinds answer with a Status, others with the object."""
    try:
        if _KIND.decode(answer).kind == "Status":
            return None
        obj = decoded(resource, answer)
    except (msgspec.MsgspecError, UndecodableError):
        return None
    return obj if obj.metadata.deletion_timestamp is not None else None
