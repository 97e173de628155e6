"""HTTP and TCP hooks, against servers that listen."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from daemon.cri.channel import Channel
from daemon.cri.client import CriClient
from daemon.objects.local_pods import Container, ContainerPort, LifecycleHandler
from daemon.restarts.hooks import HookError, HookPlace, run_hook
from tests.testbed.certificates import make_certificates

HOST = "127.0.0.1"


class Listening:
    """A container's server: what it was asked, and what it answers by path."""

    def __init__(self) -> None:
        self.asked: list[web.BaseRequest] = []
        self.answers: dict[str, Callable[[], web.StreamResponse]] = {}
        self.port = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request)
        return self.answers.get(request.path, web.Response)()

    @property
    def paths(self) -> list[str]:
        return [each.path_qs for each in self.asked]


@asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None) -> AsyncIterator[Listening]:
    server = Listening()
    runner = web.ServerRunner(web.Server(server.handle), shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0, ssl_context=tls).start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()


@pytest.fixture
async def server() -> AsyncIterator[Listening]:
    async with listening() as made:
        yield made


def place(*, pod_ip: str = HOST, **ports: int) -> HookPlace:
    named = tuple(ContainerPort(name=name, container_port=port) for name, port in ports.items())
    client = CriClient(Channel("/nowhere/c.sock"))
    return HookPlace(client, "c1", pod_ip, Container(name="app", ports=named))


def handler(**action: Mapping[str, Any]) -> LifecycleHandler:
    return msgspec.convert(action, LifecycleHandler)


async def get(at: HookPlace, **action: Any) -> None:
    await run_hook(handler(httpGet=action), at, 5.0)


async def test_the_pod_s_address_and_a_named_port_are_asked(server: Listening) -> None:
    await get(place(admin=server.port), port="admin", path="/drain?all=yes")

    (asked,) = server.asked
    assert (asked.method, asked.path_qs) == ("GET", "/drain?all=yes")
    assert asked.headers["Host"] == f"{HOST}:{server.port}"
    assert asked.headers["User-Agent"].startswith("inplaced/")


async def test_a_host_of_its_own_is_asked_instead(server: Listening) -> None:
    await get(place(pod_ip="192.0.2.1"), port=server.port, host=HOST)

    assert server.paths == ["/"]


async def test_the_hook_s_headers_are_sent(server: Listening) -> None:
    headers = [
        {"name": "Host", "value": "web.shop"},
        {"name": "X-Why", "value": "a"},
        {"name": "X-Why", "value": "b"},
        {"name": "User-Agent", "value": "mine"},
    ]

    await get(place(), port=server.port, httpHeaders=headers)

    (asked,) = server.asked
    assert asked.headers["Host"] == "web.shop"
    assert asked.headers.getall("X-Why") == ["a", "b"]
    assert asked.headers["User-Agent"] == "mine"


@pytest.mark.parametrize("status", [200, 404, 500])
async def test_any_answer_is_an_answer(server: Listening, status: int) -> None:
    server.answers["/"] = lambda: web.Response(status=status)

    await get(place(), port=server.port)

    assert server.paths == ["/"]


async def test_it_is_redirected_within_the_container(server: Listening) -> None:
    server.answers["/old"] = lambda: web.Response(status=302, headers={"Location": "/new?x=1"})

    await get(place(), port=server.port, path="/old")

    assert server.paths == ["/old", "/new?x=1"]


async def test_it_is_not_redirected_to_anybody_else(server: Listening) -> None:
    elsewhere = f"http://localhost:{server.port}/metadata"
    server.answers["/old"] = lambda: web.Response(status=302, headers={"Location": elsewhere})

    await get(place(), port=server.port, path="/old")

    assert server.paths == ["/old"]


async def test_redirects_come_to_an_end(server: Listening) -> None:
    server.answers["/"] = lambda: web.Response(status=302, headers={"Location": "/"})

    with pytest.raises(HookError, match="redirected 10 times"):
        await get(place(), port=server.port)


async def test_a_certificate_is_not_looked_at(tmp_path: Path) -> None:
    async with listening(_tls(tmp_path)) as server:
        await get(place(), port=server.port, scheme="HTTPS")

        assert server.paths == ["/"]


async def test_a_server_without_tls_is_asked_without_it_and_without_credentials(server: Listening) -> None:
    headers = [{"name": "Authorization", "value": "Bearer t"}, {"name": "X-Why", "value": "a"}]

    await get(place(), port=server.port, scheme="HTTPS", httpHeaders=headers)

    (asked,) = server.asked
    assert "Authorization" not in asked.headers
    assert asked.headers["X-Why"] == "a"


async def test_no_proxy_comes_between(server: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:3128")

    await get(place(), port=server.port)

    assert server.paths == ["/"]


@pytest.mark.parametrize("path", ["@192.0.2.1/", "drain"])
async def test_a_path_stays_a_path(server: Listening, path: str) -> None:
    await get(place(), port=server.port, path=path)

    assert [each.removeprefix("/") for each in server.paths] == [path.removeprefix("/")]


async def test_a_header_with_a_line_break_is_refused(server: Listening) -> None:
    headers = [{"name": "X-Why", "value": "a\r\nX-More: secret"}]

    with pytest.raises(HookError, match="no answer") as caught:
        await get(place(), port=server.port, httpHeaders=headers)

    assert server.asked == []
    assert "secret" not in str(caught.value)


async def test_a_pod_without_an_address_cannot_be_asked() -> None:
    with pytest.raises(HookError, match="no IP address"):
        await get(place(pod_ip=""), port=80)


async def test_a_connection_is_opened_and_closed() -> None:
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read() == b""
        writer.close()
        ended.set()

    async with await asyncio.start_server(serve, HOST, 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        await run_hook(handler(tcpSocket={"port": port}), place(), 5.0)
        async with asyncio.timeout(5):
            await ended.wait()


@pytest.mark.parametrize("host", ["a..b", f"{'x' * 64}.test", "a\0b"])
@pytest.mark.parametrize("action", ["httpGet", "tcpSocket"])
async def test_a_host_that_is_no_name_only_fails_the_hook(action: str, host: str) -> None:
    with pytest.raises(HookError):
        await run_hook(handler(**{action: {"host": host, "port": 80}}), place(), 5.0)


def _tls(directory: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    files = make_certificates(directory, "expired")
    context.load_cert_chain(files.chain, files.key)
    return context
