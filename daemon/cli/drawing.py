"""A picture on a terminal that is drawn anew until it is left, below the lines that stay."""

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType

REFRESH: Final = 8
"""Times a second that the terminal is drawn, whether or not news came."""


class Drawing:
    """Base of what draws on one terminal. Entered for as long as anything is shown."""

    def __init__(self, stream: TextIO, render: "Callable[[], RenderableType] | None" = None) -> None:
        """*render* is asked for the picture at each refresh; without it, it is what ``_live`` was given."""
        from rich.console import Console  # only where there is a terminal
        from rich.live import Live

        self._console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=self._console,
            get_renderable=render,
            refresh_per_second=REFRESH,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
