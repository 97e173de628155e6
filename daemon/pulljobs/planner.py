"""Decides which nodes an ImagePullJob asks for its image now, and what its status says. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from daemon import names
from daemon.objects.images import ImagePullJob, ImagePullJobStatus, ImageTagStatus, NodeImage
from daemon.objects.meta import Condition, selects, with_conditions
from daemon.pulljobs.tags import status_of, tag_of

COMPLETED = "job has completed"
OVERDUE = "job exceeds activeDeadlineSeconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The job and all nodes at one time."""

    job: ImagePullJob
    nodes: Sequence[NodeImage]
    now: datetime
    default_ttl: int
    """Seconds that a node keeps (and pins) the image of an ended job that sets no TTL."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Put the job's image into the node's spec."""

    node: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Take the job's share out of the node's spec; *keep* spares the tag that the job names now."""

    node: str
    keep_current: bool = False


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete the job: its TTL has passed."""


Action = Ask | Drop | Remove


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, what to report, and when time alone changes the answer."""

    status: ImagePullJobStatus
    actions: tuple[Action, ...] = ()
    wake_in: float | None = None


@dataclass(frozen=True, slots=True)
class _Tally:
    """The nodes of a job by what they say."""

    succeeded: tuple[str, ...]
    failed: tuple[tuple[str, ImageTagStatus], ...]
    active: tuple[str, ...]
    untold: tuple[str, ...]

    @property
    def desired(self) -> int:
        return len(self.succeeded) + len(self.failed) + len(self.active) + len(self.untold)

    @property
    def is_over(self) -> bool:
        return not self.active and not self.untold


def targets(job: ImagePullJob, nodes: Iterable[NodeImage]) -> list[NodeImage]:
    """The nodes that the job selects, in the order of their names."""
    return sorted((node for node in nodes if _selects(job, node)), key=lambda node: node.metadata.name)


def _selects(job: ImagePullJob, node: NodeImage) -> bool:
    selector = job.spec.selector
    if job.spec.pod_selector is not None:
        return False  # there are no pods here to follow
    if selector is None:
        return True
    if selector.names:
        return node.metadata.name in selector.names
    return selects(selector, node.metadata.labels)


def plan(seen: Observed) -> Plan:
    """Decide. An ended job is looked at only for its TTL, unless its spec was changed since."""
    status = seen.job.status
    if status.completion_time is not None:
        if status.observed_generation != seen.job.metadata.generation:
            return _restart(seen)
        return _after_the_end(seen, status)
    return _progress(seen)


def _restart(seen: Observed) -> Plan:
    """An edited job runs again from the start: nodes give up its old share first."""
    fresh = ImagePullJobStatus(
        observed_generation=seen.job.metadata.generation, conditions=seen.job.status.conditions
    )
    return Plan(fresh, tuple(_drops(seen)), wake_in=0.0)


def _after_the_end(seen: Observed, status: ImagePullJobStatus) -> Plan:
    assert status.completion_time is not None
    age = (seen.now - status.completion_time) / timedelta(seconds=1)
    ttl = seen.job.spec.completion_policy.ttl_seconds_after_finished
    kept = ttl if ttl is not None else seen.default_ttl
    if age < kept:
        return Plan(status, wake_in=kept - age)
    removal: tuple[Action, ...] = (Remove(),) if ttl is not None else ()
    return Plan(status, (*_drops(seen), *removal))


def _drops(seen: Observed) -> Iterable[Drop]:
    return [Drop(node.metadata.name) for node in seen.nodes if _has_share(seen.job, node)]


def _has_share(job: ImagePullJob, node: NodeImage) -> bool:
    return any(
        owner.uid == job.metadata.uid
        for entry in node.spec.images.values()
        for tag in entry.tags
        for owner in tag.owner_references
    )


def _progress(seen: Observed) -> Plan:
    job = seen.job
    chosen = targets(job, seen.nodes)
    tally = _count(job, chosen)
    left = _deadline_left(seen)
    if left is not None and left <= 0 and not tally.is_over:
        return Plan(_overdue(seen, tally), tuple(_drops(seen)))
    if job.spec.completion_policy.type == "Always" and tally.is_over:
        return Plan(_ended(seen, tally), tuple(_strays(seen, chosen)), wake_in=0.0)
    room = max(_parallelism(job, len(chosen)) - len(tally.active), 0)
    asks = [Ask(node) for node in tally.untold[:room]]
    return Plan(_running(seen, tally, len(asks)), (*_strays(seen, chosen), *asks), wake_in=left)


def _strays(seen: Observed, chosen: Sequence[NodeImage]) -> Iterable[Drop]:
    """Shares that an edit of the job has made obsolete: another image, or a node no longer selected."""
    for node in seen.nodes:
        current = node in chosen and tag_of(node, seen.job) is not None
        shares = sum(
            owner.uid == seen.job.metadata.uid
            for entry in node.spec.images.values()
            for tag in entry.tags
            for owner in tag.owner_references
        )
        if shares > int(current):
            yield Drop(node.metadata.name, keep_current=current)


def _count(job: ImagePullJob, chosen: Sequence[NodeImage]) -> _Tally:
    succeeded, failed, active, untold = [], [], [], []
    for node in chosen:
        name, status = node.metadata.name, status_of(node, job)
        if tag_of(node, job) is None:
            untold.append(name)
        elif status is None or status.completion_time is None:
            active.append(name)
        elif status.phase == "Succeeded":
            succeeded.append(name)
        else:
            failed.append((name, status))
    return _Tally(tuple(succeeded), tuple(failed), tuple(active), tuple(untold))


def _parallelism(job: ImagePullJob, nodes: int) -> int:
    """Nodes at the same time; a percentage is rounded up, so that more than 0 % always moves."""
    wanted = job.spec.parallelism
    if wanted is None:
        return 1
    if isinstance(wanted, int):
        return wanted
    return math.ceil(nodes * int(wanted.rstrip("%")) / 100) if wanted.endswith("%") else int(wanted)


def _deadline_left(seen: Observed) -> float | None:
    deadline = seen.job.spec.completion_policy.active_deadline_seconds
    if deadline is None:
        return None
    begun = seen.job.status.start_time or seen.now
    return deadline - (seen.now - begun) / timedelta(seconds=1)


def _running(seen: Observed, tally: _Tally, asked: int) -> ImagePullJobStatus:
    done = len(tally.succeeded) + len(tally.failed)
    active = len(tally.active) + asked
    paused = not active
    if active or done:
        message = f"job is running, progress {100 * done / max(tally.desired, 1):.1f}%"
    else:
        message = "job is running, no progress"
    if tally.is_over:  # a Never job whose nodes are all served
        conditions = _conditions_over(tally, seen)
    else:
        reason = "Paused" if paused else "Pulling"
        words = f"{done} of {tally.desired} nodes are done" + (", parallelism is 0" if paused else "")
        conditions = _conditions(seen, ready=False, reconciling=not paused, reason=reason, message=words)
    status = _status(seen, tally, message=message, conditions=conditions)
    return msgspec.structs.replace(status, active=active)


def _ended(seen: Observed, tally: _Tally) -> ImagePullJobStatus:
    return _status(seen, tally, message=COMPLETED, conditions=_conditions_over(tally, seen), ended=True)


def _overdue(seen: Observed, tally: _Tally) -> ImagePullJobStatus:
    late = (*tally.active, *tally.untold)
    words = f"{len(late)} of {tally.desired} nodes were not done in time: {_listed(late)}"
    conditions = _conditions(
        seen, ready=False, reconciling=False, reason="DeadlineExceeded", message=words, stalled=True
    )
    return _status(seen, tally, message=OVERDUE, conditions=conditions, ended=True, late=late)


def _conditions_over(tally: _Tally, seen: Observed) -> tuple[Condition, ...]:
    if not tally.failed:
        words = (
            f"{tally.desired} of {tally.desired} nodes have the image" if tally.desired else _nobody(seen.job)
        )
        reason = "Completed" if tally.desired else "NoNodes"
        return _conditions(seen, ready=True, reconciling=False, reason=reason, message=words)
    name, status = tally.failed[0]
    words = f"{len(tally.failed)} of {tally.desired} nodes failed; {name}: {status.message}"
    reason = status.reason or "PullFailed"
    return _conditions(seen, ready=False, reconciling=False, reason=reason, message=words, stalled=True)


def _nobody(job: ImagePullJob) -> str:
    if job.spec.pod_selector is not None:
        return "podSelector selects no node: there are no pods in standalone mode; use selector"
    return "the selector matches no node; there is nothing to do"


def _conditions(
    seen: Observed, *, ready: bool, reconciling: bool, reason: str, message: str, stalled: bool = False
) -> tuple[Condition, ...]:
    states = ((names.READY, ready), (names.RECONCILING, reconciling), (names.STALLED, stalled))
    generation = seen.job.metadata.generation
    wanted = [
        Condition(
            type=type_,
            status="True" if state else "False",
            reason=reason,
            message=message,
            observed_generation=generation,
        )
        for type_, state in states
    ]
    return with_conditions(seen.job.status.conditions, wanted, seen.now)


def _status(
    seen: Observed,
    tally: _Tally,
    *,
    message: str,
    conditions: tuple[Condition, ...],
    ended: bool = False,
    late: tuple[str, ...] = (),
) -> ImagePullJobStatus:
    return ImagePullJobStatus(
        start_time=seen.job.status.start_time or seen.now,
        completion_time=seen.now if ended else None,
        desired=tally.desired,
        succeeded=len(tally.succeeded),
        failed=len(tally.failed) + len(late),
        message=message,
        failed_nodes=(*(name for name, _ in tally.failed), *late),
        observed_generation=seen.job.metadata.generation,
        conditions=conditions,
    )


def _listed(nodes: Sequence[str], most: int = 5) -> str:
    more = len(nodes) - most
    return ", ".join(nodes[:most]) + (f" and {more} more" if more > 0 else "")
