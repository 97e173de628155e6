"""Progress as plain lines, for a pipe or a log: one a change of state, and now and then how far a pull is."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TextIO

from daemon.cli.following import Followed
from daemon.cli.output import Paint, age, clean, rate, size, took
from daemon.cli.reporting import Lines
from daemon.debug.views import PullView

STEP: Final = 10
"""Percent after which a pull's progress is told again."""
PAUSE: Final = 5.0
"""Seconds after which it is told again when it moved by less."""


def result_lines(item: Followed, paint: Paint) -> list[str]:
    """How one image ended, with the remedy of a failure."""
    name = clean(item.image)
    if item.result == "Succeeded":
        return [f"{paint('ok', 'green')}      {name}  {_fetched(item)}"]
    if item.result == "Unfinished":
        return [f"{paint('pending', 'yellow')} {name}  {item.phase.lower()} after {took(item.seconds)}"]
    reason = f"{item.reason or 'Failed'}: {clean(item.message)}" if item.message else item.reason or "Failed"
    first = f"{paint('failed', 'red')}  {name}  {reason} (after {took(item.seconds)})"
    return [first, f"        remedy: {clean(item.remedy)}"] if item.remedy else [first]


def _fetched(item: Followed) -> str:
    pull = item.pull
    if pull is not None and pull.started_at is None:
        return "was on the node already"
    reused = f", {size(pull.bytes_reused)} reused" if pull is not None and pull.bytes_reused else ""
    if pull is not None and pull.bytes_done:
        return f"{size(pull.bytes_done)} fetched in {took(item.seconds)}{reused}"
    return f"on the node after {took(item.seconds)}{reused}"


def summary(every: Sequence[Followed], seconds: float) -> str:
    """One line over all images."""
    counts = {
        word: sum(item.result == word for item in every) for word in ("Succeeded", "Failed", "Unfinished")
    }
    said = ", ".join(f"{count} {word.lower()}" for word, count in counts.items() if count)
    fetched = sum(item.pull.bytes_done for item in every if item.pull)
    bytes_said = f", {size(fetched)} fetched" if fetched else ""
    return f"{len(every)} image{'s' if len(every) != 1 else ''}: {said} in {took(seconds)}{bytes_said}"


def progress(pull: PullView) -> str:
    """How far a pull is: percent, bytes, rate, time left."""
    total = f" of {size(pull.bytes_total)}" if pull.bytes_total else ""
    said = [f"{size(pull.bytes_done)}{total}"] if pull.bytes_done or total else []
    said += [rate(pull.rate)] if pull.rate else []
    said += [f"{age(pull.seconds_left)} left"] if pull.seconds_left is not None else []
    return f"{pull.percent} %" + (f" ({', '.join(said)})" if said else "")


@dataclass(slots=True)
class _Told:
    """What the last line of one image said."""

    state: tuple[str, ...] = ()
    percent: int = 0
    at: float = 0.0


class LineReporter(Lines):
    """Writes lines. Failures go to *err*, so that they are seen when *out* goes to a file."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        super().__init__(out)
        self._err = err
        self._told: dict[str, _Told] = {}

    def show(self, every: Sequence[Followed], *, away: bool = False) -> None:
        """Write what is new."""
        self._write(self._absence(away=away, said="the agent is away; waiting for it"), self._err)
        for item in every:
            self._tell(item, self._told.setdefault(item.image, _Told()))

    def _tell(self, item: Followed, told: _Told) -> None:
        pull = item.pull
        stream = self._err if item.result == "Failed" else self._stream
        # Compared as text: between two attempts the phase changes, the reason to wait does not.
        state = _state(item, Paint(stream)) or told.state
        if state != told.state:
            self._write(state, stream)
            told.state, told.percent, told.at = state, 0, time.monotonic()
        elif pull is not None and item.phase == "Pulling" and self._is_due(pull, told):
            self._write([f"{clean(item.image)}: pulling {progress(pull)}"])
            told.percent, told.at = pull.percent - pull.percent % STEP, time.monotonic()

    def _is_due(self, pull: PullView, told: _Told) -> bool:
        moved = pull.percent - told.percent
        return moved >= STEP or (moved > 0 and time.monotonic() - told.at >= PAUSE)


def _state(item: Followed, paint: Paint) -> tuple[str, ...]:
    """The lines that say where an image is; none while its pull has ended and its job is about to."""
    if item.ended:
        return tuple(result_lines(item, paint))
    if item.phase in {"Succeeded", "Failed"}:
        return ()
    held_up = item.pull is not None and is_held_up(item.pull)
    return (f"{clean(item.image)}: {setback(item.pull) if item.pull and held_up else item.phase.lower()}",)


def is_held_up(pull: PullView) -> bool:
    """Whether the pull waits for more than its turn."""
    return pull.phase == "BackingOff" or (pull.phase == "Waiting" and bool(pull.reason))


def setback(pull: PullView) -> str:
    """Why a pull pauses."""
    tries = f"attempt {pull.failures} failed" if pull.failures else "waits"
    why = ": ".join(part for part in (pull.reason, clean(pull.message)) if part)
    return f"{tries}, {why}" if why else tries
