"""Server-sent events: everything at first, then again whenever something changed.

A client always gets the newest state; what it was too slow for is never sent. So nothing queues up, and
nothing runs while nobody looks.
"""

import asyncio
import time
from collections.abc import Callable, Mapping

import msgspec
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse

from daemon.debug import guards
from daemon.debug.sources import Sources
from daemon.debug.views import NodeView

Render = Callable[[NodeView], bytes]

_BREATH = 0.25
"""Seconds between two events of one client: at most four a second."""
_SHARE = 0.1
"""Part of the time that drawing one form may take: a node with very many images draws less often."""
_HEARTBEAT = 15.0
"""Seconds of silence after which a comment tells the client that the agent is still there."""
_STALLED = 30.0
"""Seconds in which a client must take an event."""
_RETRY = b"retry: 2000\n\n"
_COMMENT = b": still here\n\n"
_BEFORE_ALL = -1
"""Below every number of a view: waiting for more than this returns at once."""


def frame(data: bytes) -> bytes:
    """One event. Every line break in *data* starts another ``data:`` line, as the format wants it."""
    return b"".join(b"data: %b\n" % line for line in data.splitlines() or [b""]) + b"\n"


class Events:
    """The streams of all clients."""

    def __init__(self, sources: Sources, *, limit: int = 32) -> None:
        self._sources = sources
        self._limit = limit
        self._streams: set[asyncio.Task[object]] = set()
        self._newest: dict[Render, _Drawn] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def close(self) -> None:
        """End all streams; their clients will come back by themselves."""
        for task in self._streams:
            task.cancel()

    async def stream(self, request: BaseRequest, render: Render) -> StreamResponse:
        """Send views to one client until it leaves, or refuse it when there are too many."""
        if len(self._streams) >= self._limit:
            headers: Mapping[str, str] = {**guards.HEADERS, "Retry-After": "10"}
            return Response(status=503, text=f"{self._limit} clients are watching already\n", headers=headers)
        response = StreamResponse(headers={**guards.HEADERS, "Content-Type": "text/event-stream"})
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            await response.prepare(request)
            if request.method == "GET":
                await self._follow(request, response, render)
        except ConnectionError:
            pass  # The client left while it was written to.
        finally:
            self._streams.discard(task)
            if not self._streams:
                self._newest.clear()
        return response

    async def _follow(self, request: BaseRequest, response: StreamResponse, render: Render) -> None:
        number = await self._sources.changed(_BEFORE_ALL)
        # Never the kept event: its time may be long past, and a page reckons from it.
        self._newest.pop(render, None)
        drawn = self._drawn(number, render)
        event = _RETRY + drawn.event
        while await _sent(request, response, event):
            await asyncio.sleep(max(_BREATH, drawn.seconds / _SHARE))
            try:
                async with asyncio.timeout(_HEARTBEAT):
                    number = await self._sources.changed(number)
                drawn = self._drawn(number, render)
                event = drawn.event
            except TimeoutError:
                event = _COMMENT

    def _drawn(self, number: int, render: Render) -> "_Drawn":
        """The newest view as an event, made once for all clients that want this number of it."""
        newest = self._newest.get(render)
        if newest is None or newest.number < number:
            started = time.perf_counter()
            event = frame(render(self._sources.view()))
            newest = self._newest[render] = _Drawn(number, event, time.perf_counter() - started)
        return newest


class _Drawn(msgspec.Struct, frozen=True):
    """An event, the number of the view that it shows, and how long it took to make."""

    number: int
    event: bytes
    seconds: float


def as_json(view: NodeView) -> bytes:
    """The view for programs."""
    return msgspec.json.encode(view)


async def _sent(request: BaseRequest, response: StreamResponse, event: bytes) -> bool:
    """Write one event; a client that does not take it in time is dropped."""
    try:
        async with asyncio.timeout(_STALLED):
            await response.write(event)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        return False
    return True
