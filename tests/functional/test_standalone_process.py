"""The standalone process as systemd and a person see it, where no runtime answers."""

import asyncio
import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.other_users import NOBODY, as_root, ask_as, open_directory

__all__ = ["open_directory"]

TIMEOUT = 30.0


class Manager:
    """A service manager that listens on a socket, and the process that it started."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(directory / "notify"))
        self.notify.settimeout(TIMEOUT)
        self.process: subprocess.Popen[str] | None = None
        (directory / "manifests").mkdir()

    def start(self, *flags: str, **environ: str) -> "subprocess.Popen[str]":
        settings = {
            "INPLACED_MANIFESTS": str(self.directory / "manifests"),
            "INPLACED_STATE": str(self.directory / "state"),
            "INPLACED_SOCKET": str(self.directory / "agent.sock"),
            "INPLACED_RUNTIME": str(self.directory / "nobody.sock"),
            "INPLACED_LISTEN": "",
            "NOTIFY_SOCKET": str(self.directory / "notify"),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "daemon", "standalone", *flags],
            env=os.environ | settings | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self.process

    def hear(self) -> str:
        """The next message."""
        return self.notify.recv(4096).decode()

    def hear_until(self, message: str) -> list[str]:
        """All messages before that one."""
        heard = []
        while (next_one := self.hear()) != message:
            heard.append(next_one)
        return heard

    def status(self, path: str) -> int:
        """HTTP status of a probe on the process's socket."""
        connection = http.client.HTTPConnection("localhost", timeout=TIMEOUT)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(TIMEOUT)
        connection.sock.connect(str(self.directory / "agent.sock"))
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
        self.notify.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.close()


def test_it_tells_ready_then_alive_then_stopping_in_order(manager: Manager) -> None:
    process = manager.start(WATCHDOG_USEC="300000")

    first, *alive = (manager.hear() for _ in range(4))
    process.send_signal(signal.SIGTERM)
    more = manager.hear_until("STOPPING=1")
    process.communicate(timeout=TIMEOUT)

    assert first == f"READY=1\nSTATUS=watching {manager.directory / 'manifests'}"
    assert set(alive + more) == {"WATCHDOG=1"}
    assert process.returncode == 0


def test_without_a_runtime_it_is_alive_but_not_ready(manager: Manager) -> None:
    manager.start()
    manager.hear()

    assert (manager.status("/livez"), manager.status("/readyz")) == (200, 503)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_and_its_log_is_json(manager: Manager, number: signal.Signals) -> None:
    process = manager.start()
    manager.hear()

    process.send_signal(number)
    _, log = process.communicate(timeout=TIMEOUT)

    assert process.returncode == 0
    assert all(line.startswith('{"') and line.endswith("}") for line in log.splitlines())
    assert '"event": "stopping"' in log
    assert not (manager.directory / "agent.sock").exists()


def test_a_wrong_setting_ends_it_at_once_with_2_and_one_line(manager: Manager) -> None:
    process = manager.start("--pull-workers", "0")

    out, error = process.communicate(timeout=TIMEOUT)

    assert (process.returncode, out) == (2, "")
    assert error == (
        "--pull-workers: '0' is not allowed. Pulls at the same time on this node. "
        "Allowed: a whole number, at least 1, at most 64.\n"
    )


def test_a_state_that_cannot_be_used_ends_it_with_1_and_one_line(manager: Manager) -> None:
    (manager.directory / "state").write_text("a file")

    process = manager.start()
    _, error = process.communicate(timeout=TIMEOUT)

    assert process.returncode == 1
    assert error.splitlines()[-1].startswith("inplaced standalone: ")
    assert "Traceback" not in error


@as_root
async def test_the_socket_is_open_to_the_users_that_are_allowed_and_to_no_other(
    manager: Manager, open_directory: Path
) -> None:
    path = open_directory / "agent.sock"
    manager.start("--allowed-uids", f"{NOBODY},1", INPLACED_SOCKET=str(path))
    await asyncio.to_thread(manager.hear)

    allowed, other = await ask_as(NOBODY, path), await ask_as(NOBODY - 1, path)

    assert allowed.startswith("HTTP/1.0 200 ")
    assert other.startswith("HTTP/1.0 403 ")
    assert f"user id {NOBODY - 1} may not talk to the agent" in other


@as_root
async def test_by_default_no_other_user_opens_the_socket(manager: Manager, open_directory: Path) -> None:
    path = open_directory / "agent.sock"
    manager.start(INPLACED_SOCKET=str(path))
    await asyncio.to_thread(manager.hear)

    answer = await ask_as(NOBODY, path)

    assert answer == "PermissionError\n"


def test_a_second_process_of_the_same_state_is_refused(manager: Manager) -> None:
    first = manager.start()
    manager.hear()

    second = manager.start(INPLACED_SOCKET="")
    _, error = second.communicate(timeout=TIMEOUT)
    manager.process = first

    assert second.returncode == 1
    assert "Traceback" not in error
    assert manager.status("/livez") == 200
