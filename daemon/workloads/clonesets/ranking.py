"""Which pods go first: when there are too many, and when they change. Pure.

The order is that of Kubernetes' ReplicaSets (controller.ActivePodsWithRanks): what serves least goes first.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from daemon import names
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import selects
from daemon.objects.workloads import ScatterTerm
from daemon.workloads.clonesets.settings import Settings
from daemon.workloads.clonesets.views import PREPARING_DELETE, PREPARING_UPDATE, PodView, condition_of, holds

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
"""Kubernetes' annotation: pods that cost less are deleted first."""

_PHASES: Final = {"Pending": 0, "Unknown": 1, "Running": 2}
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_NUMBER: Final = re.compile(r"[0-9]+$")

Rank = tuple[object, ...]


def for_deletion(views: Iterable[PodView]) -> list[PodView]:
    """*views*, the first to be deleted in front."""
    found = list(views)
    beside = Counter(view.pod.spec.node_name for view in found)
    return sorted(found, key=lambda view: (view.state != PREPARING_DELETE, *_least_useful(view, beside)))


def for_update(
    views: Iterable[PodView], settings: Settings, changed: Collection[PodView] = ()
) -> list[PodView]:
    """*views*, the first to change in front: those held for it, those that do not serve, then by priority.

    Among equals, those whose nodes are prepared come first. *changed* are those that went before, so that a
    later look goes on with the same order.
    """
    ranked = sorted(views, key=lambda view: _by_update(view, settings))
    return _scattered(ranked, settings, changed) if settings.scatter else ranked


def _least_useful(view: PodView, beside: Counter[str]) -> Rank:
    pod = view.pod
    return (
        bool(pod.spec.node_name),
        _PHASES.get(pod.status.phase, 2),
        view.ready,
        _cost(pod),
        -beside[pod.spec.node_name],
        _latest_first(_ready_since(pod)),
        -max((each.restart_count for each in pod.status.container_statuses), default=0),
        _latest_first(pod.metadata.creation_timestamp),
        pod.metadata.name,
    )


def _by_update(view: PodView, settings: Settings) -> Rank:
    pod = view.pod
    return (
        view.state != PREPARING_UPDATE,
        bool(pod.spec.node_name),
        _PHASES.get(pod.status.phase, 2),
        view.available,
        -_weight(pod, settings),
        *(-_order(pod, term.ordered_key) for term in settings.orders),
        not holds(pod, names.NEXT_REVISION_READY),
        _latest_first(_ready_since(pod)),
        _latest_first(pod.metadata.creation_timestamp),
        pod.metadata.name,
    )


def _weight(pod: LocalPod, settings: Settings) -> int:
    return sum(term.weight for term in settings.weights if selects(term.match_selector, pod.metadata.labels))


def _order(pod: LocalPod, key: str) -> int:
    """The number at the end of the label's value; pods without one come last."""
    found = _NUMBER.search(pod.metadata.labels.get(key, ""))
    return int(found.group()) if found is not None else -1


def _scattered(views: Sequence[PodView], settings: Settings, changed: Collection[PodView]) -> list[PodView]:
    """The same pods; those that carry one of the labels are put at equal distances among the others."""
    result = list(views)
    for term in settings.scatter:
        before = Counter(_is_marked(view, term) for view in changed)
        parts = [[view for view in result if _is_marked(view, term) is each] for each in (True, False)]
        result = _spread(parts, (before[True], before[False]))
    return result


def _is_marked(view: PodView, term: ScatterTerm) -> bool:
    return view.pod.metadata.labels.get(term.key) == term.value


def _spread(parts: Sequence[Sequence[PodView]], before: Sequence[int]) -> list[PodView]:
    """Each of *parts* over the whole way, of which so many of its kind as *before* says went first."""
    places = [
        ((gone + i + 0.5) / (gone + len(part)), which, i)
        for which, (part, gone) in enumerate(zip(parts, before, strict=True))
        for i in range(len(part))
    ]
    return [parts[which][i] for _, which, i in sorted(places)]


def _cost(pod: LocalPod) -> int:
    text = pod.metadata.annotations.get(DELETION_COST, "0")
    return int(text) if re.fullmatch(r"-?[0-9]{1,10}", text) else 0


def _ready_since(pod: LocalPod) -> datetime | None:
    condition = condition_of(pod, names.READY)
    return condition.last_transition_time if condition is not None and condition.status == "True" else None


def _latest_first(at: datetime | None) -> float:
    return -(at or _NEVER).timestamp()
