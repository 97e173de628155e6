"""Which pods move to the update revision now. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from daemon.workloads.clonesets.ranking import for_update
from daemon.workloads.clonesets.views import (
    PREPARING_DELETE,
    PREPARING_UPDATE,
    PodView,
    Snapshot,
    has_begun,
)


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """What is to be done now; what must wait is planned again when something has changed."""

    move: Sequence[PodView] = ()
    """In their order."""
    release: Sequence[PodView] = ()
    """Were held for an update that is off: the set was rolled back, or its partition raised."""
    upcoming: Sequence[PodView] = ()
    """Will move later, in their order: too few are available now, or their nodes are not prepared yet."""
    stuck: Sequence[PodView] = ()
    """Would move if they could: they cannot change, and may not be replaced."""


def surplus(seen: Snapshot) -> Sequence[PodView]:
    """Pods that were picked and not touched yet, as far as too few would stay: the partition was raised."""
    live = [view for view in seen.live if view.state != PREPARING_DELETE and not view.doomed]
    missing = seen.settings.partition - sum(not view.updated for view in live)
    if missing <= 0:
        return ()
    untouched = [
        view for view in live if view.picked and not has_begun(view.pod, seen.update_revision, seen.now)
    ]
    left = {view.uid for view in untouched}
    changed = [view for view in live if view.updated and view.uid not in left]
    return for_update(untouched, seen.settings, changed)[-missing:]


def staying(seen: Snapshot) -> Sequence[PodView]:
    """Pods that stay at an older revision for now, as all that may change are through, or none may in place.

    While more must change, it may be any of them; of a rollout that is paused, nobody knows.
    """
    settings = seen.settings
    stale = [view for view in seen.live if not view.updated and not view.doomed]
    if settings.paused or (settings.in_place and len(stale) > settings.partition):
        return ()
    return stale


def plan_rollout(seen: Snapshot, unable: Collection[str] = ()) -> RolloutPlan:
    """Plan for one moment. Available pods move only as far as enough stay (``max_unavailable``).

    Those with the UIDs *unable* cannot move, and stand in no other's way.
    """
    settings = seen.settings
    live = [view for view in seen.live if view.state != PREPARING_DELETE and not view.doomed]
    stale = [view for view in live if not view.updated]
    back = [view for view in live if view.updated and view.state == PREPARING_UPDATE and not view.busy]
    if settings.paused or settings.policy == "OnDelete":
        return RolloutPlan(release=back)
    order = for_update(stale, settings, [view for view in live if view.updated])
    able = [view for view in order if view.uid not in unable]
    count = max(len(stale) - settings.partition, 0)
    wanted = able[:count]
    stuck = [view for view in order if view.uid in unable][: count - len(wanted)]
    chosen = {view.uid for view in wanted}
    back += [view for view in stale if view.state == PREPARING_UPDATE and view.uid not in chosen]
    move, later, spare = [], [], seen.spare
    for view in wanted:
        if view.available and (spare <= 0 or view.held):
            later.append(view)
            continue
        spare -= view.available
        move.append(view)
    return RolloutPlan(move=move, release=back, upcoming=later, stuck=stuck)
