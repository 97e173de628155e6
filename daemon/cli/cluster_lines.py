"""How jobs come over nodes, as plain lines: for a pipe, a log, and for what has ended."""

import time
from collections.abc import Sequence
from typing import Final, TextIO

from daemon.cli.output import Paint, clean, took
from daemon.cli.reporting import Lines
from daemon.cli.shares import NodeFailure, Tracked, remark_of
from daemon.cli.why import UNSEEN

PAUSE: Final = 2.0
"""Seconds between two lines that only count on."""
ASKED: Final = "asked"
"""What is said of a job that was just made."""


def counts(tracked: Tracked) -> str:
    """How far a job is: nodes that have the image, that pull it, that failed."""
    status = tracked.job.status
    if status.start_time is None and not status.conditions:
        return _not_counted(tracked)
    said = [f"{status.succeeded} of {status.desired} nodes"]
    said += [f"{len(tracked.running)} pulling"] if tracked.running else []
    said += [f"{status.failed} failed"] if status.failed else []
    return ", ".join(said)


def _not_counted(tracked: Tracked) -> str:
    """The same while the job says nothing of itself: one of many tells it later than its nodes."""
    if tracked.running:
        return f"{len(tracked.running)} pulling"
    if tracked.shares or tracked.seconds <= UNSEEN:
        return ASKED
    return "nobody has taken it up; is the controller running?"


def result_line(tracked: Tracked, paint: Paint) -> str:
    """How one job ended, or where it was left."""
    image, status = clean(tracked.image), tracked.job.status
    if tracked.gone:
        return f"{paint('failed', 'red')}  {image}  the job was removed before its end was seen"
    if not tracked.ended:
        return f"{paint('pending', 'yellow')} {image}  after {took(tracked.seconds)}: {counts(tracked)}"
    if tracked.succeeded:
        return (
            f"{paint('ok', 'green')}      {image}  on {_nodes(status.succeeded)} in {took(tracked.seconds)}"
        )
    said = clean(remark_of(tracked.job))
    end = f": {said}" if said else ""
    return f"{paint('failed', 'red')}  {image}  {counts(tracked)} in {took(tracked.seconds)}{end}"


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"


def failure_lines(image: str, failure: NodeFailure, paint: Paint) -> list[str]:
    """Why an image is not on one node, with the remedy."""
    why = f"{failure.reason}: {clean(failure.message)}" if failure.message else failure.reason
    first = f"{paint('failed', 'red')}  {clean(image)} on {failure.node}  {why}"
    return [first, f"        remedy: {clean(failure.remedy)}"] if failure.remedy else [first]


class News:
    """The lines that were not told yet: failures of nodes, and ends."""

    def __init__(self, paint: Paint) -> None:
        self._paint = paint
        self._failed: set[tuple[str, str]] = set()
        self._ended: set[str] = set()

    def lines(self, every: Sequence[Tracked]) -> list[str]:
        """Each of them once."""
        found: list[str] = []
        for item in every:
            for failure in item.failures:
                if (item.name, failure.node) not in self._failed:
                    self._failed.add((item.name, failure.node))
                    found += failure_lines(item.image, failure, self._paint)
            if item.ended and item.name not in self._ended:
                self._ended.add(item.name)
                found.append(result_line(item, self._paint))
        return found


class LineReporter(Lines):
    """Writes a line for each failure and end, and now and then how far the jobs are."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._news = News(Paint(stream))
        self._counts: dict[str, str] = {}
        self._told_at = -PAUSE

    def show(self, every: Sequence[Tracked], *, away: bool = False) -> None:
        """Write what is new."""
        lines = [*self._absence(away=away), *self._news.lines(every)]
        if time.monotonic() - self._told_at >= PAUSE:
            lines += self._progress(every)
        self._write(lines)

    def _progress(self, every: Sequence[Tracked]) -> list[str]:
        lines = []
        for item in every:
            said = counts(item)
            if not item.ended and said not in {ASKED, self._counts.get(item.name)}:
                self._counts[item.name] = said
                lines.append(f"{clean(item.image)}: {said}")
        if lines:
            self._told_at = time.monotonic()
        return lines
