"""What a container wants done before it stops, done as the kubelet does it.

Nothing of what a hook answers is repeated anywhere: it is the container's own and may be secret.
"""

import asyncio
import os
import ssl
from typing import Final

import aiohttp
import msgspec
from multidict import CIMultiDict
from yarl import URL

from daemon import __version__, names
from daemon.cri.client import CriClient
from daemon.cri.errors import CriError
from daemon.objects.local_pods import (
    Container,
    ExecAction,
    HttpGetAction,
    LifecycleHandler,
    SleepAction,
    TcpSocketAction,
)

_REDIRECTS: Final = 10
"""As many as the kubelet follows, and only to the host that was asked first."""
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_READ: Final = 10 * 1024
"""Bytes of an answer that are read, so that the container can send it; the kubelet does the same."""
_SPEAKS_PLAINLY: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"})
"""What OpenSSL says, by version, of a server that answers TLS with plain HTTP."""


class HookError(Exception):
    """The hook did not do what it should. The message says what, and quotes nothing that the hook said."""


class HookPlace(msgspec.Struct, frozen=True):
    """Where a hook is run."""

    client: CriClient
    """Of the container's runtime."""
    container_id: str
    """As the runtime knows it."""
    pod_ip: str
    container: Container
    """Its ports may be named by the hook."""


async def run_hook(handler: LifecycleHandler, place: HookPlace, seconds: float) -> None:
    """Do what *handler* says; the caller cancels it after *seconds*. Raises HookError.

    As with the kubelet, an HTTP request has done its work when it was answered, whatever the status.
    """
    match handler:
        case LifecycleHandler(exec=ExecAction() as action):
            await _exec(action, place, seconds)
        case LifecycleHandler(http_get=HttpGetAction() as action):
            await _http_get(action, place)
        case LifecycleHandler(tcp_socket=TcpSocketAction() as action):
            await _tcp_socket(action, place)
        case LifecycleHandler(sleep=SleepAction() as action):
            await asyncio.sleep(action.seconds)
        case _:
            raise HookError("it names no action that is known: exec, httpGet, tcpSocket or sleep")


async def _exec(action: ExecAction, place: HookPlace, seconds: float) -> None:
    try:
        ended = await place.client.exec_sync(place.container_id, action.command, seconds)
    except CriError as error:
        # Not the runtime's text: it may quote the command, and with it what stands there.
        raise HookError(f"its command could not be run: {error.reason}") from None
    if ended.exit_code:
        raise HookError(f"its command ended with exit code {ended.exit_code}")


async def _tcp_socket(action: TcpSocketAction, place: HookPlace) -> None:
    host, port = _address(action.host, action.port, place)
    try:
        _, writer = await asyncio.open_connection(host, port)
    except (OSError, ValueError) as error:  # of a host that is no name; the API server takes any text
        raise HookError(f"cannot connect to {host}, port {port}: {_plainly(error)}") from error
    writer.close()


async def _http_get(action: HttpGetAction, place: HookPlace) -> None:
    host, port = _address(action.host, action.port, place)
    url = _url(action, host, port)
    headers = CIMultiDict((each.name, each.value) for each in action.http_headers)
    headers.setdefault("User-Agent", f"{names.PROGRAM}/{__version__}")
    # Neither certificates nor cookies nor a proxy of ours: the kubelet talks to its pods like this.
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=False, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(),  # the grace period is the only one
        trust_env=False,
        auto_decompress=False,
    ) as session:
        try:
            await _ask(session, url, headers)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise HookError(f"no answer from {host}, port {port}: {_plainly(error)}") from None


async def _ask(session: aiohttp.ClientSession, url: URL, headers: CIMultiDict[str]) -> None:
    try:
        await _follow(session, url, headers)
    except aiohttp.ClientConnectorSSLError as error:
        if not isinstance(error.os_error, ssl.SSLError) or error.os_error.reason not in _SPEAKS_PLAINLY:
            raise
        # Old hooks say HTTPS to a server without it, as kubelets before 1.27 did not look at the scheme.
        headers.popall("Authorization", None)
        await _follow(session, url.with_scheme("http"), headers)


async def _follow(session: aiohttp.ClientSession, url: URL, headers: CIMultiDict[str]) -> None:
    host = url.host
    for _ in range(_REDIRECTS):
        async with session.get(url, headers=headers, allow_redirects=False) as answer:
            await answer.content.read(_READ)
            target = answer.headers.get("Location", "") if answer.status in _MOVED else ""
        if not target:
            return
        url = url.join(URL(target))
        if url.host != host:
            return
    raise HookError(f"it was redirected {_REDIRECTS} times")


def _url(action: HttpGetAction, host: str, port: int) -> URL:
    """The address that is asked: the path may carry a query, and stays a path whatever it looks like."""
    authority = f"[{host}]" if ":" in host else host
    path = action.path if action.path.startswith("/") else f"/{action.path}"
    try:
        return URL(f"{action.scheme.lower()}://{authority}:{port}{path}")
    except ValueError as error:
        raise HookError(f"its path {action.path[:80]!r} is none") from error


def _address(host: str, port: int | str, place: HookPlace) -> tuple[str, int]:
    if not (host or place.pod_ip):
        raise HookError("the pod has no IP address (yet), and the hook names no host")
    return host or place.pod_ip, _port(port, place.container)


def _port(port: int | str, container: Container) -> int:
    """The number of a port that is given by number or by name."""
    named = {each.name: each.container_port for each in container.ports if each.name}
    if isinstance(port, str) and port in named:
        return named[port]
    if isinstance(port, int) or port.isdecimal():
        return int(port)
    known = ", ".join(sorted(named)) or "none"
    raise HookError(f"its port {port!r} is the name of no port of the container; there are: {known}")


def _plainly(error: Exception) -> str:
    """What went wrong, without what was sent: headers may hold credentials."""
    inner = getattr(error, "os_error", error)
    number = getattr(inner, "errno", None)
    return os.strerror(number) if number and number > 0 else type(inner).__name__
