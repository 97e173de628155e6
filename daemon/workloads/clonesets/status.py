"""What the status of a CloneSet says: OpenKruise's counters and conditions, and kstatus'. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

from daemon import names
from daemon.objects.meta import (
    Condition,
    LabelSelector,
    LabelSelectorRequirement,
    condition_of,
    with_conditions,
)
from daemon.objects.workloads import CloneSet, CloneSetCondition, CloneSetStatus
from daemon.workloads.clonesets.making import ENDING
from daemon.workloads.clonesets.views import PodView, Snapshot, same_revision

FAILED_SCALE: Final = "FailedScale"
FAILED_UPDATE: Final = "FailedUpdate"
PROGRESSING: Final = "Progressing"
DEADLINE_EXCEEDED: Final = "ProgressDeadlineExceeded"
MOST_NAMES: Final = 5
"""Pods that are named in one message."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why something could not be done, for a condition."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What this pass found out beside the pods' own state."""

    scale: Trouble | None = None
    """Why pods could not be made or deleted."""
    update: Trouble | None = None
    """Why pods could not be changed."""
    invalid: Trouble | None = None
    """Why the set cannot be carried out as it is written."""
    waiting: str = ""
    """What the rollout waits for, in words."""
    collisions: int | None = None


@dataclass(frozen=True, slots=True)
class _Counts:
    """Pods."""

    total: int
    ready: int
    available: int
    updated: int
    updated_ready: int
    updated_available: int
    expected: int


def status_of(obj: CloneSet, seen: Snapshot, outcome: Outcome) -> CloneSetStatus:
    """The status of *obj* now."""
    counts = _counted(seen)
    settled = _settled(seen, counts)
    current = seen.update_revision if _all_updated(seen, counts) else seen.current_revision
    wanted = list(_conditions(obj, seen, counts, outcome, settled=settled))
    return CloneSetStatus(
        observed_generation=obj.metadata.generation,
        replicas=counts.total,
        ready_replicas=counts.ready,
        available_replicas=counts.available,
        updated_replicas=counts.updated,
        updated_ready_replicas=counts.updated_ready,
        updated_available_replicas=counts.updated_available,
        expected_updated_replicas=counts.expected,
        update_revision=seen.update_revision,
        current_revision=current,
        collision_count=outcome.collisions,
        conditions=_timed(
            obj.status.conditions, with_conditions(obj.status.conditions, wanted, seen.now), seen.now
        ),
        label_selector=selector_text(obj.spec.selector),
    )


def refused(obj: CloneSet, trouble: Trouble, now: datetime) -> CloneSetStatus:
    """The status of a set that cannot be carried out as it is written; its counters stay as they were."""
    states: tuple[_State, ...] = (
        (names.READY, "False", trouble),
        (names.RECONCILING, "False", trouble),
        (names.STALLED, "True", trouble),
    )
    wanted = [_condition(obj, *each) for each in states]
    before = obj.status
    return CloneSetStatus(
        observed_generation=obj.metadata.generation,
        replicas=before.replicas,
        ready_replicas=before.ready_replicas,
        available_replicas=before.available_replicas,
        updated_replicas=before.updated_replicas,
        updated_ready_replicas=before.updated_ready_replicas,
        updated_available_replicas=before.updated_available_replicas,
        expected_updated_replicas=before.expected_updated_replicas,
        update_revision=before.update_revision,
        current_revision=before.current_revision,
        collision_count=before.collision_count,
        conditions=with_conditions(before.conditions, wanted, now),
        label_selector=selector_text(obj.spec.selector),
    )


def overdue_in(obj: CloneSet, now: datetime) -> float | None:
    """Seconds until a rollout that makes no progress counts as stuck; None when nothing is awaited."""
    deadline = obj.spec.progress_deadline_seconds
    moved = condition_of(obj.status.conditions, PROGRESSING)
    if deadline is None or moved is None or moved.last_transition_time is None:
        return None
    if moved.status != "True" or moved.reason == "Complete":
        return None
    left = moved.last_transition_time + timedelta(seconds=deadline) - now
    return max(left.total_seconds(), 0.0)


def leaving_for(seen: Snapshot) -> float | None:
    """Seconds for which pods on their way out are waited for at most; None when there are none.

    One that does not end, on a node that is lost, keeps its set from being ready no longer than ENDING.
    """
    ends = (view.pod.metadata.deletion_timestamp for view in seen.pods)
    left = [(at + ENDING - seen.now).total_seconds() for at in ends if at is not None]
    return max((each for each in left if each > 0), default=None)


def selector_text(selector: LabelSelector) -> str:
    """*selector* as autoscalers read it (metav1.FormatLabelSelector)."""
    parts = [f"{key}={value}" for key, value in sorted(selector.match_labels.items())]
    return ",".join([*parts, *map(_expression, selector.match_expressions)])


def listed(pods: Sequence[PodView | str]) -> str:
    """The names of the first of *pods*, and how many there are beside them."""
    more = len(pods) - MOST_NAMES
    first = ", ".join(each if isinstance(each, str) else each.name for each in pods[:MOST_NAMES])
    return first + (f" and {more} more" if more > 0 else "")


_State = tuple[str, Literal["True", "False", "Unknown"], Trouble]


def _expression(each: LabelSelectorRequirement) -> str:
    match each.operator:
        case "Exists":
            return each.key
        case "DoesNotExist":
            return f"!{each.key}"
        case "In":
            return f"{each.key} in ({','.join(sorted(each.values))})"
        case _:
            return f"{each.key} notin ({','.join(sorted(each.values))})"


