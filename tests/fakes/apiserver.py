"""An API server in this process, on a real socket: REST and watches for any kinds, and faults on demand."""

import asyncio
import base64
import json
import ssl
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from email.utils import format_datetime
from typing import Any, Self

from aiohttp import web

from tests.fakes.apifaults import REASONS, Fault, Request, refused
from tests.fakes.apipatches import PatchError, merged, operated, strategically_merged
from tests.fakes.apipaths import KINDS, Target, discovery, reading_verb, target_of
from tests.fakes.apiselectors import judge_of
from tests.fakes.apistorage import Change, Document, RefusalError, Served, Storage
from tests.fakes.apiwatches import Watcher, shown

__all__ = ["KINDS", "WRITES", "FakeApiServer"]

WRITES = frozenset({"create", "patch", "delete"})
DEADLINE = 10.0
"""Seconds in which what is waited for must happen."""
_PATCHES: Mapping[str, Callable[[Any, Any], Any]] = {
    "application/json-patch+json": operated,
    "application/merge-patch+json": merged,
    "application/strategic-merge-patch+json": strategically_merged,
}
_VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}


class FakeApiServer:
    """Use it as a context manager; then ``url`` is where it listens."""

    def __init__(self, kinds: Sequence[Served] = KINDS) -> None:
        self.kinds = {kind.plural: kind for kind in kinds}
        self.storage = Storage()
        self.requests: list[Request] = []
        self.discoveries = 0
        """How often somebody asked what is served."""
        self.faults: list[Fault] = []
        self.watchers: list[Watcher] = []
        self.tokens: set[str] | None = None
        """Accepted bearer tokens; None lets everybody in."""
        self.streams = True
        """Whether WatchList is served."""
        self.muted = False
        """While true, watches stay open and are told nothing."""
        self.brief = False
        """While true, watches end as soon as they have begun."""
        self.tls: ssl.SSLContext | None = None
        self.port = 0
        self._runner: web.ServerRunner | None = None
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._snapshots: dict[str, list[Document]] = {}
        self.storage.listeners.append(self._publish)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return when *holds* is true, which is looked at whenever something happens here."""
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((holds, reached))
        self._look()
        async with asyncio.timeout(DEADLINE):
            await reached

    def _look(self) -> None:
        for holds, reached in list(self._waiting):
            if reached.done() or holds():
                self._waiting.remove((holds, reached))
                if not reached.done():
                    reached.set_result(None)

    async def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        runner = web.ServerRunner(web.Server(self._handle, keepalive_timeout=90), shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True, ssl_context=self.tls).start()
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop as a killed process does: connections break, what is stored stays."""
        self.cut_watches()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def fail(self, fault: Fault) -> Fault:
        """Let something go wrong."""
        self.faults.append(fault)
        return fault

    def cut_watches(self) -> None:
        """End all open watches, as a server does when it wants to."""
        for watcher in self.watchers:
            watcher.put(None)

    def bookmark(self) -> None:
        """Send a bookmark to all open watches."""
        for watcher in self.watchers:
            watcher.mark(self.storage.revision)

    def count(self, *verbs: str, resource: str = "") -> int:
        """How many requests with one of these verbs were made."""
        return sum(each.verb in verbs and resource in {"", each.resource} for each in self.requests)

    @property
    def writes(self) -> Counter[str]:
        """Successful writes by verb and resource."""
        done = (each for each in self.requests if each.verb in WRITES and 200 <= each.code < 300)
        return Counter(f"{each.verb} {each.resource}" for each in done)

    def store(self, plural: str, document: Document) -> Document:
        """Create or update a document behind the clients' backs, its status included."""
        kind = self.kinds[plural]
        metadata = document["metadata"]
        name = (metadata.get("namespace", "") if kind.namespaced else "", metadata["name"])
        if name not in self.storage.of(plural):
            self.storage.create(kind, name, document)
        else:
            self.storage.update(kind, name, document, status=False)
        if kind.status and "status" in document:
            self.storage.update(kind, name, document, status=True)
        return self.storage.read(kind, name)

    def remove(self, plural: str, name: str, namespace: str = "") -> None:
        """Delete a document and what it owns."""
        self.storage.delete(self.kinds[plural], (namespace, name), "")
        self._collect()

    def document(self, plural: str, name: str, namespace: str = "") -> Document:
        """The document as it is stored."""
        return self.storage.read(self.kinds[plural], (namespace, name))

    def _publish(self, change: Change) -> None:
        if not self.muted:
            for watcher in self.watchers:
                watcher.take(change)
        self._look()

    def _collect(self) -> None:
        """Remove what has lost its owners, as the garbage collector of kube-controller-manager does."""
        while orphans := self.storage.orphans():
            for plural, name in orphans:
                self.storage.delete(self.kinds[plural], name, "")

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        target = target_of(self.kinds, request.path)
        if target is None:
            self.discoveries += 1
            self._look()
            return discovery(self.kinds, request.path)
        query = dict(request.query)
        verb = _VERBS.get(request.method) or reading_verb(target, query)
        text = await request.read()
        body = json.loads(text) if text else None
        seen = len(self.requests)
        self.requests.append(
            Request(verb, target.resource, target.name, 0, query, body, dict(request.headers))
        )
        self._look()
        response = await self._faulty(request, target, self.requests[seen])
        response.headers["Date"] = self._date()
        self.requests[seen] = self.requests[seen]._replace(code=response.status)
        self._look()
        return response

    def _date(self) -> str:
        return format_datetime(self.storage.now(), usegmt=True)

    async def _faulty(self, request: web.BaseRequest, target: Target, asked: Request) -> web.StreamResponse:
        fault = next((each for each in self.faults if each.hits(asked)), None)
        if fault is None:
            return await self._answer(request, target, asked)
        fault.times -= 1
        response: web.StreamResponse
        if fault.status:
            refusal = RefusalError(fault.status, REASONS[fault.status], fault.message, tuple(fault.causes))
            response = refused(refusal, fault.retry_after)
        else:
            response = await self._answer(request, target, asked)
        if fault.reset and request.transport is not None:
            request.transport.abort()
        if fault.hang:
            await asyncio.Event().wait()
        return response

    async def _answer(self, request: web.BaseRequest, target: Target, asked: Request) -> web.StreamResponse:
        if self.tokens is not None:
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if token not in self.tokens:
                return refused(RefusalError(401, "Unauthorized", "Unauthorized"))
        try:
            if asked.verb == "watch":
                return await self._watch(request, target, asked.query)
            return web.json_response(self._do(target, asked), status=201 if asked.verb == "create" else 200)
        except RefusalError as refusal:
            return refused(refusal)

    def _do(self, target: Target, asked: Request) -> Document:
        kind = target.kind
        match asked.verb:
            case "list":
                return self._list(target, asked.query)
            case "create":
                name = (target.key[0], asked.body["metadata"]["name"])
                tagged = {"namespace": target.namespace} if kind.namespaced else {}
                document = asked.body | {"metadata": asked.body["metadata"] | tagged}
                _validate(kind, document)
                if "dryRun" in asked.query:
                    return shown(kind, target.version, document)
                done = self.storage.create(kind, name, document)
            case "patch":
                done = self._patch(target, asked)
            case "delete":
                uid = ((asked.body or {}).get("preconditions") or {}).get("uid", "")
                done, gone = self.storage.delete(kind, target.key, uid)
                self._collect()
                if gone:
                    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
            case _:
                done = self.storage.read(kind, target.key)
        return shown(kind, target.version, done)

    def _patch(self, target: Target, asked: Request) -> Document:
        now = self.storage.read(target.kind, target.key)
        try:
            wanted = _PATCHES[asked.headers["Content-Type"]](now, asked.body)
        except PatchError:
            # As kube-apiserver answers: which operation failed is not said.
            message = "the server rejected our request due to an error in our request"
            raise RefusalError(422, "Invalid", message) from None
        _validate(target.kind, wanted)
        manner = {"status": target.subresource == "status", "dry_run": "dryRun" in asked.query}
        return self.storage.update(target.kind, target.key, wanted, **manner)

    def _list(self, target: Target, query: Mapping[str, str]) -> Document:
        judge = judge_of(query, target.namespace)
        rest, version = self._snapshots.pop(query.get("continue", ""), None), str(self.storage.revision)
        if "continue" in query:
            version = base64.b64decode(query["continue"]).decode().partition("/")[0]
            if rest is None or int(version) < self.storage.oldest:
                raise RefusalError(410, "Expired", "the continue parameter is too old")
        documents = rest or [each for each in self.storage.of(target.kind.plural).values() if judge(each)]
        limit = int(query.get("limit", "0")) or len(documents)
        metadata = {"resourceVersion": version}
        if len(documents) > limit:
            token = base64.b64encode(f"{version}/{len(documents)}".encode()).decode()
            self._snapshots[token] = documents[limit:]
            metadata["continue"] = token
        items = [shown(target.kind, target.version, each) for each in documents[:limit]]
        return {"kind": f"{target.kind.kind}List", "metadata": metadata, "items": items}

    async def _watch(
        self, request: web.BaseRequest, target: Target, query: Mapping[str, str]
    ) -> web.StreamResponse:
        if "sendInitialEvents" in query and not self.streams:
            message = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
            raise RefusalError(422, "Invalid", message, ({"field": "sendInitialEvents", "message": message},))
        watcher = Watcher(target.kind, target.version, judge_of(query, target.namespace))
        try:
            watcher.begin(self.storage, query)
        except RefusalError as refusal:  # the watch cache says so in a line of the watch
            watcher.send("ERROR", json.loads(refused(refusal).body))  # type: ignore[arg-type]  # it is bytes
            watcher.put(None)
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Date": self._date()})
        if self.brief:
            watcher.put(None)
        self.watchers.append(watcher)
        self._look()
        try:
            await response.prepare(request)
            await watcher.serve(response, float(query.get("timeoutSeconds", "300")))
        finally:
            self.watchers.remove(watcher)
            self._look()
        return response


def _validate(kind: Served, document: Any) -> None:
    if problem := kind.validate(document):
        raise RefusalError(
            422, "Invalid", problem, ({"reason": "FieldValueInvalid", "message": problem, "field": ""},)
        )
