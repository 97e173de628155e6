"""The nodes of one job by how far they are: sums and orders that are kept, not counted anew. Pure."""

from bisect import bisect_left, insort
from collections.abc import Container, Mapping, Sequence
from enum import Enum

from daemon.objects.images import ImageTagStatus


class State(Enum):
    """How far a selected node is."""

    UNTOLD = "untold"
    ACTIVE = "active"
    SILENT = "silent"
    """It was asked, and its agent gives no sign of life: it counts as failed until it is back."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Tally:
    """Every selected node with its state, and for those that count as failed, why."""

    def __init__(self) -> None:
        self._states: dict[str, State] = {}
        self._counts = dict.fromkeys(State, 0)
        self._untold: list[str] = []
        self._failures: dict[str, ImageTagStatus] = {}
        self._rank: Mapping[str, int] = {}

    @property
    def desired(self) -> int:
        """How many nodes are selected."""
        return len(self._states)

    @property
    def succeeded(self) -> int:
        """How many nodes have the image."""
        return self._counts[State.SUCCEEDED]

    @property
    def active(self) -> int:
        """How many nodes work on it."""
        return self._counts[State.ACTIVE]

    @property
    def is_over(self) -> bool:
        """Whether no selected node has anything left to do."""
        return not self.active and not self._untold

    @property
    def untold(self) -> Sequence[str]:
        """The nodes that were not asked yet, in the order in which they will be."""
        return self._untold

    @property
    def failures(self) -> list[tuple[str, ImageTagStatus]]:
        """What failed, in the order of the nodes' names."""
        return sorted(self._failures.items(), key=lambda item: item[0])

    @property
    def working(self) -> list[str]:
        """The nodes at work, in the order of their names."""
        return sorted(name for name, state in self._states.items() if state is State.ACTIVE)

    @property
    def silent(self) -> list[str]:
        """The nodes whose agents do not answer, in the order of their names."""
        if not self._counts[State.SILENT]:
            return []
        return sorted(name for name in self._failures if self._states[name] is State.SILENT)

    def next_nodes(self, room: int, free: Container[str]) -> list[str]:
        """Whom to ask when *room* more nodes may work; those in *free* take no room."""
        chosen = []
        for name in self._untold:
            if room <= 0:
                break
            chosen.append(name)
            room -= name not in free
        return chosen

    def state_of(self, name: str) -> State | None:
        """How far the node is; None when it is not selected."""
        return self._states.get(name)

    def failure_of(self, name: str) -> ImageTagStatus | None:
        """Why the node counts as failed."""
        return self._failures.get(name)

    def put(self, name: str, state: State, failure: ImageTagStatus | None = None) -> bool:
        """Say how far the node is; tell whether that is news."""
        before = self._states.get(name)
        if before is state and self._failures.get(name) == failure:
            return False
        if before is not None:
            self._discount(name, before)
        self._states[name] = state
        self._counts[state] += 1
        if failure is not None:
            self._failures[name] = failure
        if state is State.UNTOLD:
            insort(self._untold, name, key=self._order)
        return True

    def remove(self, name: str) -> bool:
        """The node is no longer selected; tell whether it was."""
        state = self._states.pop(name, None)
        if state is None:
            return False
        self._discount(name, state)
        return True

    def _discount(self, name: str, state: State) -> None:
        self._counts[state] -= 1
        self._failures.pop(name, None)
        if state is State.UNTOLD:
            del self._untold[bisect_left(self._untold, self._order(name), key=self._order)]

    def reorder(self, rank: Mapping[str, int]) -> None:
        """Have nodes asked by their *rank*, those without one last; the same rank goes by name."""
        self._rank = rank
        self._untold.sort(key=self._order)

    def _order(self, name: str) -> tuple[int, str]:
        return self._rank.get(name, len(self._rank)), name