def _counted(seen: Snapshot) -> _Counts:
    live = seen.live
    # By what they are: one that was picked may have to wait, and never become anything else.
    updated = [view for view in live if same_revision(view.revision, seen.update_revision)]
    return _Counts(
        total=len(live),
        ready=sum(view.ready for view in live),
        available=sum(view.available for view in live),
        updated=len(updated),
        updated_ready=sum(view.ready and not view.busy for view in updated),
        updated_available=sum(view.available for view in updated),
        expected=max(seen.settings.replicas - seen.settings.partition, 0),
    )


def _all_updated(seen: Snapshot, counts: _Counts) -> bool:
    """Whether no pod is of the current revision any more, and there are as many as there should be."""
    return counts.updated == counts.total == seen.settings.replicas


def _settled(seen: Snapshot, counts: _Counts) -> bool:
    """Whether there is nothing left to do."""
    settings = seen.settings
    enough = counts.total == settings.replicas == counts.available
    moving = any(view.doomed or view.busy for view in seen.live)
    stale = settings.policy != "OnDelete" and counts.updated < counts.expected
    return enough and not moving and not stale and leaving_for(seen) is None


def _conditions(
    obj: CloneSet, seen: Snapshot, counts: _Counts, outcome: Outcome, *, settled: bool
) -> Iterator[CloneSetCondition]:
    for type_, trouble in ((FAILED_SCALE, outcome.scale), (FAILED_UPDATE, outcome.update)):
        if trouble is not None:
            yield _condition(obj, type_, "True", trouble)
        elif condition_of(obj.status.conditions, type_) is not None:
            yield _condition(obj, type_, "False", Trouble("Succeeded", ""))
    progress = _progress(obj, seen, counts, settled=settled)
    yield progress
    stuck = _stuck(obj, progress.message) if progress.reason == DEADLINE_EXCEEDED else None
    problem = outcome.invalid or outcome.scale or outcome.update or stuck
    ready = settled and problem is None
    told = problem or (
        Trouble("Available", _words(seen, counts)) if ready else _going_on(seen, counts, outcome)
    )
    ended = outcome.invalid is not None or stuck is not None
    yield _condition(obj, names.READY, "True" if ready else "False", told)
    yield _condition(obj, names.RECONCILING, "False" if ready or ended else "True", told)
    yield _condition(obj, names.STALLED, "True" if ended else "False", told)


def _progress(obj: CloneSet, seen: Snapshot, counts: _Counts, *, settled: bool) -> CloneSetCondition:
    """The condition Progressing, as a Deployment has it; its message differs after each step."""
    wanted = seen.settings.replicas
    count = f"{counts.updated} of {counts.expected} updated, {counts.available} of {wanted} available"
    if settled:
        return _condition(obj, PROGRESSING, "True", Trouble("Complete", count))
    if seen.settings.paused:
        return _condition(obj, PROGRESSING, "Unknown", Trouble("Paused", count))
    before = condition_of(obj.status.conditions, PROGRESSING)
    same = before is not None and _same_step(before, count, obj.metadata.generation)
    if same and before is not None and (before.status == "False" or overdue_in(obj, seen.now) == 0.0):
        return _condition(obj, PROGRESSING, "False", Trouble(DEADLINE_EXCEEDED, count))
    return _condition(obj, PROGRESSING, "True", Trouble("Updating", count))


def _same_step(before: Condition, count: str, generation: int) -> bool:
    return (
        before.message == count and before.observed_generation == generation and before.reason != "Complete"
    )


def _timed(
    before: Sequence[CloneSetCondition], merged: Sequence[CloneSetCondition], now: datetime
) -> tuple[CloneSetCondition, ...]:
    """*merged*, in which the time of Progressing is that of the last step: deadlines count from there."""
    old = condition_of(before, PROGRESSING)
    result = []
    for each in merged:
        if each.type == PROGRESSING:
            same = old is not None and _same_step(old, each.message, each.observed_generation)
            at = old.last_transition_time if same and old is not None else now
            each = msgspec.structs.replace(each, last_transition_time=at or now)  # noqa: PLW2901 - the same one
        result.append(each)
    return tuple(result)


def _stuck(obj: CloneSet, count: str) -> Trouble:
    seconds = obj.spec.progress_deadline_seconds
    words = f"no progress for {seconds} s: {count}; see kubectl inplaced rollout status {obj.metadata.name}"
    return Trouble(DEADLINE_EXCEEDED, words)


def _going_on(seen: Snapshot, counts: _Counts, outcome: Outcome) -> Trouble:
    """What is going on, in words."""
    settings, words = seen.settings, _words(seen, counts)
    if outcome.waiting:
        words += f"; {outcome.waiting}"
    if counts.total != settings.replicas:
        return Trouble("Scaling", f"{counts.total} of {settings.replicas} pods are there; {words}")
    if counts.updated < counts.expected:
        if settings.paused:
            return Trouble("Paused", f"updateStrategy.paused is true; {words}")
        if settings.policy == "OnDelete":
            return Trouble("OnDelete", f"pods change when they are deleted; {words}")
        return Trouble("Updating", words)
    return Trouble("WaitingForPods", words)


def _words(seen: Snapshot, counts: _Counts) -> str:
    words = f"{counts.available} of {seen.settings.replicas} pods are available"
    if counts.expected and seen.update_revision != seen.current_revision:
        words += f", {counts.updated} of {counts.expected} are at {seen.update_revision}"
    return words


def _condition(
    obj: CloneSet, type_: str, status: Literal["True", "False", "Unknown"], told: Trouble
) -> CloneSetCondition:
    return CloneSetCondition(
        type=type_,
        status=status,
        reason=told.reason,
        message=told.message,
        observed_generation=obj.metadata.generation,
    )
