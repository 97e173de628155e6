"""Shows how a restart comes along: plain lines for a pipe or a log, a bar on a terminal."""

from typing import Final, Literal, TextIO

from daemon.cli.drawing import Drawing
from daemon.cli.output import Colour, Paint, clean, is_terminal
from daemon.cli.reporting import AWAY, Lines, Reporter
from daemon.cli.restarts import Progress, counts, end_line, line

_COLOURS: Final[dict[Literal["ok", "failed", "pending"], Colour]] = {
    "ok": "green",
    "failed": "red",
    "pending": "yellow",
}
_WIDTH: Final = 8
_BAR: Final = 30


def reporter(stream: TextIO) -> Reporter[Progress]:
    """The one that fits *stream*."""
    return BarReporter(stream) if is_terminal(stream) else LineReporter(stream)


def ending(progress: Progress, paint: Paint) -> str:
    """The last line."""
    word, said = end_line(progress)
    return f"{paint(word, _COLOURS[word])}{' ' * (_WIDTH - len(word))}{said}"


class News:
    """Failures that were not told yet."""

    def __init__(self, paint: Paint) -> None:
        self._paint = paint
        self._told: set[str] = set()

    def lines(self, progress: Progress) -> list[str]:
        """Each of them once."""
        fresh = [each for each in progress.failures if each.name not in self._told]
        self._told.update(each.name for each in fresh)
        return [f"{self._paint('failed', 'red')}  {clean(f'{each.name}: {each.message}')}" for each in fresh]


class LineReporter(Lines):
    """Writes a line for each change of the words in which the restart tells its state."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._news = News(Paint(stream))
        self._last = ""

    def show(self, progress: Progress, *, away: bool = False) -> None:
        """Write what is new."""
        lines = [*self._absence(away=away), *self._news.lines(progress)]
        said = line(progress)
        if not progress.ended and said != self._last:
            lines.append(said)
            self._last = said
        self._write(lines)


class BarReporter(Drawing):
    """Draws on one terminal."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._news = News(Paint(stream))

    def show(self, progress: Progress, *, away: bool = False) -> None:
        """Draw the bar anew; print failures above it."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        for each in self._news.lines(progress):
            self._console.print(Text.from_ansi(each), soft_wrap=True)
        if progress.ended:
            self._live.update(Text())
            return
        grid = Table.grid(padding=(0, 1, 0, 0))
        done = progress.restarted + progress.failed
        bar = ProgressBar(
            total=max(1, progress.total), completed=done, width=_BAR, pulse=not progress.message
        )
        grid.add_row(Text(clean(progress.target), style="bold"), bar, Text(counts(progress)))
        words = Text(f"  {AWAY if away else clean(progress.message)}", style="dim")
        self._live.update(Group(grid, words))
