"""A command as a person or a script runs it: a process on a terminal of its own, or in a pipe."""

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

DEADLINE: Final = 30.0
"""Seconds after which a wait gives up."""
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")


@dataclass
class Command:
    """A running command. ``text`` is all that it has printed so far, on both streams."""

    process: "subprocess.Popen[bytes]"
    output: int
    raw: bytes = b""

    @property
    def text(self) -> str:
        """Its output without control sequences; a line that is drawn again is another line."""
        plain = _SEQUENCE.sub("", self.raw.decode(errors="replace"))
        return plain.replace("\r\n", "\n").replace("\r", "\n")

    def wait_for(self, text: str) -> None:
        """Wait until *text* is in the output."""
        until = time.monotonic() + DEADLINE
        while text not in self.text:
            assert self._read(until), f"the command ended without {text!r}:\n{self.text[-2000:]}"

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def ends(self) -> int:
        """Wait for the end and return the exit code."""
        until = time.monotonic() + DEADLINE
        while self._read(until):
            pass
        return self.process.wait(max(0.1, until - time.monotonic()))

    def _read(self, until: float) -> bool:
        """Take what came; False at the end of the output. Fails at *until*."""
        left = until - time.monotonic()
        ready = left > 0 and select.select([self.output], [], [], left)[0]
        assert ready, f"it did not come in time; the output ends with:\n{self.text[-2000:]}"
        try:
            found = os.read(self.output, 65536)
        except OSError:  # What a terminal answers when its last user is gone.
            return False
        self.raw += found
        return bool(found)


@contextmanager
def piped(*words: str, env: Mapping[str, str] | None = None) -> Iterator[Command]:
    """Run ``inplaced`` with both streams in one pipe."""
    reading, writing = os.pipe()
    with _run(("daemon", *words), reading, writing, {"TERM": "xterm-256color", **(env or {})}) as command:
        yield command


@contextmanager
def on_terminal(
    *words: str,
    columns: int = 120,
    rows: int = 24,
    env: Mapping[str, str] | None = None,
    module: str = "daemon",
) -> Iterator[Command]:
    """Run ``inplaced``, or another *module*, on a terminal of that size."""
    reading, writing = os.openpty()
    fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    with _run((module, *words), reading, writing, {"TERM": "xterm-256color", **(env or {})}) as command:
        yield command


@contextmanager
def _run(words: tuple[str, ...], reading: int, writing: int, env: Mapping[str, str]) -> Iterator[Command]:
    outer = {
        name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS", "LINES"}
    }
    with ExitStack() as cleanup:
        cleanup.callback(os.close, reading)
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", *words],
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                env={**outer, **env},
                start_new_session=True,
            )
        finally:
            os.close(writing)
        cleanup.callback(process.wait)
        cleanup.callback(process.kill)
        yield Command(process, reading)
