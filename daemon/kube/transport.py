"""Sends requests to the API server: credentials, deadlines, retries that the server asked for, counting."""

import asyncio
import os
import random
import socket
import ssl
import time
from asyncio.sslproto import SSLProtocol
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus

import aiohttp
import msgspec
from yarl import URL

from daemon.kube.access import Access, AccessError
from daemon.kube.answers import error_of
from daemon.kube.clock import ServerClock
from daemon.kube.errors import (
    ApiError,
    BusyError,
    NoAccessError,
    OverdueError,
    ServerError,
    UnauthorizedError,
    UnreachableError,
)
from daemon.metrics import Metrics

Read = Callable[[], Awaitable[bytes]]
"""Returns the next bytes of a body, none at its end."""

_TRIES = 5
"""How often one request is sent at most, when the server says to come back."""
_CONNECTIONS = 64
"""At the same time, watches included."""
_IDLE = 75.0
"""Seconds that an unused connection is kept; the API server closes after 90 (``genericapiserver``)."""
_LARGEST_ERROR = 64 * 1024
"""Bytes of a refusal that are read."""
_TLS_BUFFER = 32 * 1024
"""Bytes that asyncio keeps for each TLS connection, by itself 256 KiB. A TLS record has 16 KiB at most."""


class Ask(msgspec.Struct, frozen=True):
    """One request, as data."""

    verb: str
    """As in metrics and RBAC: get, list, watch, create, patch, delete."""
    resource: str
    """As in RBAC: plural, with the subresource after a slash."""
    path: str
    name: str = ""
    """The object, for people."""
    query: Mapping[str, str] = {}
    body: bytes | None = None
    content_type: str = "application/json"
    confidential: bool = False
    """What the server says may quote the object, so it is not repeated."""

    def __str__(self) -> str:
        return " ".join(part for part in (self.verb, self.resource, self.name) if part)

    @property
    def method(self) -> str:
        """The HTTP method."""
        return {"create": "POST", "patch": "PATCH", "delete": "DELETE"}.get(self.verb, "GET")


