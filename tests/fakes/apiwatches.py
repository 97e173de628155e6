"""The open watches of the fake API server."""

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from contextlib import suppress

from aiohttp import web

from tests.fakes.apiselectors import Judge
from tests.fakes.apistorage import Change, Document, Served, Storage


def shown(kind: Served, version: str, document: Document) -> Document:
    """*document* as that version of its kind."""
    api_version = f"{kind.group}/{version}" if kind.group else version
    return {"apiVersion": api_version, "kind": kind.kind} | dict(document) | {"apiVersion": api_version}


class Watcher:
    """One open watch."""

    def __init__(self, kind: Served, version: str, judge: Judge) -> None:
        self._kind = kind
        self._version = version
        self._judge = judge
        self._lines: deque[bytes | None] = deque()
        self._stir = asyncio.Event()

    def take(self, change: Change) -> None:
        """Pass a change on, as this watch's selector sees it."""
        if change.plural != self._kind.plural:
            return
        before = change.before is not None and self._judge(change.before)
        after = change.type != "DELETED" and self._judge(change.document)
        if before or after:
            type_ = ("MODIFIED" if before else "ADDED") if after else "DELETED"
            self.send(type_, change.document)

    def send(self, type_: str, document: Document) -> None:
        """Send one line."""
        self.put(self.line(type_, document))

    def line(self, type_: str, document: Document) -> bytes:
        """One line of the watch."""
        object_ = document if type_ == "ERROR" else shown(self._kind, self._version, document)
        return json.dumps({"type": type_, "object": object_}).encode() + b"\n"

    def mark(self, version: int, *, complete: bool = False) -> None:
        """Send a bookmark."""
        annotations = {"annotations": {"k8s.io/initial-events-end": "true"}} if complete else {}
        self.send(
            "BOOKMARK",
            {"metadata": {"resourceVersion": str(version), "creationTimestamp": None} | annotations},
        )

    def put(self, line: bytes | None) -> None:
        """Send raw bytes; None ends the watch."""
        self._lines.append(line)
        self._stir.set()

    def begin(self, storage: Storage, query: Mapping[str, str]) -> None:
        """Send what there is, or what has happened since the version that was asked for."""
        since = query.get("resourceVersion", "")
        streamed = query.get("sendInitialEvents") == "true"
        if streamed or since in {"", "0"}:
            for document in storage.of(self._kind.plural).values():
                if self._judge(document):
                    self.send("ADDED", document)
            if streamed:
                self.mark(storage.revision, complete=True)
            return
        for change in storage.since(self._kind.plural, int(since)):
            self.take(change)

    async def serve(self, response: web.StreamResponse, seconds: float) -> None:
        """Write lines until the watch ends, by itself after *seconds*."""
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(seconds):
                while True:
                    while self._lines:
                        line = self._lines.popleft()
                        if line is None:
                            return
                        await response.write(line)
                    self._stir.clear()
                    await self._stir.wait()
