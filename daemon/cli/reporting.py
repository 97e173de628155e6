"""How commands show what comes along: what all reporters can do, and what those that write lines share."""

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Protocol, Self, TextIO, TypeVar

AWAY: Final = "the API server is away; waiting for it"
State_contra = TypeVar("State_contra", contravariant=True)


class Reporter(Protocol[State_contra]):
    """Shows how something comes along. Entered for as long as anything is shown."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, state: State_contra, /, *, away: bool = False) -> None:
        """Show where it is; *away* says that whoever is asked cannot be reached for now."""
        ...


class Lines:
    """Base of what writes lines to one stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._away = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to undo: lines stay."""

    def _absence(self, *, away: bool, said: str = AWAY) -> list[str]:
        """The line that says that nobody can be reached, once each time."""
        fresh = away and not self._away
        self._away = away
        return [said] if fresh else []

    def _write(self, lines: Sequence[str], stream: TextIO | None = None) -> None:
        """Write them at once, to another *stream* if there is one."""
        chosen = stream or self._stream
        if lines:
            chosen.write("\n".join(lines) + "\n")
            chosen.flush()
