"""Progress as bars on a terminal: a line an image while it comes, then what became of it, above the bars."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TextIO

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from daemon.cli.drawing import Drawing
from daemon.cli.following import Followed
from daemon.cli.lines import is_held_up, result_lines, setback
from daemon.cli.output import Paint, age, clean, rate, share, size
from daemon.debug.views import PullView

LEAST_NAME: Final = 18
MOST_NAME: Final = 48
LEAST_BAR: Final = 8
MOST_BAR: Final = 40
MOST_REASONS: Final = 2


@dataclass(frozen=True, slots=True)
class Column:
    """One column after the bar, kept while the terminal is wide enough."""

    name: str
    width: int
    room: int = LEAST_NAME + LEAST_BAR
    """What it must leave for the name and the bar."""


# Ordered by how much they are missed: the last one goes first on a narrow terminal.
COLUMNS: Final[tuple[Column, ...]] = (
    Column("phase", 9),
    Column("percent", 4),
    Column("bytes", 16),
    Column("rate", 12),
    Column("left", 6),
    Column("reused", 18, room=45),
)


class BarReporter(Drawing):
    """Draws on one terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._paint = Paint(stream)
        self._every: tuple[Followed, ...] = ()
        self._ended: set[str] = set()
        self._away = False
        super().__init__(stream, self._render)

    def show(self, every: Sequence[Followed], *, away: bool = False) -> None:
        """Draw the bars anew at the next refresh; print the lines of images that ended."""
        self._every, self._away = tuple(every), away
        for item in every:
            if item.ended and item.image not in self._ended:
                self._ended.add(item.image)
                text = "\n".join(result_lines(item, self._paint))
                self._console.print(Text.from_ansi(text), soft_wrap=True)

    def _render(self) -> RenderableType:
        running = [item for item in self._every if not item.ended]
        if not running:
            return Text()
        room = max(1, self._console.height - 3 - MOST_REASONS)
        # Those that move are worth the room more than those that wait.
        shown = sorted(running, key=lambda item: item.phase == "Waiting")[:room]
        footer = self._footer(len(running) - len(shown))
        return Group(_table(shown, self._console.width), *_reasons(shown), *footer)

    def _footer(self, hidden: int) -> list[Text]:
        lines = []
        if len(self._every) > 1:
            more = f", {hidden} not shown" if hidden else ""
            speed = sum(item.pull.rate for item in self._every if item.pull and not item.ended)
            lines.append(f"{len(self._ended)} of {len(self._every)} done at {rate(speed)}{more}")
        if self._away:
            lines.append("the agent is away; waiting for it")
        return [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in lines]


def _table(items: Sequence[Followed], width: int) -> Table:
    kept, name, bar = layout(width, max(len(clean(item.image)) for item in items))
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=name, no_wrap=True)
    for column in kept:
        right = column.name in {"percent", "bytes", "rate", "left"}
        if column.name == "percent":
            grid.add_column(width=bar, no_wrap=True, overflow="ellipsis")
        grid.add_column(width=column.width, no_wrap=True, justify="right" if right else "left")
    for item in items:
        grid.add_row(*_row(item, kept, name, bar))
    return grid


def _reasons(items: Sequence[Followed]) -> list[Text]:
    """Why images are held up, below the bars, where there is room for words."""
    held_up = [(item.image, item.pull) for item in items if item.pull is not None and is_held_up(item.pull)]
    lines = [f"{clean(image)}: {setback(pull)}" for image, pull in held_up[:MOST_REASONS]]
    return [Text(line, style="yellow", no_wrap=True, overflow="ellipsis") for line in lines]


def layout(width: int, longest: int) -> tuple[tuple[Column, ...], int, int]:
    """Which columns fit into *width*, and how wide name and bar are. The first two columns always stay."""
    kept: tuple[Column, ...] = COLUMNS
    while len(kept) > 2 and _fixed(kept) + kept[-1].room > width:
        kept = kept[:-1]
    spare = max(LEAST_NAME + LEAST_BAR, width - _fixed(kept))
    name = min(longest, MOST_NAME, spare - max(LEAST_BAR, spare // 3))
    return kept, name, min(MOST_BAR, spare - name)


def _fixed(columns: Sequence[Column]) -> int:
    """What the columns and all gaps take, one of which follows the name and one the bar."""
    return sum(column.width + 1 for column in columns) + 2


def _row(item: Followed, kept: Sequence[Column], name: int, bar: int) -> list[RenderableType]:
    pull = item.pull or PullView(image=item.image, phase="Waiting")
    cells: dict[str, RenderableType] = {
        "phase": Text(_PHASES.get(pull.phase, pull.phase.lower()), style=_STYLES.get(pull.phase, "")),
        "percent": Text(f"{pull.percent}%" if _is_moving(pull) else ""),
        "bytes": Text(share(pull.bytes_done, pull.bytes_total) if pull.bytes_total else ""),
        "rate": Text(rate(pull.rate) if pull.rate else ""),
        "left": Text(age(pull.seconds_left) if pull.seconds_left is not None else ""),
        "reused": Text(f"{size(pull.bytes_reused)} reused" if pull.bytes_reused else "", style="dim"),
    }
    row: list[RenderableType] = [Text(elide(clean(item.image), name))]
    for column in kept:
        row += [_bar(pull, bar)] if column.name == "percent" else []
        row.append(cells[column.name])
    return row


_PHASES: Final = {"BackingOff": "retrying"}
_STYLES: Final = {"Waiting": "dim", "Pulling": "cyan", "Unpacking": "blue", "BackingOff": "yellow"}


def _is_moving(pull: PullView) -> bool:
    return pull.phase in {"Pulling", "Unpacking"} and (pull.bytes_total > 0 or pull.percent > 0)


def _bar(pull: PullView, width: int) -> RenderableType:
    if pull.phase == "Waiting" or is_held_up(pull):
        return Text("")
    known = pull.bytes_total > 0 and pull.phase == "Pulling"
    return ProgressBar(
        total=max(1, pull.bytes_total), completed=pull.bytes_done, width=width, pulse=not known
    )


def elide(name: str, width: int) -> str:
    """*name* in at most *width* characters, without its middle: its ends are what tells images apart."""
    if len(name) <= width:
        return name
    tail = (width - 1) * 2 // 3
    return f"{name[: width - 1 - tail]}…{name[len(name) - tail :]}"
