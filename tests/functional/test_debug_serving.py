import asyncio
import os
import socket
import stat
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from daemon.debug.server import DebugServer
from daemon.debug.sockets import (
    AddressTakenError,
    AddressUnusableError,
    ListenError,
    SocketTakenError,
    SocketUnusableError,
)
from tests.fakes.node import FakeAsks, FakeNode, busy_view
from tests.functional.debug_client import Served, serving, streaming, unix_client


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as server:
        yield server


def server(*, address: str = "", socket_path: Path | None = None) -> DebugServer:
    path = str(socket_path) if socket_path else None
    return DebugServer(FakeNode(busy_view()), FakeAsks(), address=address, socket_path=path)


def test_making_a_server_does_nothing(tmp_path: Path) -> None:
    made = server(address="127.0.0.1:0", socket_path=tmp_path / "a" / "s.sock")

    assert made.addresses == ()
    assert list(tmp_path.iterdir()) == []


async def test_a_taken_address_is_told_with_its_setting_and_remedy(served: Served) -> None:
    with pytest.raises(
        AddressTakenError, match=rf"--listen 127\.0\.0\.1:{served.port} \(INPLACED_LISTEN\).*ss -ltnp"
    ):
        await server(address=f"127.0.0.1:{served.port}").run()


@pytest.mark.parametrize("address", ["nonsense", "192.0.2.1:0", "no.such.host.invalid:1"])
async def test_an_address_that_is_not_ours_is_told_with_its_setting(address: str) -> None:
    with pytest.raises(AddressUnusableError, match=f"--listen {address}"):
        await server(address=address).run()


async def test_a_taken_address_leaves_no_socket_behind(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "second.sock"

    with pytest.raises(ListenError):
        await server(address=f"127.0.0.1:{served.port}", socket_path=path).run()

    assert not path.exists()


async def test_a_refused_socket_frees_the_address(served: Served) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    with pytest.raises(SocketTakenError):
        await server(address=f"127.0.0.1:{port}", socket_path=served.socket_path).run()

    async with server(address=f"127.0.0.1:{port}") as again:
        assert again.addresses == (("127.0.0.1", port),)


async def test_the_socket_is_for_its_owner_and_group(served: Served) -> None:
    assert stat.S_IMODE(served.socket_path.stat().st_mode) == 0o660
    assert served.socket_path.stat().st_uid == os.geteuid()
    assert stat.S_IMODE(served.socket_path.parent.stat().st_mode) & 0o022 == 0


async def test_the_socket_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(path))

    async with server(socket_path=path), unix_client(path) as client, client.get("/healthz") as reply:
        assert reply.status == 200


async def test_the_socket_of_a_live_process_is_left_alone(served: Served) -> None:
    inode = served.socket_path.stat().st_ino

    with pytest.raises(SocketTakenError, match=r"--socket .* \(INPLACED_SOCKET\): another agent answers"):
        await server(socket_path=served.socket_path).run()

    assert served.socket_path.stat().st_ino == inode
    async with unix_client(served.socket_path) as client, client.get("/healthz") as reply:
        assert reply.status == 200


async def test_a_file_in_the_sockets_place_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    path.write_text("precious")

    with pytest.raises(SocketUnusableError, match="a file that is no socket"):
        await server(socket_path=path).run()

    assert path.read_text() == "precious"


async def test_a_path_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SocketUnusableError, match="Choose a path"):
        await server(socket_path=tmp_path / "file" / "s.sock").run()
    with pytest.raises(SocketUnusableError, match="too long"):
        await server(socket_path=tmp_path / ("x" * 120)).run()


async def test_the_socket_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"

    async with server(socket_path=path):
        assert path.is_socket()

    assert not path.exists()


async def test_the_socket_of_a_successor_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    async with server(socket_path=path):
        path.unlink()
        successor = socket.socket(socket.AF_UNIX)
        successor.bind(str(path))

    with closing(successor):
        assert path.is_socket()


async def test_cancelling_ends_streams_and_idle_connections_at_once() -> None:
    node = FakeNode(busy_view())
    debug = DebugServer(node, FakeAsks(), address="127.0.0.1:0", socket_path=None)
    started = asyncio.Event()

    async def run() -> None:
        async with debug:
            started.set()
            await asyncio.get_running_loop().create_future()

    running = asyncio.create_task(run())
    await started.wait()
    port = debug.addresses[0][1]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as idle, streaming(port) as stream:
        async with idle.get("/healthz") as reply:
            assert reply.status == 200
        await stream.view()
        await node.until_watched(1)
        before = time.monotonic()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

        assert time.monotonic() - before < 1
        assert node.waiting == 0
        with pytest.raises(EOFError):
            await stream.view()


async def test_an_address_can_be_used_again_at_once(served: Served) -> None:
    async with server(address="127.0.0.1:0") as first:
        port = first.addresses[0][1]
        async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}/healthz") as reply:
            assert reply.status == 200

    async with server(address=f"127.0.0.1:{port}") as second:
        assert second.addresses[0][1] == port


async def test_nothing_is_served_where_nothing_is_set() -> None:
    async with server() as silent:
        assert silent.addresses == ()


async def test_both_families_of_localhost_are_served() -> None:
    async with server(address="localhost:0") as both:
        assert all(host in {"127.0.0.1", "::1"} for host, _ in both.addresses)
        assert both.addresses


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"\r\n" * 50, b"A" * 70000]
)
async def test_garbage_is_answered_or_dropped_and_ends_nothing(served: Served, garbage: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(garbage)
    writer.write_eof()
    try:
        await asyncio.wait_for(reader.read(), 5)
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()

    async with aiohttp.ClientSession() as client, client.get(f"{served.url}/healthz") as reply:
        assert reply.status == 200
