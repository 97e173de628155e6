"""Shows how a rollout comes along: plain lines for a pipe or a log, a table of the pods on a terminal."""

from typing import Final, TextIO

from daemon.cli.drawing import Drawing
from daemon.cli.output import Colour, is_terminal
from daemon.cli.reporting import AWAY, Lines, Reporter
from daemon.cli.rollouts import PodStep, Rollout, Step, headline

_COLOURS: Final[dict[Step, Colour]] = {
    "Changing": "yellow",
    "Held": "yellow",
    "Preparing": "yellow",
    "Starting": "yellow",
    "Done": "green",
    "Waiting": "dim",
    "Stays": "dim",
}
_COLUMNS: Final = ("POD", "NODE", "REVISION", "STEP", "RESTARTS", "REASON")


def reporter(stream: TextIO) -> Reporter[Rollout]:
    """The one that fits *stream*."""
    return TableReporter(stream) if is_terminal(stream) else LineReporter(stream)


class LineReporter(Lines):
    """Writes a line for each new state of the set, and for each new step of a pod."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._steps: dict[str, tuple[Step, str]] | None = None
        self._last = ""

    def show(self, rollout: Rollout, *, away: bool = False) -> None:
        """Write what is new."""
        lines = [*self._absence(away=away), *self._pods(rollout)]
        said = headline(rollout)
        if said != self._last and not rollout.done:
            lines.append(said)
            self._last = said
        self._write(lines)

    def _pods(self, rollout: Rollout) -> list[str]:
        """Pods whose step has changed; at first only those that are on their way."""
        now = {pod.name: (pod.step, pod.reason) for pod in rollout.pods}
        before, self._steps = self._steps, now
        if before is None:
            return [_line(pod) for pod in rollout.pods if pod.step not in {"Waiting", "Stays", "Done"}]
        return [_line(pod) for pod in rollout.pods if before.get(pod.name) != (pod.step, pod.reason)]


def _line(pod: PodStep) -> str:
    return f"  pod/{pod.name}: {pod.step}" + (f", {pod.reason}" if pod.reason else "")


class TableReporter(Drawing):
    """Draws on one terminal."""

    def show(self, rollout: Rollout, *, away: bool = False) -> None:
        """Draw the table anew, as many pods as fit."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        room = max(self._console.height - 4, 1)
        grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
        for number in range(len(_COLUMNS)):
            grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1 if number == 5 else None)
        grid.add_row(*(Text(each, style="bold") for each in _COLUMNS))
        for pod in rollout.pods[:room]:
            cells = (pod.name, pod.node, pod.revision, pod.step, str(pod.restarts), pod.reason)
            grid.add_row(*(Text(each, style=_COLOURS.get(pod.step, "")) for each in cells))
        more = len(rollout.pods) - room
        rest = [Text(f"and {more} more pods", style="dim")] if more > 0 else []
        words = Text(AWAY if away else headline(rollout), overflow="ellipsis", no_wrap=True)
        bar = Table.grid()  # a bar alone ends no line
        bar.add_row(ProgressBar(total=max(rollout.expected, 1), completed=rollout.updated, width=40))
        self._live.update(Group(words, bar, grid, *rest))
