"""Decides which nodes an ImagePullJob asks for its image now, and what its status says. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from daemon.objects.images import ImagePullJob, ImagePullJobStatus
from daemon.pulljobs import wording
from daemon.pulljobs.shares import JobShares


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The job and its nodes at one time."""

    job: ImagePullJob
    shares: JobShares
    now: datetime
    default_ttl: int
    """Seconds that a node keeps (and pins) the image of an ended job that sets no TTL."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Have the job's image in the node's spec, as its only share there."""

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


def is_ended(job: ImagePullJob) -> bool:
    """Tell whether the job, as it stands now, is over."""
    status = job.status
    return status.completion_time is not None and status.observed_generation == job.metadata.generation


def plan(seen: Observed) -> Plan:
    """Decide. An ended job is looked at only for its TTL, unless its spec was changed since."""
    status = seen.job.status
    if is_ended(seen.job):
        return _after_the_end(seen, status)
    if seen.shares.problems:
        return Plan(wording.refused(seen.job, seen.shares.problems, seen.now), tuple(_drops(seen)))
    if status.completion_time is not None:
        return _restart(seen)
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
    if age < kept and (ttl is not None or seen.shares.holders()):
        return Plan(status, wake_in=kept - age)
    removal: tuple[Action, ...] = (Remove(),) if ttl is not None else ()
    return Plan(status, (*_drops(seen), *removal))


def _drops(seen: Observed) -> Iterable[Drop]:
    return [Drop(node) for node in seen.shares.holders()]


def _progress(seen: Observed) -> Plan:
    job, shares = seen.job, seen.shares
    left = _deadline_left(seen)
    if left is not None and left <= 0 and not shares.is_over:
        return Plan(wording.overdue(job, shares, seen.now), tuple(_drops(seen)))
    if job.spec.completion_policy.type == "Always" and shares.is_over:
        return Plan(wording.ended(job, shares, seen.now), tuple(_strays(shares)), wake_in=0.0)
    room = _parallelism(job, shares.tally.desired) - shares.tally.active
    chosen = shares.next_nodes(room)
    begun = sum(map(shares.answers, chosen))
    asks = [Ask(node) for node in (*sorted(shares.outdated), *chosen)]
    status = wording.running(job, shares, seen.now, asked=begun)
    # Whom no agent serves counts as failed as soon as it was asked.
    return Plan(status, (*_strays(shares), *asks), wake_in=left if begun == len(chosen) else 0.0)


def _strays(shares: JobShares) -> Iterable[Drop]:
    """Shares that an edit of the job has made obsolete: another image, or a node no longer selected."""
    return [Drop(node, keep_current=current) for node, current in sorted(shares.strays.items())]


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
