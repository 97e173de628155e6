"""The connection to a runtime: deadlines, cancels, losses, big replies."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpclib.const import Status

from daemon.cri.channel import Channel, method_name
from daemon.cri.client import LONGEST, CriClient
from daemon.cri.errors import (
    CallFailedError,
    CriError,
    NotFoundError,
    RuntimeDownError,
    TimedOutError,
    UnsupportedError,
)
from daemon.cri.types import Auth
from daemon.cri.v1 import runtime_pb2 as pb
from tests.fakes.runtime import FakeRuntime, serving

DEADLINE = 10.0
SHORT = 0.2


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[FakeRuntime]:
    async with serving(tmp_path / "cri.sock") as started:
        yield started


@pytest.fixture
async def channel(runtime: FakeRuntime) -> AsyncIterator[Channel]:
    async with Channel(str(runtime.path)) as opened:
        yield opened


@pytest.fixture
def client(channel: Channel) -> CriClient:
    return CriClient(channel, timeout=DEADLINE)


async def test_a_call_without_answer_ends_at_its_deadline(channel: Channel, runtime: FakeRuntime) -> None:
    runtime.hang("Version")
    client = CriClient(channel, timeout=SHORT)

    with pytest.raises(TimedOutError, match="Version: DEADLINE_EXCEEDED"):
        async with asyncio.timeout(DEADLINE):
            await client.version()


async def test_a_grace_period_without_end_is_as_long_as_a_runtime_can_count(
    client: CriClient, runtime: FakeRuntime
) -> None:
    await client.stop_container("gone", grace=float(2**63 - 1))

    assert [each.timeout for each in runtime.requests("StopContainer")] == [LONGEST]


async def test_a_deadline_leaves_the_callers_task_as_it_was(channel: Channel, runtime: FakeRuntime) -> None:
    runtime.hang("Version")
    task = asyncio.current_task()
    assert task is not None

    with pytest.raises(TimedOutError):
        await CriClient(channel, timeout=SHORT).version()

    assert task.cancelling() == 0


async def test_a_cancelled_pull_is_cancelled_in_the_runtime(client: CriClient, runtime: FakeRuntime) -> None:
    fault = runtime.hang("PullImage")
    pull = asyncio.create_task(client.pull_image("registry.test/app:v1", timeout=600))
    async with asyncio.timeout(DEADLINE):
        await fault.met.wait()

    pull.cancel()

    async with asyncio.timeout(DEADLINE):
        await fault.cancelled.wait()
    with pytest.raises(asyncio.CancelledError):
        await pull


async def test_other_calls_go_on_when_one_is_cancelled(client: CriClient, runtime: FakeRuntime) -> None:
    fault = runtime.hang("PullImage", times=2)
    runtime.node.offer("registry.test/kept:v1")
    cancelled = asyncio.create_task(client.pull_image("registry.test/app:v1", timeout=600))
    async with asyncio.timeout(DEADLINE):
        await fault.met.wait()
        kept = asyncio.create_task(client.pull_image("registry.test/kept:v1", timeout=600))
        cancelled.cancel()
        await fault.cancelled.wait()

        fault.released.set()
        image = await kept

    assert image in runtime.node.images


async def test_a_cancel_before_the_connection_is_made_sends_nothing(
    client: CriClient, runtime: FakeRuntime
) -> None:
    pull = asyncio.create_task(client.pull_image("registry.test/app:v1", timeout=600))

    pull.cancel()

    with pytest.raises(asyncio.CancelledError):
        await pull
    assert runtime.calls == []


async def test_a_runtime_that_vanishes_is_down(client: CriClient, runtime: FakeRuntime) -> None:
    fault = runtime.hang("PullImage")
    pull = asyncio.create_task(client.pull_image("registry.test/app:v1", timeout=600))
    async with asyncio.timeout(DEADLINE):
        await fault.met.wait()

    await runtime.stop()

    with pytest.raises(RuntimeDownError, match="PullImage: UNAVAILABLE"):
        async with asyncio.timeout(DEADLINE):
            await pull
    assert pull.cancelling() == 0


async def test_a_socket_that_nobody_serves_is_down(client: CriClient, runtime: FakeRuntime) -> None:
    await runtime.stop()

    with pytest.raises(RuntimeDownError):
        await client.version()


async def test_a_missing_socket_is_down(tmp_path: Path) -> None:
    async with Channel(str(tmp_path / "missing.sock")) as channel:
        with pytest.raises(RuntimeDownError, match="No such file"):
            await CriClient(channel).version()


async def test_a_call_after_the_runtime_returned_succeeds(client: CriClient, runtime: FakeRuntime) -> None:
    await client.version()
    await runtime.stop()
    with pytest.raises(RuntimeDownError):
        await client.version()

    await runtime.start()

    assert (await client.version()).runtime_name == "containerd"


async def test_a_closed_channel_can_be_used_again(client: CriClient, channel: Channel) -> None:
    await client.version()
    await channel.close()

    version = await client.version()

    assert version.runtime_name == "containerd"


async def test_closing_ends_calls_under_way(
    client: CriClient, channel: Channel, runtime: FakeRuntime
) -> None:
    fault = runtime.hang("PullImage")
    pull = asyncio.create_task(client.pull_image("registry.test/app:v1", timeout=600))
    async with asyncio.timeout(DEADLINE):
        await fault.met.wait()

    await channel.close()

    with pytest.raises(RuntimeDownError):
        async with asyncio.timeout(DEADLINE):
            await pull


async def test_a_cancel_in_the_moment_of_a_failure_is_a_cancel(
    client: CriClient, channel: Channel, runtime: FakeRuntime
) -> None:
    fault = runtime.hang("PullImage")
    pull = asyncio.create_task(client.pull_image("registry.test/app:v1", timeout=600))
    async with asyncio.timeout(DEADLINE):
        await fault.met.wait()

    await channel.close()  # does not give way: the call has not seen its end yet
    pull.cancel()

    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(DEADLINE):
            await pull


async def test_a_server_that_speaks_something_else_is_a_typed_error(tmp_path: Path) -> None:
    async def garbage(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\nthis is not HTTP/2, sorry\r\n")
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    path = tmp_path / "other.sock"
    server = await asyncio.start_unix_server(garbage, path)

    async with server, Channel(str(path)) as channel:
        with pytest.raises(CriError):
            await CriClient(channel, timeout=DEADLINE).version()


async def test_twenty_thousand_containers_arrive(client: CriClient, runtime: FakeRuntime) -> None:
    filler = "x" * 900
    for number in range(20_000):
        name = f"container-{number}"
        runtime.node.containers[name] = pb.ContainerStatus(id=name, annotations={"filler": filler})

    containers = await client.list_containers()

    assert len({container.id for container in containers}) == 20_000
    assert sum(len(container.annotations["filler"]) for container in containers) > 16 * 2**20


async def test_calls_beyond_the_streams_of_one_connection_wait_their_turn(
    client: CriClient, runtime: FakeRuntime
) -> None:
    versions = await asyncio.gather(*(client.version() for _ in range(300)))

    assert len(versions) == 300
    assert len(runtime.calls) == 300


async def test_each_call_is_told_to_the_observer(runtime: FakeRuntime) -> None:
    seen: list[tuple[str, str, float]] = []
    channel = Channel(str(runtime.path), observe=lambda *call: seen.append(call))
    client = CriClient(channel, timeout=DEADLINE)
    runtime.fail("ContainerStatus", Status.NOT_FOUND, "gone")
    fault = runtime.hang("PullImage")

    await client.version()
    with pytest.raises(NotFoundError):
        await client.container_status("c1")
    pull = asyncio.create_task(client.pull_image("registry.test/app:v1", timeout=600))
    async with asyncio.timeout(DEADLINE):
        await fault.met.wait()
    pull.cancel()
    await asyncio.wait([pull])
    await channel.close()

    named = [(method, code) for method, code, _ in seen]
    assert named == [("Version", "OK"), ("ContainerStatus", "NOT_FOUND"), ("PullImage", "CANCELLED")]
    assert all(0 <= seconds < DEADLINE for _, _, seconds in seen)


async def test_a_method_that_the_runtime_lacks_is_unsupported(
    client: CriClient, runtime: FakeRuntime
) -> None:
    runtime.fail("ContainerStats", Status.UNIMPLEMENTED, "unknown method ContainerStats")

    with pytest.raises(UnsupportedError):
        await client.container_stats("c1")


async def test_an_unknown_failure_of_another_call_is_no_pull_failure(
    client: CriClient, runtime: FakeRuntime
) -> None:
    runtime.fail("ListImages", Status.UNKNOWN, "manifest unknown")

    with pytest.raises(CallFailedError, match="ListImages: UNKNOWN: manifest unknown"):
        await client.list_images()


async def test_no_credentials_are_in_an_error_nor_in_its_chain(
    client: CriClient, runtime: FakeRuntime
) -> None:
    runtime.fail("PullImage", Status.UNKNOWN, "Get https://tester:s3cret@registry.test/v2/: EOF")

    with pytest.raises(CriError) as caught:
        await client.pull_image("registry.test/app:v1", timeout=DEADLINE, auth=Auth("tester", "s3cret"))

    assert "s3cret" not in str(caught.value) + repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_methods_of_cri_have_their_bare_name() -> None:
    assert method_name("/runtime.v1.ImageService/PullImage") == "PullImage"


def test_methods_of_a_runtimes_own_services_name_the_service() -> None:
    assert method_name("/containerd.services.content.v1.Content/Status") == "Content.Status"
