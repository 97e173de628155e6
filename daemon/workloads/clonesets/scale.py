"""How many pods are made, and which are deleted, so that there are as many as a CloneSet asks for. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from daemon.workloads.clonesets.ranking import for_deletion
from daemon.workloads.clonesets.views import PREPARING_DELETE, PodView, Snapshot


@dataclass(frozen=True, slots=True)
class ScalePlan:
    """What is to be done now; what must wait is planned again when something has changed."""

    create_new: int = 0
    """Pods of the update revision."""
    create_old: int = 0
    """Pods of the current revision, which the partition keeps."""
    delete: Sequence[PodView] = ()
    """May be held by a preDelete hook."""
    restore: Sequence[PodView] = ()
    """Were to be deleted, and are wanted again."""


def plan_scale(seen: Snapshot) -> ScalePlan:
    """Plan for one moment. Available pods are deleted only as far as enough stay (``max_unavailable``)."""
    settings = seen.settings
    live = seen.live
    leaving = [view for view in live if view.state == PREPARING_DELETE]
    counted = _counted(seen)
    missing = settings.replicas + _surge(seen) - len(counted)
    doomed = [view for view in live if view.doomed]
    surplus = _surplus(seen, max(-missing - sum(view.doomed for view in counted), 0))
    restored = _restored(seen, leaving, missing, surplus)
    if settings.exclude_preparing_delete:
        missing -= len(restored)
    decided = {view.uid for view in (*restored, *doomed, *surplus)}
    held = [view for view in leaving if view.uid not in decided]
    made = min(max(missing, 0), _room(seen))
    old = min(made, _old_missing(seen))
    return ScalePlan(
        create_new=made - old,
        create_old=old,
        delete=_allowed([*for_deletion([*doomed, *held]), *surplus], seen.spare),
        restore=restored,
    )


def _counted(seen: Snapshot) -> list[PodView]:
    """The pods that count towards the set's size."""
    excluded = seen.settings.exclude_preparing_delete
    return [view for view in seen.live if not (excluded and view.state == PREPARING_DELETE)]


def _surge(seen: Snapshot) -> int:
    """Pods above the replicas for now: as many as are being replaced or changed, up to maxSurge.

    Where no pod is wanted, none must stay for one that changes.
    """
    settings = seen.settings
    if not settings.max_surge:
        return 0
    moving = sum(view.doomed or view.busy for view in seen.live)
    if settings.replaces and not settings.paused:
        stale = sum(not view.updated and not view.doomed for view in seen.live)
        moving += max(stale - settings.partition, 0)
    return min(settings.max_surge, moving, settings.replicas)


def _room(seen: Snapshot) -> int:
    """Pods that may be made now, since new ones are unavailable at first."""
    limit = seen.settings.scale_unavailable
    if limit is None:
        return len(seen.pods) + seen.settings.replicas + seen.settings.max_surge
    return max(limit - sum(not view.available for view in seen.live), 0)


def _old_missing(seen: Snapshot) -> int:
    """Pods of the current revision that the partition asks for and that are not there."""
    if not seen.current_revision or seen.current_revision == seen.update_revision:
        return 0
    old = sum(not view.updated and not view.doomed for view in seen.live)
    return max(seen.settings.partition - old, 0)


def _surplus(seen: Snapshot, count: int) -> list[PodView]:
    """The *count* pods that are too many: first of the revision of which there are too many."""
    if not count:
        return []
    free = for_deletion(view for view in _counted(seen) if not view.doomed)
    begun = [view for view in free if view.state == PREPARING_DELETE]
    others = [view for view in free if view.state != PREPARING_DELETE]
    kept_old = min(seen.settings.partition, seen.settings.replicas)
    old = [view for view in others if not view.updated]
    new = [view for view in others if view.updated]
    first = old[: max(len(old) - kept_old, 0)]
    first += new[: max(len(new) - (seen.settings.replicas - kept_old), 0)]
    named = {view.uid for view in first}
    rest = [view for view in others if view.uid not in named]
    return [*begun, *for_deletion(first), *rest][:count]


def _restored(
    seen: Snapshot, leaving: Sequence[PodView], missing: int, surplus: Sequence[PodView]
) -> list[PodView]:
    """Pods that were held before their deletion and need not go any more."""
    if seen.settings.hooks.pre_delete.mark_not_ready:
        return []  # It is out of traffic, and what held it may have been told so.
    going = {view.uid for view in surplus}
    back = [view for view in leaving if not view.doomed and view.uid not in going]
    return back[: max(missing, 0)] if seen.settings.exclude_preparing_delete else back


def _allowed(views: Sequence[PodView], spare: int) -> list[PodView]:
    """Those of *views* without which enough are available; what does not serve may always go."""
    found = []
    for view in views:
        if view.available:
            if spare <= 0:
                continue
            spare -= 1
        found.append(view)
    return found
