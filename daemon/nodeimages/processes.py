"""Runs a program to its end: fed once, its output bounded, dead for certain when its time is up."""

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

_LARGEST_OUTPUT = 2**20
_KEPT_STDERR = 4096
_LAST_WORDS = 5.0
"""Seconds that a killed program's pipes are waited for."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. Its environment may hold secrets."""

    program: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Finished:
    """How it ended. Outputs may hold secrets."""

    code: int
    """Exit code, or minus the number of the signal that ended it."""
    output: bytes | None = field(repr=False)
    """None when it was larger than 1 MiB, for which the program is killed."""
    complaint: bytes = field(repr=False)
    """The first 4 KiB of what it wrote to stderr."""


async def run(command: Command, request: bytes, *, timeout: float) -> Finished:
    """Run *command* with *request* on its stdin.

    Raises TimeoutError after *timeout* seconds, and OSError when it does not start. Its whole process group
    is killed when its time is up, and on cancel.
    """
    async with asyncio.timeout(timeout):
        process = await _start(command)
        try:
            return await _converse(process, request)
        except BaseException:
            await _end(process)
            raise


async def _start(command: Command) -> Process:
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            command.program,
            *command.arguments,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=command.environment,
            start_new_session=True,
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        # A cancelled start leaves the children of the program alive, and may wait for ever (asyncio, 3.11).
        # It is short: let it end, then end what it started.
        with suppress(OSError):
            await _end(await starting)
        raise


async def _converse(process: Process, request: bytes) -> Finished:
    async with asyncio.TaskGroup() as group:
        group.create_task(_feed(process, request))
        output = group.create_task(_output(process))
        complaint = group.create_task(_complaint(process))
    return Finished(await process.wait(), output.result(), complaint.result())


async def _feed(process: Process, request: bytes) -> None:
    assert process.stdin is not None
    # A program need not read what it is told.
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(request)
        await process.stdin.drain()
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.close()
        await process.stdin.wait_closed()


async def _output(process: Process) -> bytes | None:
    assert process.stdout is not None
    output = bytearray()
    too_large = False
    while chunk := await process.stdout.read(65536):
        if too_large:
            continue  # What was in the pipe already when it was killed.
        output += chunk
        if too_large := len(output) > _LARGEST_OUTPUT:
            _kill(process)
    return None if too_large else bytes(output)


async def _complaint(process: Process) -> bytes:
    assert process.stderr is not None
    kept = b""
    while chunk := await process.stderr.read(65536):
        kept = (kept + chunk)[:_KEPT_STDERR]  # The rest is read too, lest the program hang on a full pipe.
    return kept


def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


async def _end(process: Process) -> None:
    _kill(process)
    # A program that left its process group may hold the pipes open for ever.
    with suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORDS):
            await process.communicate()
