"""``inplaced pull --direct`` against a container runtime on a real socket, without any agent."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpclib.const import Status

from daemon.__main__ import main
from daemon.cli.direct import without_hope
from daemon.cli.following import Followed
from daemon.debug.views import PullView
from daemon.names import PREFIX
from tests.fakes.command import Command, on_terminal, piped
from tests.fakes.containerd import PINNED, Served, serving_containerd
from tests.fakes.runtime import FakeRuntime

IMAGE = "registry.example/team/app:v2"
# The made-up registry cannot be asked; the machine's disk is not what is tested.
SETTINGS = {
    "INPLACED_MEASURE_IMAGES": "false",
    "INPLACED_DISK_FLOOR_MIB": "1",
    "INPLACED_DISK_RESERVE_PERCENT": "0",
}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving_containerd(tmp_path / "cri.sock") as served:
        served.node.mountpoint = str(tmp_path)
        yield served


@pytest.fixture
def runtime(served: Served) -> FakeRuntime:
    return served.runtime


def asking(runtime: FakeRuntime, *words: str) -> tuple[str, ...]:
    return ("pull", "--direct", "--runtime", str(runtime.path), *words)


async def ended(command: Command) -> int:
    """Its exit code. In a thread, as the runtime that it talks to is served by this one."""
    return await asyncio.to_thread(command.ends)


async def test_an_image_is_pulled_without_an_agent(runtime: FakeRuntime) -> None:
    runtime.node.offer(IMAGE)

    with piped(*asking(runtime, IMAGE), env=SETTINGS) as command:
        code = await ended(command)

    assert code == 0
    assert f"{IMAGE}: waiting\n" in command.text
    assert f"ok      {IMAGE}  on the node after" in command.text
    assert [request.image.image for request in runtime.requests("PullImage")] == [IMAGE]


async def test_an_image_that_is_there_is_not_pulled_unless_always(runtime: FakeRuntime) -> None:
    image = runtime.node.offer(IMAGE)
    runtime.node.images[image.id] = image

    with piped(*asking(runtime, IMAGE), env=SETTINGS) as command:
        code = await ended(command)
    before = runtime.requests("PullImage")
    with piped(*asking(runtime, IMAGE, "--always"), env=SETTINGS) as again:
        await ended(again)

    assert code == 0
    assert f"ok      {IMAGE}  was on the node already" in command.text
    assert before == []
    assert len(runtime.requests("PullImage")) == 1


async def test_a_missing_image_fails_with_its_reason_and_remedy(runtime: FakeRuntime) -> None:
    with piped(*asking(runtime, "registry.example/nope:1", "--retries", "0"), env=SETTINGS) as command:
        code = await ended(command)

    assert code == 1
    assert "failed  registry.example/nope:1  ImageNotFound: " in command.text
    assert "remedy: " in command.text


async def test_credentials_of_the_file_are_sent_and_never_shown(runtime: FakeRuntime, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"auths": {"registry.example": {"username": "me", "password": "s3cr3t"}}}')
    file.chmod(0o600)
    runtime.fail("PullImage", Status.PERMISSION_DENIED, "pull access denied")

    with piped(*asking(runtime, IMAGE, "--creds-file", str(file), "--retries", "0"), env=SETTINGS) as command:
        code = await ended(command)

    assert code == 1
    assert [request.auth.password for request in runtime.requests("PullImage")] == ["s3cr3t", ""]
    assert "s3cr3t" not in command.text


async def test_a_disk_without_room_is_a_failure_at_once(runtime: FakeRuntime) -> None:
    full = SETTINGS | {"INPLACED_DISK_FLOOR_MIB": str(2**31 - 1)}

    with piped(*asking(runtime, IMAGE), env=full) as command:
        code = await ended(command)

    assert code == 1
    assert f"failed  {IMAGE}  NoSpace: " in command.text
    assert runtime.requests("PullImage") == []


async def test_pins_are_left_alone(served: Served) -> None:
    image = served.node.offer(IMAGE)
    other = served.node.offer("registry.example/other:1")
    served.node.images[image.id] = image
    served.node.images[other.id] = other
    served.containerd.label("registry.example/other:1", {PINNED[0]: PINNED[1], f"{PREFIX}pin": "x"})

    with piped(*asking(served.runtime, IMAGE), env=SETTINGS) as command:
        code = await ended(command)

    assert code == 0
    assert {call for call in served.containerd.calls if not call.startswith("Content.")} == set()


async def test_json_names_no_job(runtime: FakeRuntime) -> None:
    image = runtime.node.offer(IMAGE)
    runtime.node.images[image.id] = image

    with piped(*asking(runtime, IMAGE, "--output", "json"), env=SETTINGS) as command:
        await ended(command)

    found = json.loads(command.text[command.text.index("{\n") :])
    assert [(item["image"], item["job"], item["result"]) for item in found["results"]] == [
        (IMAGE, "", "Succeeded")
    ]


async def test_ctrl_c_ends_the_pull_in_the_runtime_too(runtime: FakeRuntime) -> None:
    runtime.node.offer(IMAGE)
    pulling = runtime.hang("PullImage")

    with on_terminal(*asking(runtime, IMAGE), env=SETTINGS) as command:
        async with asyncio.timeout(30):
            await pulling.met.wait()
        await asyncio.to_thread(command.wait_for, "pulling")
        command.interrupt()
        code = await ended(command)
        async with asyncio.timeout(30):
            await pulling.cancelled.wait()

    assert code == 130
    assert "interrupted; the pulls ended with this command" in command.text
    assert "Traceback" not in command.text


async def test_a_wait_that_is_too_long_ends_the_pull(runtime: FakeRuntime) -> None:
    runtime.node.offer(IMAGE)
    pulling = runtime.hang("PullImage")

    with piped(*asking(runtime, IMAGE, "--wait-timeout", "1"), env=SETTINGS) as command:
        code = await ended(command)
        async with asyncio.timeout(30):
            await pulling.cancelled.wait()

    assert code == 4
    assert "waited too long; the pulls ended with this command" in command.text
    assert f"pending {IMAGE}  pulling after " in command.text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--runtime", "/x.sock"], "--runtime '/x.sock' is for --direct"),
        (["--direct", "--no-wait"], "--no-wait is not allowed with --direct"),
        (["--direct", "--ttl", "1h"], "--ttl '1h' is not allowed with --direct"),
        (["--direct", "--runtime", "x.sock"], "--runtime: 'x.sock' is not allowed"),
        (["--direct", "--runtime", f"/{'x' * 120}"], "is longer than the 107 bytes of a unix socket's path"),
    ],
)
def test_what_makes_no_sense_together_is_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["pull", "a:1", *words])

    assert code == 2
    assert said in capsys.readouterr().err


def test_a_wrong_setting_of_the_environment_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INPLACED_PULL_WORKERS", "many")

    code = main(["pull", "a:1", "--direct"])

    assert code == 2
    assert "INPLACED_PULL_WORKERS: 'many' is not allowed" in capsys.readouterr().err


def test_no_runtime_is_told_with_the_ways_out(tmp_path: Path) -> None:
    runtime = str(tmp_path / "none.sock")

    with piped("pull", "a:1", "--direct", "--runtime", runtime, "--wait-timeout", "1s") as command:
        code = command.ends()

    assert code == 3
    assert f"no container runtime found at {tmp_path}/none.sock" in command.text
    assert "name its socket with --runtime" in command.text


def test_an_image_that_waits_for_room_is_given_up_when_no_pull_runs_any_more() -> None:
    short = PullView(image="b:1", phase="Waiting", reason="NoSpace", message="too full", remedy="make room")
    running = Followed("a:1", "", pull=PullView(image="a:1", phase="Pulling"))
    waiting = Followed("b:1", "", pull=short)
    done = Followed("a:1", "", pull=PullView(image="a:1", phase="Succeeded"), result="Succeeded")

    meanwhile = without_hope([running, waiting])
    after = without_hope([done, waiting])

    assert meanwhile == [running, waiting]
    assert [(item.result, item.reason) for item in after] == [("Succeeded", ""), ("Failed", "NoSpace")]
