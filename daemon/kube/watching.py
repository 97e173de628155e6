"""The lines of a watch, read into typed changes."""

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import msgspec
import structlog

from daemon.engine.objects import ApiObject
from daemon.kube.answers import error_of_status
from daemon.kube.decoding import MARK, NOTICE, Notice, UndecodableError, decoded, shown
from daemon.kube.errors import Status, UnreadableError
from daemon.kube.resources import Resource

if TYPE_CHECKING:
    from daemon.kube.transport import Ask, Read

T = TypeVar("T", bound=ApiObject)

log = structlog.get_logger()

_QUIET = 150.0
"""Seconds without a byte after which a watch is given up: bookmarks come about once a minute."""
_INITIAL_END = "k8s.io/initial-events-end"
"""Annotation of the bookmark that ends the initial objects (KEP-3157)."""


class Changed(msgspec.Struct, Generic[T], frozen=True):
    """The object is there, and looks like this."""

    obj: T


class Gone(msgspec.Struct, Generic[T], frozen=True):
    """The object is not there or not selected any more; its version says since when."""

    obj: T


class Marked(msgspec.Struct, frozen=True):
    """Nothing older than this version will come."""

    resource_version: str
    complete: bool
    """All objects that were there in the beginning have been sent."""


Change = Changed[T] | Gone[T] | Marked


class Changes(Protocol[T]):
    """What ``Watch`` offers."""

    async def changes(self) -> list[Change[T]] | None:
        """What came next, None at the end."""
        ...


class Watch(Generic[T]):
    """One watch, while it lasts."""

    def __init__(self, ask: "Ask", resource: Resource[T], read: "Read") -> None:
        self._ask = ask
        self._resource = resource
        self._read = read
        self._pieces: list[bytes] = []

    async def changes(self) -> list[Change[T]] | None:
        """What came next, None when the server ended the watch. Raises ApiError's kinds."""
        while True:
            async with asyncio.timeout(_QUIET):
                data = await self._read()
            if not data:
                return None
            if found := list(self._found(data)):
                return found

    def _found(self, data: bytes) -> Iterator[Change[T]]:
        """The changes in the lines that *data* completes."""
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = b"".join((*self._pieces, lines[0]))
            self._pieces.clear()
        self._pieces.append(rest)
        for line in lines:
            if line and (change := self._change(line)) is not None:
                yield change

    def _change(self, line: bytes) -> Change[T] | None:
        try:
            notice = NOTICE.decode(line)
            if notice.type == "BOOKMARK":
                return _marked(notice)
        except msgspec.MsgspecError as error:
            raise UnreadableError(str(self._ask), message=f"a line of the watch is wrong: {error}") from error
        if notice.type == "ERROR":
            status = msgspec.json.decode(notice.object, type=Status)
            raise error_of_status(str(self._ask), status.code, status)
        return self._event(notice, Gone if notice.type == "DELETED" else Changed)

    def _event(self, notice: Notice, kind: Callable[[T], Change[T]]) -> Change[T] | None:
        try:
            return kind(decoded(self._resource, notice.object))
        except UndecodableError as error:
            name = shown(notice.object)
            log.warning("change left out", resource=self._resource.plural, object=name, error=str(error))
            return None


def _marked(notice: Notice) -> Marked:
    meta = MARK.decode(notice.object).metadata
    return Marked(meta.resource_version, meta.annotations.get(_INITIAL_END) == "true")
