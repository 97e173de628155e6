"""A server process of the test bed: started with a log file, awaited without polling, always stopped."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.testbed.session import TestbedError

POLL = 0.005
"""Seconds between two looks at a state for which there is no event."""


async def until(
    reached: Callable[[], Awaitable[bool]], *, timeout: float, what: str, pause: float = POLL
) -> None:
    """Wait until *reached* is true. Raises TestbedError, naming *what*, after *timeout* seconds."""
    deadline = time.monotonic() + timeout
    while not await reached():
        if time.monotonic() > deadline:
            raise TestbedError(f"{what}: not within {timeout:g} s")
        await asyncio.sleep(pause)


async def together(*work: Coroutine[Any, Any, object]) -> None:
    """Do all of it at once; when one part fails the others are ended, and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for part in work:
                group.create_task(part)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from failures


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port on which nothing listens."""
    with socket.create_server((host, 0)) as server:
        port: int = server.getsockname()[1]
        return port


@dataclass(slots=True, eq=False)
class Process:
    """One process. Usable from any event loop, since nothing is bound to the one that started it."""

    command: Sequence[str]
    log: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    """Added to our own environment."""
    _process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Raises TestbedError when it is not running."""
        if self._process is None:
            raise TestbedError(f"{self.command[0]} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; its output is appended to the log."""
        with self.log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    list(self.command),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=os.environ | dict(self.environ),
                )
            except FileNotFoundError as error:
                raise TestbedError(f"{self.command[0]} is missing: run `make setup`") from error

    async def stop(self, grace: float = 10.0) -> None:
        """Ask it to end, kill it after *grace* seconds, and return when it is gone."""
        if not self.running:
            return
        self.send(signal.SIGTERM)
        try:
            await self.ended(grace)
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End it with SIGKILL and return when it is gone."""
        if self.running:
            self.send(signal.SIGKILL)
            await self.ended(10.0)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    async def ended(self, timeout: float) -> int:
        """Wait for the end and return the exit status. Raises TimeoutError."""
        process = self._process
        assert process is not None
        if process.poll() is None:
            descriptor = os.pidfd_open(process.pid)
            try:
                async with asyncio.timeout(timeout):
                    await _readable(descriptor)
            finally:
                os.close(descriptor)
        return process.wait(timeout=1.0)

    def tail(self, lines: int = 40, since: int = 0) -> str:
        """The end of the log, from byte *since* on."""
        try:
            with self.log.open("rb") as file:
                file.seek(since)
                return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    def failed(self, what: str) -> TestbedError:
        """The error to raise when the process did not do what it was started for."""
        state = "runs" if self.running else f"ended with {self._process and self._process.returncode}"
        return TestbedError(f"{what} ({self.command[0]} {state}); its log {self.log}:\n{self.tail()}")


async def end_others(pids: Iterable[int], timeout: float = 10.0) -> None:
    """End processes that are not our children with SIGKILL, and return when they are gone."""
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            async with asyncio.timeout(timeout):
                await _readable(descriptor)
        except ProcessLookupError:
            continue
        finally:
            os.close(descriptor)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
