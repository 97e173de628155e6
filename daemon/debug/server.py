"""The HTTP server of a node: everything to see on loopback, and the same with requests on a unix socket.

aiohttp's low-level server: its application, router and runner would cost every node a MiB for a dozen paths.
"""

import asyncio
import socket
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack, suppress
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse
from aiohttp.web_server import Server

from daemon.debug import sockets
from daemon.debug.answers import refused
from daemon.debug.api import Api
from daemon.debug.endpoints import Endpoints, Routes
from daemon.debug.events import Events
from daemon.debug.guards import HostGuard, PeerGuard, split_address
from daemon.debug.sources import Asks, Sources

Refusal = Callable[[BaseRequest], str | None]

_FINISH = 2.0
"""Seconds that requests have to finish when the server stops."""
_LINGER = 1.0
"""Seconds in which the rest of a refused body is taken in, so that its sender can read the answer."""
_KEEP_ALIVE = 75.0
"""Seconds that an idle connection is kept."""

log = structlog.get_logger()


class DebugServer:
    """Shows what *sources* tell on *address* and *socket_path*; *asks* are taken on the latter only.

    An empty *address* or *socket_path* is not served. *allowed_uids* may use the socket beside root and the
    agent's own user.
    """

    def __init__(
        self,
        sources: Sources,
        asks: Asks,
        *,
        address: str = "127.0.0.1:10231",
        socket_path: str | None = "/run/inplaced/inplaced.sock",
        allowed_uids: Collection[int] = (),
    ) -> None:
        self._events = Events(sources)
        self._endpoints = Endpoints(sources, self._events)
        self._api = Api(asks)
        self._address = address
        self._socket_path = Path(socket_path) if socket_path else None
        self._allowed_uids = frozenset(allowed_uids)
        self._opened = AsyncExitStack()
        self.addresses: tuple[tuple[str, int], ...] = ()
        """Host and port of each address that is listened on, port 0 resolved."""

    async def run(self) -> None:
        """Serve until cancelled. Raises ListenError."""
        async with self:
            await asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        """Listen. Raises ListenError, and listens nowhere then."""
        async with AsyncExitStack() as opening:
            if self._address:
                await self._serve_address(opening)
            if self._socket_path is not None:
                await self._serve_socket(opening, self._socket_path)
            self._opened = opening.pop_all()
        log.info("debug server listens", addresses=self.addresses, socket=str(self._socket_path or ""))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening, end the streams, let other requests finish."""
        await self._opened.aclose()

    async def _serve_address(self, opening: AsyncExitStack) -> None:
        listening = await sockets.listen_at(self._address)
        guard = HostGuard(split_address(self._address)[0])
        self.addresses = tuple(each.getsockname()[:2] for each in listening)
        await self._serve(
            opening, listening, self._endpoints.routes(), lambda request: guard.refusal(request.headers)
        )

    async def _serve_socket(self, opening: AsyncExitStack, path: Path) -> None:
        listening = await sockets.listen_on(path, self._allowed_uids)
        opening.callback(sockets.remover(listening, path))
        guard = PeerGuard(self._allowed_uids)
        routes = self._endpoints.routes()
        routes["/v1/pulls"] = {"POST": self._api.pull}
        await self._serve(opening, [listening], routes, lambda request: guard.refusal(_peer(request)))

    async def _serve(
        self, opening: AsyncExitStack, listening: Sequence[socket.socket], routes: Routes, refusal: Refusal
    ) -> None:
        async def answer(request: BaseRequest) -> StreamResponse:
            return await _answer(request, routes, refusal)

        server = Server(
            answer,
            handler_cancellation=True,
            logger=log,
            access_log=None,
            keepalive_timeout=_KEEP_ALIVE,
            lingering_time=_LINGER,
        )
        opening.push_async_callback(self._finish, server)
        loop = asyncio.get_running_loop()
        for each in listening:
            serving = await loop.create_server(server, sock=each)
            opening.callback(serving.close)

    async def _finish(self, server: Server) -> None:
        server.pre_shutdown()
        self._events.close()
        with suppress(TimeoutError):
            await server.shutdown(_FINISH)


async def _answer(request: BaseRequest, routes: Routes, refusal: Refusal) -> StreamResponse:
    reason = refusal(request)
    if reason is not None:
        log.warning("request refused", reason=reason, path=request.path)
        return refused(HTTPStatus.FORBIDDEN, reason)
    methods = routes.get(request.path)
    if methods is None:
        return refused(HTTPStatus.NOT_FOUND, f"nothing is at {request.path}; there are {' '.join(routes)}")
    handler = methods.get(request.method)
    if handler is None:
        allowed = ", ".join(methods)
        return refused(HTTPStatus.METHOD_NOT_ALLOWED, f"only {allowed} can be used here", Allow=allowed)
    return await handler(request)


def _peer(request: BaseRequest) -> socket.socket:
    assert request.transport is not None  # A request that is being answered has a connection.
    peer: socket.socket = request.transport.get_extra_info("socket")
    return peer
