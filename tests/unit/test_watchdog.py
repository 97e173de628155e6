"""What systemd hears of the process, on a real datagram socket."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from daemon.engine.watchdog import Watchdog

CHILD = """
import asyncio, os, sys
from daemon.engine.watchdog import Watchdog

async def main():
    stop, watchdog = asyncio.Event(), Watchdog(os.environ)
    alive = asyncio.create_task(watchdog.run())
    told = asyncio.create_task(watchdog.announce_stop(stop))
    watchdog.ready("watching /etc/\\N{LATIN SMALL LETTER O WITH STROKE}-\\N{SNOWMAN}")
    await asyncio.to_thread(sys.stdin.read)
    stop.set()
    await told
    alive.cancel()

asyncio.run(main())
"""
TIMEOUT = 20.0


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.settimeout(TIMEOUT)
        yield bound


def heard(manager: socket.socket, environ: dict[str, str], signs: int = 0) -> list[str]:
    """All messages of a child process that stops after that many signs of life."""
    env = os.environ | {"NOTIFY_SOCKET": manager.getsockname()} | environ
    with subprocess.Popen([sys.executable, "-c", CHILD], env=env, stdin=subprocess.PIPE) as child:
        try:
            messages = [manager.recv(4096).decode() for _ in range(1 + signs)]
            child.communicate(timeout=TIMEOUT)
        finally:
            child.kill()
    assert child.returncode == 0
    manager.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            messages.append(manager.recv(4096).decode())
    return messages


def test_a_watched_process_tells_ready_then_alive_then_stopping(manager: socket.socket) -> None:
    messages = heard(manager, {"WATCHDOG_USEC": "300000"}, signs=3)

    assert messages[0] == "READY=1\nSTATUS=watching /etc/\N{LATIN SMALL LETTER O WITH STROKE}-\N{SNOWMAN}"
    assert messages[1:4] == ["WATCHDOG=1"] * 3
    assert messages.count("STOPPING=1") == 1
    assert set(messages[1:]) == {"WATCHDOG=1", "STOPPING=1"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": ""},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "\xb2"},
        {"WATCHDOG_USEC": "300000", "WATCHDOG_PID": "1"},
    ],
    ids=["unset", "empty", "zero", "nonsense", "meant for another process"],
)
def test_a_process_that_is_not_watched_gives_no_signs_of_life(
    manager: socket.socket, environ: dict[str, str]
) -> None:
    messages = heard(manager, environ)

    assert [message.partition("\n")[0] for message in messages] == ["READY=1", "STOPPING=1"]


def test_a_manager_that_went_away_harms_nobody(tmp_path: Path) -> None:
    environ = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "300000"}

    command = [sys.executable, "-c", CHILD]
    ended = subprocess.run(
        command, env=environ, check=False, timeout=TIMEOUT, input="", capture_output=True, text=True
    )

    assert (ended.returncode, ended.stderr) == (0, "")


async def test_without_a_manager_nothing_is_said_and_nothing_waits() -> None:
    watchdog = Watchdog({"WATCHDOG_USEC": "1000"})

    watchdog.ready("working")
    async with asyncio.timeout(10):
        await watchdog.run()
