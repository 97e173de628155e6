"""Wall time as the API server has it: what one process writes, another one on another machine compares."""

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import structlog

log = structlog.get_logger()

_RESOLUTION = 1.0
"""Seconds that an HTTP date may be behind: it is cut off to seconds (RFC 9110, 5.6.7)."""
_WORTH_TELLING = 10.0
"""Seconds that the machine's clock may differ from the server's before that is a warning."""


class ServerClock:
    """The machine's wall time at first, later corrected by the date of each answer; it never waits for one.

    Between answers it goes on by the monotonic clock, so that setting the machine's clock moves nothing. An
    answer says only between which two moments the server's time was; as long as ours lies between them, it
    stays as it is.
    """

    def __init__(self) -> None:
        self._ahead = self._machines()
        """Seconds since the epoch less those of the monotonic clock."""
        self._told = 0.0

    def now(self) -> datetime:
        """Wall time in UTC, microseconds cut off as in API objects."""
        return self.precise().replace(microsecond=0)

    def precise(self) -> datetime:
        """Wall time in UTC with microseconds, as in Leases: two renewals in one second are not the same."""
        return datetime.fromtimestamp(time.monotonic() + self._ahead, UTC)

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()

    @property
    def skew(self) -> float:
        """Seconds by which the machine's clock is ahead of the server's."""
        return self._machines() - self._ahead

    def hear(self, date: str | None, asked: float, answered: float) -> None:
        """Take in the ``Date`` of an answer, between two times of the monotonic clock."""
        try:
            told = parsedate_to_datetime(date or "").timestamp()
        except ValueError:  # some proxies send none, or what is no date
            return
        earliest, latest = told - answered, told + _RESOLUTION - asked
        self._ahead = min(max(self._ahead, earliest), latest)
        self._warn()

    def _warn(self) -> None:
        skew = self.skew
        if abs(skew) < _WORTH_TELLING:
            self._told = 0.0
        elif abs(skew - self._told) >= _WORTH_TELLING:
            self._told = skew
            log.warning("this machine's clock differs from the API server's, which counts", ahead=round(skew))

    @staticmethod
    def _machines() -> float:
        return time.time() - time.monotonic()
