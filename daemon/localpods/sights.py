"""What can be seen of the node's pods, put together from what each feature shows. Pure."""

from collections.abc import Iterable
from itertools import chain
from typing import Final

from daemon.debug.views import PodsView, RestartView

MOST_ROWS: Final = 100
"""Rows of one list that are shown; more are counted."""


def joined(views: Iterable[PodsView]) -> PodsView:
    """All that *views* show, one after the other."""
    every = list(views)
    return PodsView(
        updates=tuple(chain.from_iterable(each.updates for each in every)),
        restarts=tuple(chain.from_iterable(each.restarts for each in every)),
        resizes=tuple(chain.from_iterable(each.resizes for each in every)),
        errors=tuple(chain.from_iterable(each.errors for each in every)),
    )


def bounded(view: PodsView) -> PodsView:
    """*view* in order, with so many rows of each list as somebody may read."""
    counts = {
        "updates": len(view.updates),
        "restarts": len(view.restarts),
        "resizes": len(view.resizes),
        "errors": len(view.errors),
    }
    return PodsView(
        updates=view.updates[:MOST_ROWS],
        restarts=tuple(sorted(view.restarts, key=_order)[:MOST_ROWS]),
        resizes=view.resizes[:MOST_ROWS],
        errors=view.errors[:MOST_ROWS],
        omitted={name: count - MOST_ROWS for name, count in counts.items() if count > MOST_ROWS},
    )


def _order(view: RestartView) -> tuple[bool, float]:
    """Those under way, the longest first, then those that have ended, the latest first."""
    if view.ended_at is not None:
        return (True, -view.ended_at.timestamp())
    return (False, view.since.timestamp() if view.since is not None else 0.0)
