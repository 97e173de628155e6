"""One question to a registry and its answer: bounded in size and redirects, careful what it shows to whom."""

import asyncio
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import aiohttp
from yarl import URL

from daemon.nodeimages.proxies import ProxyError, proxy_for
from daemon.nodeimages.registry_errors import (
    GarbageError,
    RegistryError,
    UnreachableError,
    UnusableProxyError,
)
from daemon.trust import system_trust

LARGEST_BODY = 4 * 2**20
"""Bytes. The distribution specification asks registries to take manifests of this size at least."""
_REDIRECTS = 5
_REDIRECTED = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, and what only the host that is asked may see."""

    url: URL
    headers: Mapping[str, str] = field(default_factory=dict)
    """For whoever answers in the end."""
    private: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """For the first host alone: authorisation, and headers from the node's configuration."""
    form: Mapping[str, str] | None = field(default=None, repr=False)
    """Sent as a POST, which follows no redirect."""
    tls: ssl.SSLContext | None = None
    """For the first host alone; None: the system's defaults."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered in the end."""

    status: int
    body: bytes = field(repr=False)
    challenges: tuple[str, ...] = ()
    """The WWW-Authenticate headers."""


async def exchange(session: aiohttp.ClientSession, request: Request) -> Reply:
    """Ask, and follow redirects. Raises RegistryError's kinds; ends when cancelled."""
    for _ in range(_REDIRECTS + 1):
        answer = await _ask(session, request)
        if isinstance(answer, Reply):
            return answer
        request = _redirected(request, answer)
    raise GarbageError(f"{_place(request.url)}: more than {_REDIRECTS} redirects")


async def _ask(session: aiohttp.ClientSession, request: Request) -> Reply | str:
    """The reply, or where it is found instead."""
    problem: RegistryError
    try:
        return await _send(session, request)
    except (aiohttp.ClientConnectionError, ConnectionError, TimeoutError) as error:
        problem = UnreachableError(f"{_place(request.url)}: {_reason(error)}")
    except aiohttp.ClientHttpProxyError as error:
        problem = UnreachableError(f"{_place(request.url)}: the proxy on the way answers {error.status}")
    except ProxyError as error:
        problem = UnusableProxyError(str(error))
    except (aiohttp.ClientError, ValueError) as error:
        problem = GarbageError(f"{_place(request.url)}: not HTTP as expected ({type(error).__name__})")
    # Raised out here: the client's own errors hold the request's headers, and must not be chained.
    raise problem


async def _send(session: aiohttp.ClientSession, request: Request) -> Reply | str:
    tls = request.tls
    if tls is None and request.url.scheme == "https":
        tls = await asyncio.to_thread(system_trust)
    # Not by the session's trust_env: that looks for passwords in ~/.netrc, which containerd does not, and
    # hands both questions to threads.
    proxy = proxy_for(request.url, os.environ)
    async with session.request(
        "GET" if request.form is None else "POST",
        request.url,
        headers=[*request.headers.items(), ("Accept-Encoding", "identity"), *request.private],
        data=request.form,
        ssl=True if tls is None else tls,
        proxy=proxy,
        allow_redirects=False,
        auto_decompress=False,
        max_line_size=16384,
        max_field_size=16384,
    ) as response:
        location = response.headers.get("Location")
        if response.status in _REDIRECTED and location and request.form is None:
            return location
        body = await _bounded(response, request.url)
        return Reply(response.status, body, tuple(response.headers.getall("WWW-Authenticate", ())))


async def _bounded(response: aiohttp.ClientResponse, url: URL) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(65536):
        body += chunk
        if len(body) > LARGEST_BODY:
            raise GarbageError(f"{_place(url)}: answers more than {LARGEST_BODY} bytes")
    return bytes(body)


def _redirected(request: Request, location: str) -> Request:
    try:
        target = request.url.join(URL(location, encoded=True))
    except ValueError:
        target = URL()
    if target.scheme not in {"http", "https"} or not target.host or target.user:
        raise GarbageError(f"{_place(request.url)}: redirects to something that is no address")
    if request.url.scheme == "https" and target.scheme != "https":
        raise GarbageError(f"{_place(request.url)}: redirects from HTTPS to plain HTTP")
    if target.origin() == request.url.origin():
        return replace(request, url=target)
    return replace(request, url=target, private=(), tls=None)


def _place(url: URL) -> str:
    """The address without its query, which may be signed."""
    return f"{url.scheme}://{url.raw_authority.rpartition('@')[2]}{url.raw_path}"


def _system_reason(error: OSError) -> str:
    # Positive numbers are the system's own; errors of TLS and of name resolution have texts of theirs.
    if isinstance(error, ssl.SSLError) or not error.errno or error.errno < 0:
        return str(error) or type(error).__name__
    return os.strerror(error.errno)


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted ({error.certificate_error})"
    if isinstance(error, aiohttp.ClientConnectorError):
        return _system_reason(error.os_error)
    return f"connection broke ({type(error).__name__})"
