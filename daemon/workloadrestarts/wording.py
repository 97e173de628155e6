"""What the status of a WorkloadRestart says at each point of its life: counters, conditions, words. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from daemon.objects.kstatus import Told, kstatus
from daemon.objects.workload_restarts import PodFailure, WorkloadRestart, WorkloadRestartStatus
from daemon.workloadrestarts.tally import Tally

_SHOWN: Final = 20
"""Failures that a status holds: it must stay small."""
COMPLETED: Final = "Completed"
FAILED: Final = "PodsFailed"
OVERDUE: Final = "DeadlineExceeded"
PAUSED: Final = "Paused"
RESTARTING: Final = "Restarting"
WAITING: Final = "WaitingForPods"
INVALID: Final = "Invalid"
TARGET_GONE: Final = "TargetNotFound"
BLOCKED: Final = "Refused"


def running(restart: WorkloadRestart, tally: Tally, now: datetime, *, begun: int) -> WorkloadRestartStatus:
    """The status of a restart that goes on, after *begun* more pods were begun."""
    under_way = tally.restarting + begun
    words = _counted(tally)
    if restart.spec.paused and not under_way:
        told = Told(PAUSED, f"{words}; spec.paused is true")
    elif under_way:
        told = Told(RESTARTING, f"{words}, {under_way} under way", reconciling=True)
    else:
        told = Told(WAITING, f"{words}; {_obstacle(restart, tally)}", reconciling=True)
    return _status(restart, tally, now, told, begun=begun)


def ended(restart: WorkloadRestart, tally: Tally, now: datetime) -> WorkloadRestartStatus:
    """The status of a restart of which nothing is left to do."""
    if tally.failures:
        first = tally.failures[0]
        words = f"{len(tally.failures)} of {tally.desired} pods failed; {first.pod}: {first.message}"
        return _status(restart, tally, now, Told(FAILED, words, stalled=True), over=True)
    if not tally.desired:
        words = "there is no pod to be restarted"
        return _status(restart, tally, now, Told("NoPods", words, ready=True), over=True)
    return _status(restart, tally, now, Told(COMPLETED, _counted(tally), ready=True), over=True)


def overdue(restart: WorkloadRestart, tally: Tally, now: datetime) -> WorkloadRestartStatus:
    """The status of a restart whose deadline has passed: what is not done is not done any more."""
    left = tally.due + tally.restarting
    words = (
        f"{left} of {tally.desired} pods were not restarted within {restart.spec.active_deadline_seconds} s"
    )
    if tally.due and not tally.restarting:
        words += f": {_obstacle(restart, tally)}"
    return _status(restart, tally, now, Told(OVERDUE, words, stalled=True), over=True, late=left)


def refused(restart: WorkloadRestart, reason: str, message: str, now: datetime) -> WorkloadRestartStatus:
    """The status of a restart that cannot be carried out; it ends at once."""
    nothing = Tally(0, 0, 0, 0, (), (), 0)
    return _status(restart, nothing, now, Told(reason, message, stalled=True), over=True)


def blocked(restart: WorkloadRestart, message: str, now: datetime) -> WorkloadRestartStatus:
    """The status of a restart that the API server does not let go on for now; its counts stay."""
    told = Told(BLOCKED, message, stalled=True)
    return msgspec.structs.replace(
        restart.status,
        start_time=restart.status.start_time or now,
        message=message,
        observed_generation=restart.metadata.generation,
        conditions=kstatus(restart, told, now),
    )


def listed(found: Sequence[str], most: int = 5) -> str:
    """The first names, and how many there are beside them."""
    more = len(found) - most
    return ", ".join(found[:most]) + (f" and {more} more" if more > 0 else "")


def _counted(tally: Tally) -> str:
    failed = f", {len(tally.failures)} failed" if tally.failures else ""
    return f"{tally.restarted} of {tally.desired} pods restarted{failed}"


def _obstacle(restart: WorkloadRestart, tally: Tally) -> str:
    said = [f"not ready: {listed(tally.unready)}"] if tally.unready else []
    said += [f"missing: {tally.missing}"] if tally.missing else []
    said = said or ["others restart something of the pods that are left"]
    return f"waits, since maxUnavailable is {restart.spec.max_unavailable}; {', '.join(said)}"


def _status(  # noqa: PLR0913 - each is one part of the status
    restart: WorkloadRestart,
    tally: Tally,
    now: datetime,
    told: Told,
    *,
    begun: int = 0,
    over: bool = False,
    late: int = 0,
) -> WorkloadRestartStatus:
    failures: tuple[PodFailure, ...] = tally.failures[:_SHOWN]
    return WorkloadRestartStatus(
        start_time=restart.status.start_time or now,
        completion_time=now if over else None,
        desired=tally.desired,
        restarted=tally.restarted,
        restarting=0 if over else tally.restarting + begun,
        failed=len(tally.failures) + late,
        unavailable=tally.unavailable,
        message=told.message,
        failures=failures,
        observed_generation=restart.metadata.generation,
        conditions=kstatus(restart, told, now),
    )
