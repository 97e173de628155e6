import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from daemon.debug.events import frame
from daemon.debug.views import NodeView, PullView
from tests.fakes.node import pulling
from tests.functional.debug_client import Served, Stream, serving, streaming

IMAGE = "registry.example.com:5000/shop/web:v2"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as server:
        yield server


@pytest.fixture
async def stream(served: Served) -> AsyncIterator[Stream]:
    async with streaming(served.port) as opened:
        yield opened


def at(served: Served, percent: int) -> NodeView:
    others: tuple[PullView, ...] = served.node.shown.pulls[1:]
    return replace(served.node.shown, pulls=(pulling(IMAGE, percent), *others))


async def test_the_first_event_is_everything(served: Served, stream: Stream) -> None:
    assert await stream.line() == b"retry: 2000"
    assert await stream.view() == served.node.shown


async def test_a_change_is_sent_as_soon_as_it_happens(served: Served, stream: Stream) -> None:
    await stream.view()
    await served.node.until_watched(1)

    await served.node.show(at(served, 77))

    assert (await asyncio.wait_for(stream.view(), 2)).pulls[0].percent == 77


async def test_nothing_is_sent_while_nothing_changes(served: Served, stream: Stream) -> None:
    await stream.view()
    await served.node.until_watched(1)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stream.line(), 1)


async def test_a_client_gets_at_most_four_events_a_second(served: Served, stream: Stream) -> None:
    started = time.monotonic()
    received = [await stream.view()]

    async def change() -> None:
        for percent in range(100):
            await served.node.show(at(served, percent))
            await asyncio.sleep(0.015)  # the pace of the changes, not a wait for something

    changing = asyncio.create_task(change())
    while received[-1].pulls[0].percent != 99:
        received.append(await stream.view())
    await changing

    assert 3 <= len(received) <= 4 * (time.monotonic() - started) + 2


async def test_all_clients_of_one_change_share_its_rendering(served: Served) -> None:
    async with AsyncExitStack() as clients:
        streams = [await clients.enter_async_context(streaming(served.port)) for _ in range(10)]
        for each in streams:
            await each.view()
        await served.node.until_watched(10)
        before = served.node.views

        await served.node.show(at(served, 50))
        seen = [await each.view() for each in streams]

        assert {view.pulls[0].percent for view in seen} == {50}
        assert served.node.views == before + 1


async def test_a_late_client_does_not_get_an_old_rendering(served: Served, stream: Stream) -> None:
    await stream.view()
    served.node.shown = at(served, 88)  # without a new number, as the clock of a view moves on

    async with streaming(served.port) as late:
        assert (await late.view()).pulls[0].percent == 88


async def test_more_than_thirty_two_clients_are_told_to_come_back(served: Served) -> None:
    async with AsyncExitStack() as clients, aiohttp.ClientSession(served.url) as session:
        for _ in range(32):
            await clients.enter_async_context(streaming(served.port))
        async with session.get("/events") as reply:
            assert reply.status == 503
            assert reply.headers["Retry-After"] == "10"
        await served.node.until_watched(32)
        await clients.aclose()
        await served.node.until_watched(0)

        async with streaming(served.port) as again:
            assert await again.view() == served.node.shown


async def test_a_client_that_left_is_forgotten(served: Served) -> None:
    async with streaming(served.port) as leaving:
        await leaving.view()
        await served.node.until_watched(1)

    await served.node.until_watched(0)


async def test_a_slow_client_gets_the_newest_view_and_no_queue(served: Served) -> None:
    bulky = replace(served.node.shown, pulls=tuple(pulling(f"a/{n}:v1", 50) for n in range(500)))
    talk = socket.socket()
    talk.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    talk.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(talk, ("127.0.0.1", served.port))
    await loop.sock_sendall(talk, b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await served.node.until_watched(1)
    before = served.node.views

    for number in range(200):
        await served.node.show(replace(bulky, version=str(number)))
    async with streaming(served.port) as quick:
        while (await quick.view()).version != "199":
            pass
        rendered = served.node.views - before
    reader, writer = await asyncio.open_connection(sock=talk, limit=2**26)
    slow = Stream(reader, writer)
    seen = [(await slow.view()).version]
    while seen[-1] != "199":
        seen.append((await slow.view()).version)

    writer.transport.abort()
    assert rendered <= 4
    assert len(seen) <= 4


@pytest.mark.looptime
async def test_silence_is_broken_every_fifteen_seconds(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, streaming(served.port) as stream:
        await stream.view()
        await served.node.until_watched(1)
        started = asyncio.get_running_loop().time()

        assert await stream.line() == b": still here"
        assert await stream.line() == b": still here"

        assert asyncio.get_running_loop().time() - started == pytest.approx(30, abs=1)


@pytest.mark.looptime
async def test_a_client_that_takes_nothing_is_dropped(tmp_path: Path) -> None:
    async with serving(tmp_path) as served, streaming(served.port) as stuck:
        transport = stuck.writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        await stuck.view()
        transport.pause_reading()
        await served.node.until_watched(1)

        await served.node.show(
            replace(served.node.shown, pulls=tuple(pulling(f"a/{n}:v1", 50) for n in range(4000)))
        )
        await served.node.until_watched(0)
        await until_alone()

        transport.resume_reading()
        rest = await stuck.reader.read()
        assert rest
        assert not rest.endswith(b"\n\n\r\n")


async def test_a_thousand_clients_one_after_the_other_leave_no_tasks(served: Served) -> None:
    for _ in range(1000):
        async with streaming(served.port) as passing:
            await passing.line()

    await until_alone()


async def until_alone() -> None:
    """Wait until no task is left but the test's. Raises TimeoutError."""
    async with asyncio.timeout(60):
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)


@pytest.mark.parametrize(
    ("data", "event"),
    [
        (b"a", b"data: a\n\n"),
        (b"", b"data: \n\n"),
        (b"a\nb\r\nc\rd", b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
    ],
)
def test_line_breaks_cannot_end_an_event_early(data: bytes, event: bytes) -> None:
    assert frame(data) == event
