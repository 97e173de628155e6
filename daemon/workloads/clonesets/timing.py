"""How long the steps of updates in place take."""

from dataclasses import dataclass

from daemon.engine.clock import Clock
from daemon.metrics import Metrics


@dataclass(slots=True)
class _Way:
    step: str
    step_at: float


class StepTimes:
    """Observes each step when it is over, and the whole."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._ways: dict[str, _Way] = {}

    def begin(self, uid: str) -> None:
        """A pod's update begins, or goes on."""
        now = self._clock.monotonic()
        self._ways.setdefault(uid, _Way("Begin", now))

    def at(self, uid: str, step: str) -> None:
        """It has come to *step*."""
        way = self._ways.get(uid)
        if way is not None and way.step != step:
            self._observe(way)
            way.step, way.step_at = step, self._clock.monotonic()

    def end(self, uid: str, *, counted: bool) -> None:
        """It is over; *counted* unless nothing was to be done."""
        way = self._ways.pop(uid, None)
        if way is None or not counted:
            return
        self._observe(way)
        self._metrics.pod_updates.labels("InPlace").inc()

    def drop(self, uid: str) -> None:
        """It came to no end."""
        self._ways.pop(uid, None)

    def _observe(self, way: _Way) -> None:
        self._metrics.pod_update_steps.labels(way.step).observe(self._clock.monotonic() - way.step_at)
