"""A clock that is set by the test."""

import asyncio
from datetime import UTC, datetime, timedelta

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


class FakeClock:
    """Both clocks stand still until ``pass_by`` moves them together."""

    def __init__(self, now: datetime = NOON) -> None:
        self._now = now
        self._seconds = 1000.0

    def now(self) -> datetime:
        """Wall time."""
        return self._now

    def monotonic(self) -> float:
        """Seconds."""
        return self._seconds

    def pass_by(self, seconds: float) -> None:
        """Let time go by."""
        self._now += timedelta(seconds=seconds)
        self._seconds += seconds


class LoopClock:
    """Both clocks are the running loop's, so that they move with its timers."""

    def now(self) -> datetime:
        """Wall time."""
        return NOON + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Seconds."""
        return asyncio.get_running_loop().time()
