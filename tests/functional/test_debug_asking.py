import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from tests.functional.debug_client import Served, serving, unix_client

SECRET = "c2VjcmV0LW9mLWEtcm9ib3Q="
MIB = 2**20


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as server:
        yield server


@pytest.fixture
async def client(served: Served) -> AsyncIterator[aiohttp.ClientSession]:
    async with unix_client(served.socket_path) as session:
        yield session


async def ask(client: aiohttp.ClientSession, body: Any) -> tuple[int, str]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with client.post("/v1/pulls", data=data) as reply:
        return reply.status, await reply.text()


async def test_one_job_is_made_for_each_image(served: Served, client: aiohttp.ClientSession) -> None:
    status, said = await ask(client, {"images": ["busybox:1.36", "nginx:1.27"], "priority": 5})

    assert status == 201
    assert json.loads(said) == {"jobs": ["default/pull-0", "default/pull-1"]}
    assert [(asked.images, asked.priority) for asked in served.asks.asked] == [
        (("busybox:1.36", "nginx:1.27"), 5)
    ]


async def test_what_the_agent_refuses_is_a_400_with_its_words(
    served: Served, client: aiohttp.ClientSession
) -> None:
    served.asks.refuse["UPPER"] = "images[0]: 'UPPER' is no image reference: repository names are lower case"

    status, said = await ask(client, {"images": ["UPPER"]})

    assert status == 400
    assert said == "images[0]: 'UPPER' is no image reference: repository names are lower case\n"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "Input data was truncated"),
        (b"{", "Input data was truncated"),
        (b"images: [busybox]", "malformed"),
        (b'{"images": ["\xff"]}', "UTF-8"),
        ({}, "missing required field `images`"),
        ([], "Expected `object`, got `array`"),
        ({"images": "busybox"}, "Expected `array`, got `str` - at `$.images`"),
        ({"images": [1]}, "Expected `str`, got `int` - at `$.images[0]`"),
        ({"images": ["a"], "prio": 1}, "unknown field `prio`"),
        ({"images": ["a"], "priority": "high"}, "Expected `int`, got `str` - at `$.priority`"),
    ],
)
async def test_a_malformed_request_is_a_400_that_names_the_place(
    served: Served, client: aiohttp.ClientSession, body: Any, reason: str
) -> None:
    status, said = await ask(client, body)

    assert status == 400
    assert reason in said
    assert served.asks.asked == []


async def test_a_body_that_says_it_is_too_large_is_refused_unread(
    served: Served,
) -> None:
    said = await post_raw(served.socket_path, b"Content-Length: 1048577\r\n\r\n[")

    assert said.startswith(b"HTTP/1.1 413 ")
    assert said.endswith(b"the request is larger than 1048576 bytes\n")


@pytest.mark.looptime
async def test_a_body_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        said = await post_raw(served.socket_path, b"Content-Length: 30\r\n\r\n[")

    assert said.startswith(b"HTTP/1.1 408 ")
    assert said.endswith(b"the request did not arrive within 10 s\n")


async def post_raw(path: Path, rest: bytes) -> bytes:
    """All that is answered until the agent hangs up."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(b"POST /v1/pulls HTTP/1.1\r\nHost: inplaced\r\n" + rest)
        return await reader.read()
    finally:
        writer.transport.abort()


async def test_a_body_that_turns_out_too_large_is_refused(
    served: Served, client: aiohttp.ClientSession
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b" " * (MIB // 8)

    async with client.post("/v1/pulls", data=endless()) as reply:
        assert reply.status == 413


@pytest.mark.parametrize(
    "body",
    [
        {"images": ["busybox"], "dockerConfig": SECRET},
        {"images": ["refused"], "dockerConfig": SECRET},
        {"images": [7], "dockerConfig": SECRET},
        {"images": ["busybox"], "dockerConfig": [SECRET]},
        f'{{"images": ["busybox"], "dockerConfig": "{SECRET}'.encode(),
        {"images": ["broken"], "dockerConfig": SECRET},
    ],
)
async def test_a_body_is_neither_logged_nor_repeated(
    served: Served, client: aiohttp.ClientSession, body: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    served.asks.refuse["refused"] = "no"
    served.asks.refuse["broken"] = 5  # type: ignore[assignment]  # makes the answer fail, as a mistake of ours would

    with capture_logs() as logs:
        _, said = await ask(client, body)

    printed = capfd.readouterr()
    for text in (said, repr(logs), printed.out, printed.err):
        assert SECRET not in text


async def test_asking_is_posting(client: aiohttp.ClientSession) -> None:
    async with client.get("/v1/pulls") as reply:
        assert reply.status == 405
        assert reply.headers["Allow"] == "POST"


async def test_a_client_that_leaves_in_the_middle_of_its_request_leaves_nothing_behind(
    served: Served, client: aiohttp.ClientSession
) -> None:
    _, writer = await asyncio.open_unix_connection(str(served.socket_path))
    writer.write(b'POST /v1/pulls HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n{"images":')
    await writer.drain()

    writer.transport.abort()

    assert (await ask(client, {"images": ["busybox"]}))[0] == 201
    assert len(served.asks.asked) == 1
