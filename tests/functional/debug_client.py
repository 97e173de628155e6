"""A debug server on free sockets, and clients of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec

from daemon.debug.server import DebugServer
from daemon.debug.views import NodeView
from tests.fakes.node import FakeAsks, FakeNode, busy_view


@dataclass
class Served:
    """A running server with what stands behind it."""

    node: FakeNode
    asks: FakeAsks
    server: DebugServer
    socket_path: Path

    @property
    def port(self) -> int:
        return self.server.addresses[0][1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def serving(tmp_path: Path) -> AsyncIterator[Served]:
    """A server of a busy node."""
    node, asks = FakeNode(busy_view()), FakeAsks()
    path = tmp_path / "run" / "inplaced.sock"
    server = DebugServer(node, asks, address="127.0.0.1:0", socket_path=str(path))
    async with server:
        yield Served(node, asks, server, path)


@asynccontextmanager
async def unix_client(path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the unix socket."""
    async with aiohttp.ClientSession("http://inplaced", connector=aiohttp.UnixConnector(str(path))) as client:
        yield client


@dataclass
class Stream:
    """The raw bytes of an event stream."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def line(self) -> bytes:
        """The next line that is not the framing of chunks, without its end."""
        while True:
            line = await self.reader.readline()
            if not line:
                raise EOFError
            if line.startswith((b"data:", b"retry:", b":")):
                return line.rstrip()

    async def view(self) -> NodeView:
        """The next view."""
        while True:
            line = await self.line()
            if line.startswith(b"data: "):
                return msgspec.json.decode(line.removeprefix(b"data: "), type=NodeView)


@asynccontextmanager
async def streaming(port: int, path: str = "/events") -> AsyncIterator[Stream]:
    """A client of the event stream that has read the head of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**26)
    try:
        writer.write(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        yield Stream(reader, writer)
    finally:
        writer.transport.abort()
