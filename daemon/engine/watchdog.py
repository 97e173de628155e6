"""Tells systemd that the process is up, alive and stopping; says nothing where nobody asked.

The variables are those of sd_notify(3) and sd_watchdog_enabled(3).
"""

import asyncio
import os
from collections.abc import Mapping

from sdnotify import SystemdNotifier

_PATIENCE = 1.0
"""Seconds that the loop stands still at most when the service manager's queue is full."""


class Watchdog:
    """Speaks to the service manager of this process; the loop's own turn is the sign of life.

    *environ* tells whether it wants to hear anything; the library reads the address from ``os.environ``.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def ready(self, status: str) -> None:
        """The process does its work now; *status* is shown by ``systemctl status``."""
        self._tell(f"READY=1\nSTATUS={status}")

    async def announce_stop(self, stop: asyncio.Event) -> None:
        """Tell that the process ends by itself, as soon as it has begun to: when *stop* is set."""
        await stop.wait()
        self._tell("STOPPING=1")

    async def run(self) -> None:
        """Give a sign of life at a third of the interval that is watched, for as long as the loop turns."""
        seconds = self._watched()
        while seconds:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(seconds / 3)

    def _watched(self) -> float:
        """The interval in seconds, 0 if this process is not watched."""
        microseconds = self._environ.get("WATCHDOG_USEC", "")
        process = self._environ.get("WATCHDOG_PID", "") or str(os.getpid())
        mine = process == str(os.getpid()) and "NOTIFY_SOCKET" in self._environ
        return int(microseconds) / 1e6 if mine and microseconds.isascii() and microseconds.isdigit() else 0.0

    def _tell(self, message: str) -> None:
        if "NOTIFY_SOCKET" not in self._environ:
            return
        notifier = SystemdNotifier()
        if notifier.socket is None:  # nobody is there: not worth a word each time
            return
        with notifier.socket:
            notifier.socket.settimeout(_PATIENCE)
            # The library encodes as Latin-1 and drops what that lacks; systemd wants UTF-8.
            notifier.notify(message.encode(errors="replace").decode("latin-1"))
