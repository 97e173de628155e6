"""How jobs come over nodes, as bars: one for each job, and below it one for each node that pulls now."""

from collections.abc import Sequence
from typing import Final, TextIO

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from daemon.cli.bars import elide
from daemon.cli.cluster_lines import News, counts
from daemon.cli.drawing import Drawing
from daemon.cli.output import Paint, clean
from daemon.cli.shares import Share, Tracked

_BAR: Final = 24
_NAME: Final = 44
_LEAST_NAME: Final = 16
_NODES: Final = 6
"""Nodes that are shown of one job at most."""


class BarReporter(Drawing):
    """Draws on one terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._news = News(Paint(stream))
        self._every: tuple[Tracked, ...] = ()
        self._away = False
        super().__init__(stream, self._render)

    def show(self, every: Sequence[Tracked], *, away: bool = False) -> None:
        """Draw the bars anew at the next refresh; print what ended or failed above them."""
        self._every, self._away = tuple(every), away
        for line in self._news.lines(every):
            self._console.print(Text.from_ansi(line), soft_wrap=True)

    def _render(self) -> RenderableType:
        running = [item for item in self._every if not item.ended]
        if not running:
            return Text()
        room = max(1, self._console.height - 2)
        name = max(_LEAST_NAME, min(_NAME, self._console.width - _BAR - 30))
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=name, no_wrap=True)
        grid.add_column(width=_BAR, no_wrap=True)
        grid.add_column(no_wrap=True, overflow="ellipsis")
        for row in [row for item in running for row in _rows(item, name)][:room]:
            grid.add_row(*row)
        away = [Text("the API server is away; waiting for it", style="dim")] if self._away else []
        return Group(grid, *away)


def _rows(item: Tracked, width: int) -> list[tuple[RenderableType, ...]]:
    status = item.job.status
    done = status.succeeded + status.failed
    bar = ProgressBar(total=max(1, status.desired), completed=done, width=_BAR, pulse=not status.desired)
    rows: list[tuple[RenderableType, ...]] = [
        (Text(elide(clean(item.image), width), style="bold"), bar, Text(counts(item)))
    ]
    rows += [_node(share, width) for share in item.running[:_NODES]]
    rows += [_held_up(share, width) for share in item.held_up[: max(0, _NODES - len(rows) + 1)]]
    return rows


def _node(share: Share, width: int) -> tuple[RenderableType, ...]:
    percent = share.status.progress if share.status is not None else 0
    bar = ProgressBar(total=100, completed=percent, width=_BAR, pulse=not percent)
    return (
        Text(f"  {elide(share.node, width - 2)}"),
        bar,
        Text(f"{percent}%" if percent else "", style="cyan"),
    )


def _held_up(share: Share, width: int) -> tuple[RenderableType, ...]:
    return Text(f"  {elide(share.node, width - 2)}"), Text(""), Text(clean(share.reason), style="yellow")
