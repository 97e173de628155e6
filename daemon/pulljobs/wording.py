"""What the status of an ImagePullJob says at each point of its life: counters, conditions, words. Pure."""

from collections.abc import Sequence
from datetime import datetime

from daemon.objects.field_problems import FieldProblem
from daemon.objects.images import ImagePullJob, ImagePullJobStatus
from daemon.objects.kstatus import Told, kstatus
from daemon.objects.meta import Condition
from daemon.pulljobs.shares import JobShares

COMPLETED = "job has completed"
RUNNING = "job is running"
OVERDUE = "job exceeds activeDeadlineSeconds"
DEADLINE_EXCEEDED = "DeadlineExceeded"
"""A node gives this reason, too, for what it could not do in time."""
INVALID = "Invalid"


def running(job: ImagePullJob, shares: JobShares, now: datetime, *, asked: int) -> ImagePullJobStatus:
    """The status of a job that is not over, after *asked* more nodes were asked."""
    tally = shares.tally
    done = tally.desired - tally.active - len(tally.untold)
    active = tally.active + asked
    if active or done:
        message = f"{RUNNING}, progress {100 * done / max(tally.desired, 1):.1f}%"
    else:
        message = f"{RUNNING}, no progress"
    if shares.is_over:  # a Never job whose nodes are all served
        conditions = _conditions_over(job, shares, now)
    else:
        told = Told(*_movement(shares, done, active))
        conditions = kstatus(job, told, now)
    return _status(job, shares, now, message=message, conditions=conditions, active=active)


def ended(job: ImagePullJob, shares: JobShares, now: datetime) -> ImagePullJobStatus:
    """The status of a job whose nodes have all ended."""
    if job.spec.completion_policy.active_deadline_seconds is not None and _late(shares):
        return overdue(job, shares, now)  # a node minds the same deadline, and was the first to see it
    conditions = _conditions_over(job, shares, now)
    return _status(job, shares, now, message=COMPLETED, conditions=conditions, ended=True)


def overdue(job: ImagePullJob, shares: JobShares, now: datetime) -> ImagePullJobStatus:
    """The status of a job whose deadline has passed: what is not done counts as failed."""
    tally = shares.tally
    unfinished = (*tally.working, *tally.untold)
    late = (*_late(shares), *unfinished)
    words = f"{len(late)} of {tally.desired} nodes were not done in time: {listed(late)}"
    if shares.followed.unscheduled and not late:
        words = f"pods were not scheduled in time: {listed(shares.followed.unscheduled)}"
    told = Told(DEADLINE_EXCEEDED, words, stalled=True)
    conditions = kstatus(job, told, now)
    return _status(job, shares, now, message=OVERDUE, conditions=conditions, ended=True, late=unfinished)


def refused(job: ImagePullJob, problems: Sequence[FieldProblem], now: datetime) -> ImagePullJobStatus:
    """The status of a job that cannot be carried out as it is written."""
    words = "; ".join(map(str, problems))
    conditions = kstatus(job, Told(INVALID, words, stalled=True), now)
    return ImagePullJobStatus(
        message=words, observed_generation=job.metadata.generation, conditions=conditions
    )


def listed(nodes: Sequence[str], most: int = 5) -> str:
    """The first names, and how many there are beside them."""
    more = len(nodes) - most
    return ", ".join(nodes[:most]) + (f" and {more} more" if more > 0 else "")


def _movement(shares: JobShares, done: int, active: int) -> tuple[str, str, bool]:
    tally = shares.tally
    words = f"{done} of {tally.desired} nodes are done"
    if tally.is_over:
        return "WaitingForPods", f"{words}; to be scheduled: {listed(shares.followed.unscheduled)}", True
    silent = tally.silent
    if silent:
        words += f"; agents that do not answer: {listed(silent)}"
    if active:
        return "Pulling", words, True
    return "Paused", f"{words}, parallelism is 0", False


def _late(shares: JobShares) -> list[str]:
    """The nodes that said themselves that they were not done in time."""
    return [name for name, status in shares.tally.failures if status.reason == DEADLINE_EXCEEDED]


def _conditions_over(job: ImagePullJob, shares: JobShares, now: datetime) -> tuple[Condition, ...]:
    tally = shares.tally
    failures = tally.failures
    if failures:
        name, status = failures[0]
        words = f"{len(failures)} of {tally.desired} nodes failed; {name}: {status.message}"
        return kstatus(job, Told(status.reason or "PullFailed", words, stalled=True), now)
    if not tally.desired:
        return kstatus(job, Told("NoNodes", _nobody(job, shares), ready=True), now)
    words = f"{tally.desired} of {tally.desired} nodes have the image"
    return kstatus(job, Told("Completed", words, ready=True), now)


def _nobody(job: ImagePullJob, shares: JobShares) -> str:
    if job.spec.pod_selector is None:
        return "the selector matches no node; there is nothing to do"
    if shares.followed.known:
        return "podSelector matches no pod that runs on a node; there is nothing to do"
    return "podSelector selects no node: there are no pods in standalone mode; use selector"


def _status(  # noqa: PLR0913 - each is one part of the status
    job: ImagePullJob,
    shares: JobShares,
    now: datetime,
    *,
    message: str,
    conditions: tuple[Condition, ...],
    active: int = 0,
    ended: bool = False,
    late: tuple[str, ...] = (),
) -> ImagePullJobStatus:
    failed = tuple(name for name, _ in shares.tally.failures)
    return ImagePullJobStatus(
        start_time=job.status.start_time or now,
        completion_time=now if ended else None,
        desired=shares.tally.desired,
        active=active,
        succeeded=shares.tally.succeeded,
        failed=len(failed) + len(late),
        message=message,
        failed_nodes=(*failed, *late),
        observed_generation=job.metadata.generation,
        conditions=conditions,
    )
