"""How far the node's image pulls are, for features that wait for images and fetch none themselves."""

from collections.abc import Callable, Sequence

from daemon.debug.views import PullView

Rows = Callable[[], Sequence[PullView]]


class NodePulls:
    """A row for each image that the node is to have, and word whenever one may have changed."""

    def __init__(self) -> None:
        self._rows: Rows = tuple
        self._listeners: list[Callable[[], None]] = []

    def follow(self, rows: Rows) -> None:
        """Take the rows from there; before, there are none."""
        self._rows = rows

    def rows(self) -> Sequence[PullView]:
        """All rows, as of now."""
        return self._rows()

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Have *listener* called on the loop after each change; it must not block."""
        self._listeners.append(listener)

    def changed(self) -> None:
        """Tell the listeners that there may be something new."""
        for listener in self._listeners:
            listener()
