"""Entering the test bed: what runs inside dies with it, and nothing of it stays on the machine."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests.testbed import session
from tests.testbed.containerd import Containerd
from tests.testbed.fixtures import MakeContainerd
from tests.testbed.processes import Process, free_port, until

DEADLINE = 20.0
MARK = "4242.17"
"""An argument by which to know our sleeping process."""
IN_A_CGROUP = """
below=/sys/fs/cgroup/pids$INPLACED_TESTBED_CGROUP/x
mkdir -p $below
echo $$ > $below/cgroup.procs
"""

Enter = Callable[..., Process]


@pytest_asyncio.fixture
async def enter(testbed: session.Session, tmp_path: Path) -> AsyncIterator[Enter]:
    """Enters from here, which is a machine like any other, in a directory that must be empty afterwards."""
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        outside = dict.fromkeys((session.DIRECTORY_VARIABLE, session.CGROUP_VARIABLE), "")
        environ = outside | {"TMPDIR": str(tmp_path)}
        log = testbed.new_directory("e") / "log"
        process = Process([sys.executable, "-m", "tests.testbed.enter", *arguments], log, environ)
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        await process.kill()


async def test_the_command_s_status_is_the_status(enter: Enter) -> None:
    entered = enter("--", "sh", "-c", "exit 3")

    assert await entered.ended(DEADLINE) == 3


async def test_a_missing_command_is_said(enter: Enter) -> None:
    entered = enter("--", "no-such-program")

    assert await entered.ended(DEADLINE) == 127
    assert "cannot run no-such-program" in entered.tail()


async def test_inside_there_is_loopback_and_nothing_else(enter: Enter) -> None:
    entered = enter("--", "ip", "-brief", "address")

    assert await entered.ended(DEADLINE) == 0
    assert [line.split()[0] for line in entered.tail().splitlines()] == ["lo"]
    assert session.ADDRESS in entered.tail()


async def test_nothing_is_left_after_the_command(enter: Enter, tmp_path: Path) -> None:
    mount = "mkdir $INPLACED_TESTBED/m; mount -t tmpfs x $INPLACED_TESTBED/m;"

    entered = enter("--", "sh", "-c", f"{mount} {IN_A_CGROUP} sleep {MARK} & exit 0")

    assert await entered.ended(DEADLINE) == 0
    assert _left(tmp_path) == ([], [], [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_reaches_the_command(enter: Enter, tmp_path: Path, number: signal.Signals) -> None:
    # Whoever runs the tests under nohup hands an ignored SIGHUP down.
    entered = enter("--", "env", "--default-signal=HUP,TERM", "sleep", MARK)
    await until(_sleeping, timeout=DEADLINE, what="the command")

    entered.send(number)

    assert await entered.ended(DEADLINE) == 128 + number
    assert _left(tmp_path) == ([], [], [])


async def test_nothing_is_left_when_the_outside_is_killed(enter: Enter, tmp_path: Path) -> None:
    entered = enter("--", "sh", "-c", f"{IN_A_CGROUP} sleep {MARK}")
    await until(_sleeping, timeout=DEADLINE, what="the command")

    entered.send(signal.SIGKILL)

    await until(_nothing_left(tmp_path), timeout=DEADLINE, what="an empty machine")


async def test_a_published_port_is_served_outside(enter: Enter, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "page").write_text("hello from inside\n")
    server = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(tmp_path)]
    entered = enter("--publish", str(port), "--", *server, str(port))

    async with aiohttp.ClientSession() as http:
        await until(lambda: _serves(http, port), timeout=DEADLINE, what="the published port")
        async with http.get(f"http://127.0.0.1:{port}/page") as answer:
            text = await answer.text()

    assert text == "hello from inside\n"
    assert entered.running


async def test_a_small_disk_is_full_at_its_size(make_containerd: MakeContainerd) -> None:
    small = await make_containerd("1.6", disk_size=8 * 2**20)

    disk = os.statvfs(small.root)
    with pytest.raises(OSError, match="No space left"):
        (small.root / "filler").write_bytes(bytes(8 * 2**20))

    assert disk.f_blocks * disk.f_frsize == 8 * 2**20


async def test_a_frozen_containerd_takes_calls_and_answers_later(own_containerd: Containerd) -> None:
    own_containerd.freeze()
    asked = asyncio.create_task(own_containerd.ctr("version"))
    done, _ = await asyncio.wait([asked], timeout=0.2)

    own_containerd.thaw()

    assert not done
    assert "Server:" in await asked


async def test_a_containerd_that_cannot_start_shows_its_log(testbed: session.Session) -> None:
    broken = Containerd("1.6", testbed.new_directory("c"))
    (broken.directory / "disk").write_text("in the way")

    with pytest.raises(session.TestbedError, match="not a directory"):
        await broken.start()

    assert not broken.running


async def _sleeping() -> bool:
    return any(line == f"sleep {MARK}" for line in session.processes().values())


async def _serves(http: aiohttp.ClientSession, port: int) -> bool:
    try:
        async with http.get(f"http://127.0.0.1:{port}/"):
            return True
    except aiohttp.ClientError:
        return False


def _left(directory: Path) -> tuple[list[Path], list[str], list[Path]]:
    """Files, processes and cgroups that stayed."""
    processes = [line for line in session.processes().values() if MARK in line]
    cgroups = [path for path in session.CGROUPS.glob("**/inplaced-*/x") if path.is_dir()]
    return list(directory.iterdir()), processes, cgroups


def _nothing_left(directory: Path) -> Callable[[], Awaitable[bool]]:
    async def reached() -> bool:
        return _left(directory) == ([], [], [])

    return reached
