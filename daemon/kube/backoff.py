"""How long to wait after a failure: longer each time, never the same for all."""

import random


class Backoff:
    """Delays in seconds, doubling from *first* up to *longest*, each less up to a half by chance."""

    def __init__(self, first: float = 0.2, longest: float = 15.0) -> None:
        self._first = first
        self._longest = longest
        self._failures = 0

    def reset(self) -> None:
        """Start anew, after a success."""
        self._failures = 0

    def next(self) -> float:
        """The delay after one more failure."""
        delay = min(self._first * 2.0 ** min(self._failures, 32), self._longest)
        self._failures += 1
        return delay * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, is no secret