class Transport:
    """The connections to one API server."""

    def __init__(self, access: Access, metrics: Metrics, user_agent: str) -> None:
        self._access = access
        self._metrics = metrics
        self._user_agent = user_agent
        self.clock = ServerClock()
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def fetch(self, ask: Ask, seconds: float) -> bytes:
        """The body of the answer, which comes within *seconds*. Raises ApiError's kinds."""
        ends = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._insist(ask, ends)
        except TimeoutError as error:
            raise OverdueError(str(ask), message=f"no answer in {seconds:g} s") from error

    async def _insist(self, ask: Ask, ends: float) -> bytes:
        """Send again when the server says when to come back, or when the credentials were renewed."""
        for attempt in range(1, _TRIES + 1):
            try:
                async with self._answer(ask) as response:
                    return await self._body(ask, response)
            except UnauthorizedError:
                if attempt > 1:
                    raise
            except (BusyError, ServerError) as error:
                pause = _pause(error)
                if attempt == _TRIES or not pause or time.monotonic() + pause >= ends:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    @asynccontextmanager
    async def stream(self, ask: Ask, seconds: float) -> AsyncIterator[Read]:
        """The body of the answer as it comes; the answer must begin within *seconds*.

        Raises ApiError's kinds, also when the connection breaks while the body is read.
        """
        received = self._metrics.api_bytes.labels("received")
        async with self._answer(ask, seconds) as response:

            async def read() -> bytes:
                data = await response.content.readany()
                received.inc(len(data))
                return data

            try:
                yield read
            finally:
                _abandon(response)

    @asynccontextmanager
    async def _answer(self, ask: Ask, seconds: float | None = None) -> AsyncIterator[aiohttp.ClientResponse]:
        started = time.monotonic()
        code = "none"
        try:
            async with asyncio.timeout(seconds):
                response = await self._send(ask)
                code = str(response.status)
                self.clock.hear(response.headers.get("Date"), started, time.monotonic())
                if response.status >= HTTPStatus.MULTIPLE_CHOICES:
                    raise await self._refusal(ask, response)
            async with response:
                yield response
        except TimeoutError as error:
            raise OverdueError(str(ask), message="no answer in time") from error
        except (aiohttp.ClientHttpProxyError, aiohttp.InvalidURL) as error:
            # Their own texts show the proxy's password, and so does the request that they hold.
            raise UnreachableError(str(ask), message=_of_proxy(error)) from None
        except AccessError as error:
            raise NoAccessError(str(ask), message=str(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
                self._access.reject()
            raise UnreachableError(str(ask), message=_words(error)) from error
        finally:
            self._metrics.observe_request(ask.verb, ask.resource, code, time.monotonic() - started)

    async def _send(self, ask: Ask) -> aiohttp.ClientResponse:
        server = await self._access.server()
        credentials = await self._access.credentials()
        headers = {"Authorization": credentials.authorization} if credentials.authorization else {}
        if ask.body is not None:
            headers["Content-Type"] = ask.content_type
            self._metrics.api_bytes.labels("sent").inc(len(ask.body))
        return await self._open().request(
            ask.method,
            URL(f"{server}{ask.path}"),
            params=ask.query,
            data=ask.body,
            headers=headers,
            ssl=credentials.tls if credentials.tls is not None else True,
            proxy=credentials.proxy,
            server_hostname=credentials.server_name,
            allow_redirects=False,
        )

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            SSLProtocol.max_size = _TLS_BUFFER
            connector = aiohttp.TCPConnector(
                limit=_CONNECTIONS, keepalive_timeout=_IDLE, socket_factory=_watched_socket
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                # Deadlines are ours; compression costs the API server more than a cluster's network gains.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10.0),
                headers={
                    "User-Agent": self._user_agent,
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                },
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def _body(self, ask: Ask, response: aiohttp.ClientResponse) -> bytes:
        body = await response.read()
        self._metrics.api_bytes.labels("received").inc(len(body))
        return body

    async def _refusal(self, ask: Ask, response: aiohttp.ClientResponse) -> ApiError:
        async with response:
            body = await response.content.read(_LARGEST_ERROR)
        error = error_of(str(ask), response.status, response.headers, body, confidential=ask.confidential)
        if isinstance(error, UnauthorizedError):
            self._access.reject()
        return error


def _of_proxy(error: aiohttp.ClientError) -> str:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy on the way answers {error.status}"
    return "the address of the server, or of the proxy on the way, is no URL"


def _words(error: Exception) -> str:
    """The error without what aiohttp adds for itself: it quotes the TLS context's address in memory."""
    if not isinstance(error, aiohttp.ClientConnectorError):
        return str(error) or type(error).__name__
    cause = getattr(error, "certificate_error", error.os_error)
    # asyncio's own words repeat the address; numbers of TLS and, below zero, of names are not the system's.
    number = 0 if isinstance(cause, ssl.SSLError) else getattr(cause, "errno", None) or 0
    return f"cannot connect to {error.host}:{error.port}: {os.strerror(number) if number > 0 else cause}"


def _abandon(response: aiohttp.ClientResponse) -> None:
    """Break the connection of a body that has not ended, without the farewells of TLS: nobody waits."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


def _pause(error: ApiError) -> float:
    """Seconds until the next try, 0 when there is to be none: only the server may ask for one."""
    wait = error.retry_after or (1.0 if isinstance(error, BusyError) else 0.0)
    return wait * random.uniform(1.0, 1.25)  # noqa: S311 - spreads load, is no secret


def _watched_socket(info: aiohttp.AddrInfoType) -> socket.socket:
    """A socket whose peer the kernel asks whether it is still there: a watch may be silent for minutes."""
    family, kind, protocol, _name, _address = info
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)
    return sock
