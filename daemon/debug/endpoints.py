"""What can be looked at: every path, its form and its content. Nothing here changes anything."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeAlias

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse

from daemon.debug import events, guards, probes, statusz, tasks
from daemon.debug.answers import as_json, as_text, wants_json
from daemon.debug.events import Events
from daemon.debug.sources import Check, Sources
from daemon.debug.views import NodeView
from daemon.logs import redact

Handler = Callable[[BaseRequest], Awaitable[StreamResponse]]
Routes: TypeAlias = dict[str, dict[str, Handler]]
"""Handlers by path and method."""

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
"""The text exposition format of Prometheus, in the version that every scraper reads."""


class Endpoints:
    """The read-only paths, the same on every address."""

    def __init__(self, sources: Sources, streams: Events) -> None:
        self._sources = sources
        self._streams = streams

    def routes(self) -> Routes:
        """All paths; HEAD is answered as GET without its body."""
        paths: dict[str, Handler] = {
            "/": self._page,
            "/healthz": self._live,
            "/livez": self._live,
            "/readyz": self._ready,
            "/metrics": self._metrics,
            "/statusz": self._status,
            "/flagz": self._flags,
            "/events": self._events,
            "/debug/pods": self._pods,
            "/debug/pulls": self._pulls,
            "/debug/jobs": self._jobs,
            "/debug/tasks": self._tasks,
            "/debug/config": self._config,
        }
        return {path: {"GET": handler, "HEAD": handler} for path, handler in paths.items()}

    async def _live(self, request: BaseRequest) -> Response:
        return _probe(request, self._sources.live())

    async def _ready(self, request: BaseRequest) -> Response:
        return _probe(request, self._sources.ready())

    async def _metrics(self, _request: BaseRequest) -> Response:
        headers = {**guards.HEADERS, "Content-Type": _PROMETHEUS}
        return Response(body=self._sources.metrics(), headers=headers)

    async def _status(self, request: BaseRequest) -> Response:
        view = self._sources.view()
        return as_json(view) if wants_json(request) else as_text(statusz.status(view))

    async def _flags(self, request: BaseRequest) -> Response:
        return as_json(self._settings()) if wants_json(request) else as_text(statusz.flags(self._settings()))

    async def _config(self, _request: BaseRequest) -> Response:
        return as_json(self._settings())

    async def _pods(self, _request: BaseRequest) -> Response:
        return as_json(self._sources.view().pods)

    async def _pulls(self, _request: BaseRequest) -> Response:
        return as_json(self._sources.view().pulls)

    async def _jobs(self, _request: BaseRequest) -> Response:
        return as_json(self._sources.view().jobs)

    async def _tasks(self, _request: BaseRequest) -> Response:
        return as_json(tasks.running())

    async def _events(self, request: BaseRequest) -> StreamResponse:
        as_page = request.query.get("as") == "page"
        return await self._streams.stream(request, _fragment if as_page else events.as_json)

    async def _page(self, _request: BaseRequest) -> Response:
        from daemon.debug import page  # Only a node whose page is opened pays for it.

        headers = {**guards.HEADERS, "Content-Security-Policy": page.POLICY}
        text = page.document(self._sources.view())
        return Response(text=text, content_type="text/html", charset="utf-8", headers=headers)

    def _settings(self) -> Mapping[str, Any]:
        # By value, not by name: a setting that says where a credential file lies is no secret.
        return {name: redact(value) for name, value in self._sources.flags().items()}


def _fragment(view: NodeView) -> bytes:
    from daemon.debug import page

    return page.fragment(view).encode()


def _probe(request: BaseRequest, checks: Sequence[Check]) -> Response:
    found = probes.answer(
        request.path.strip("/"),
        checks,
        verbose="verbose" in request.query,
        exclude=request.query.getall("exclude", []),
    )
    return as_text(found.text, HTTPStatus.OK if found.ok else HTTPStatus.SERVICE_UNAVAILABLE)
