import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.debug.guards import HostGuard, split_address
from daemon.debug.server import DebugServer
from tests.fakes.node import FakeAsks, FakeNode, busy_view
from tests.functional.debug_client import Served, serving
from tests.functional.other_users import NOBODY, as_root, ask_as, open_directory

__all__ = ["open_directory"]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as server:
        yield server


async def status(served: Served, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession() as client, client.get(f"{served.url}/statusz", headers=named) as reply:
        return reply.status


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:10231", "127.0.0.1", "127.0.0.1:80", "127.1.2.3", "[::1]:10231"]
)
async def test_this_machine_may_be_named_in_any_way(served: Served, host: str) -> None:
    assert await status(served, Host=host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "rebound.example.com",
        "rebound.example.com:10231",
        "localhost.example.com",
        "127.0.0.1.example.com",
        "10.0.0.7",
        "[2001:db8::1]",
        "::1",
        "",
    ],
)
async def test_a_name_that_was_bent_to_this_machine_is_refused(served: Served, host: str) -> None:
    assert await status(served, Host=host) == 403


async def test_a_request_without_a_host_is_refused(served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"GET /statusz HTTP/1.0\r\n\r\n")

    answer = await asyncio.wait_for(reader.read(), 5)

    writer.close()
    await writer.wait_closed()
    assert b" 403 " in answer.splitlines()[0]


async def test_a_page_of_the_same_origin_may_ask(served: Served) -> None:
    host = f"localhost:{served.port}"

    assert await status(served, Host=host, Origin=f"http://{host}", Sec_Fetch_Site="same-origin") == 200


@pytest.mark.parametrize(
    "origin", ["null", "http://evil.example.com", "https://localhost", "http://localhost:1", ""]
)
async def test_a_page_of_another_origin_is_refused(served: Served, origin: str) -> None:
    assert await status(served, Host=f"localhost:{served.port}", Origin=origin) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_another_site_cannot_embed_but_may_link(served: Served, site: str) -> None:
    assert await status(served, Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors", Sec_Fetch_Dest="image") == 403
    assert (
        await status(served, Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="iframe") == 403
    )
    assert (
        await status(served, Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document") == 200
    )


async def test_a_refusal_tells_why(served: Served) -> None:
    evil = {"Host": "evil.example.com"}
    async with aiohttp.ClientSession() as client, client.get(f"{served.url}/metrics", headers=evil) as reply:
        said = await reply.text()

    assert "'evil.example.com' is not this machine" in said


def test_a_configured_name_is_the_machines_own() -> None:
    guard = HostGuard("node-7.example.com")

    assert guard.refusal({"Host": "node-7.example.com:10231"}) is None
    assert guard.refusal({"Host": "node-8.example.com:10231"}) is not None


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "::"])
def test_a_server_on_all_addresses_takes_any_address_but_no_name(everywhere: str) -> None:
    guard = HostGuard(everywhere)

    assert guard.refusal({"Host": "10.0.0.7:10231"}) is None
    assert guard.refusal({"Host": "[2001:db8::7]:10231"}) is None
    assert guard.refusal({"Host": "node.example.com"}) is not None


@given(st.text(st.characters(codec="latin-1"), max_size=40))
def test_a_host_that_is_no_loopback_never_passes(host: str) -> None:
    ours = host.strip().lower().startswith(("localhost", "127.", "[::1]", "[0", "[::"))

    assert ours or HostGuard("127.0.0.1").refusal({"Host": host}) is not None


@pytest.mark.parametrize(
    "address", ["", "10231", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "::1:10231", "h:65536", "h:-1", "h:²"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|brackets"):
        split_address(address)


def test_addresses_of_both_families_are_split() -> None:
    assert split_address("127.0.0.1:10231") == ("127.0.0.1", 10231)
    assert split_address("[::1]:0") == ("::1", 0)
    assert split_address(":10231") == ("", 10231)


@as_root
async def test_another_user_cannot_even_open_the_socket(open_directory: Path) -> None:
    path = open_directory / "inplaced.sock"

    async with DebugServer(FakeNode(busy_view()), FakeAsks(), address="", socket_path=str(path)):
        answer = await ask_as(NOBODY, path)

    assert answer == "PermissionError\n"


@as_root
async def test_another_user_is_refused_by_its_credentials_too(open_directory: Path) -> None:
    path = open_directory / "inplaced.sock"

    async with DebugServer(FakeNode(busy_view()), FakeAsks(), address="", socket_path=str(path)):
        path.chmod(0o666)
        answer = await ask_as(NOBODY, path)

    assert answer.startswith("HTTP/1.0 403 ")
    assert f"user id {NOBODY} may not talk to the agent" in answer


@as_root
async def test_a_user_that_is_allowed_is_served(open_directory: Path) -> None:
    path = open_directory / "inplaced.sock"
    server = DebugServer(
        FakeNode(busy_view()), FakeAsks(), address="", socket_path=str(path), allowed_uids=(NOBODY,)
    )

    async with server:
        allowed = await ask_as(NOBODY, path)
        other = await ask_as(NOBODY - 1, path)

    assert allowed.startswith("HTTP/1.0 200 ")
    assert other.startswith("HTTP/1.0 403 ")


async def test_the_host_of_a_request_over_the_unix_socket_does_not_matter(served: Served) -> None:
    with socket.socket(socket.AF_UNIX) as talk:
        talk.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(talk, str(served.socket_path))
        await loop.sock_sendall(talk, b"GET /healthz HTTP/1.1\r\nHost: anything\r\n\r\n")

        answer = await asyncio.wait_for(loop.sock_recv(talk, 65536), 5)

    assert answer.startswith(b"HTTP/1.1 200 ")
