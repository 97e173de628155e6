"""Tells systemd that the process is up, alive and stopping; says nothing where nobody asked."""

import asyncio
from collections.abc import Mapping

from sdnotify import SystemdNotifier


class Watchdog:
    """Speaks to the service manager of *environ*; the loop's own turn is the sign of life."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._asked = "NOTIFY_SOCKET" in environ
        self._notifier = SystemdNotifier()
        microseconds = environ.get("WATCHDOG_USEC", "")
        self._seconds = int(microseconds) / 1e6 if microseconds.isdigit() else None

    def ready(self, status: str) -> None:
        """The process does its work now."""
        self._tell(f"READY=1\nSTATUS={status}")

    def stopping(self) -> None:
        """The process ends by itself."""
        self._tell("STOPPING=1")

    async def run(self) -> None:
        """Give a sign of life at a third of the interval that is watched, for as long as the loop turns."""
        if self._seconds is None or not self._asked:
            return
        while True:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(self._seconds / 3)

    def _tell(self, message: str) -> None:
        if self._asked:
            self._notifier.notify(message)
