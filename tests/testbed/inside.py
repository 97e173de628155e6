"""Process 1 of the test bed's PID namespace: makes the inside usable, runs the command, reaps, cleans up.

When this process ends the kernel kills everything else in the namespace. Standard library only.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from tests.testbed import session

HOSTS = f"""\
127.0.0.1 localhost
::1 localhost
{session.ADDRESS} {session.HOST_NAME}
"""


def prepare(directory: Path) -> None:
    """Bring loopback up, and put private files where programs insist on fixed paths."""
    addresses = f"link set lo up\naddress add {session.ADDRESS}/32 dev lo\n"
    subprocess.run(["ip", "-batch", "-"], input=addresses, text=True, check=True)
    # containerd's shims have their sockets in /run/containerd whatever the configuration says.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "run", "/run"], check=True)
    for name in ("lock", "containerd"):
        Path("/run", name).mkdir()
    hosts = directory / "hosts"
    hosts.write_text(HOSTS)
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)


class Init:
    """Runs one command as the namespace's process 1."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._command = 0

    async def run(self, command: Sequence[str], listeners: Mapping[socket.socket, str]) -> int:
        """Run *command* to its end and return its exit status; *listeners* lead to a host:port each."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        loop.add_reader(self._control, self._obey)
        for listener, target in listeners.items():
            await asyncio.start_server(partial(_relay, target), sock=listener)
        try:
            self._command = _spawn(command)
        except OSError as error:
            print(f"error: cannot run {command[0]}: {error.strerror}", file=sys.stderr)
            return 127
        return await self._ended

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._command and not self._ended.done():
                code = os.waitstatus_to_exitcode(status)
                self._ended.set_result(code if code >= 0 else 128 - code)

    def _obey(self) -> None:
        numbers = self._control.recv(16)
        if not numbers and not self._ended.done():  # The outside was killed.
            self._ended.set_result(128 + signal.SIGKILL)
        for number in numbers:
            if self._command:
                os.kill(self._command, number)


async def _relay(target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    host, _, port = target.rpartition(":")
    try:
        there_reader, there_writer = await asyncio.open_connection(host, int(port))
    except OSError:
        writer.close()
        return
    await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))


def _spawn(command: Sequence[str]) -> int:
    """Start without a child watcher of asyncio's: process 1 reaps everything itself."""
    default = [signal.SIGINT, signal.SIGPIPE]
    return os.posix_spawnp(command[0], list(command), os.environ, setsigdef=default)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


def kill_all() -> None:
    """Kill every other process of the namespace and wait until the last one is gone."""
    try:
        os.kill(-1, signal.SIGKILL)
        while True:
            os.waitpid(-1, 0)
    except (ProcessLookupError, ChildProcessError):
        return


async def _main(descriptors: Sequence[str], command: Sequence[str]) -> int:
    control, *published = descriptors
    parts = (each.split("=", 1) for each in published)
    listeners = {socket.socket(fileno=int(number)): target for number, target in parts}
    return await Init(socket.socket(fileno=int(control))).run(command, listeners)


def main(arguments: Sequence[str]) -> int:
    """Prepare, run, and leave nothing behind, also when the outside was killed and cannot clean up."""
    current = session.current_session()
    prepare(current.directory)
    status = asyncio.run(_main(arguments[0].split(","), arguments[1:]))
    kill_all()
    session.remove_cgroup(current.cgroup)
    os.chdir("/")
    session.remove_tree(current.directory)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
