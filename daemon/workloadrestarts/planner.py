"""Decides which pods a WorkloadRestart restarts now, and what its status says. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from daemon.objects.local_pods import LocalPod
from daemon.objects.workload_restarts import WorkloadRestart, WorkloadRestartStatus
from daemon.workloadrestarts import wording
from daemon.workloadrestarts.standing import Standing
from daemon.workloadrestarts.tally import Tally

_PARTS = re.compile(r"(\d+)")
LEAST_DEADLINE = 3
"""Seconds that a ContainerRecreateRequest has at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A restart and its pods at one time."""

    restart: WorkloadRestart
    standings: Sequence[Standing]
    now: datetime
    wanted: int = 0
    """How many pods the workload is to have; 0 where nobody says."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Make the request that restarts those containers of that pod."""

    pod: LocalPod
    containers: tuple[str, ...]
    deadline: int | None
    """Seconds that the request has, from its creation on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, what to report, and when time alone changes the answer."""

    status: WorkloadRestartStatus
    begin: tuple[Begin, ...] = field(default=())
    remove: bool = False
    """Delete the restart: its TTL has passed."""
    wake_in: float | None = None


def is_ended(restart: WorkloadRestart) -> bool:
    """Tell whether the restart is over. It is never taken up again."""
    return restart.status.completion_time is not None


def after_the_end(restart: WorkloadRestart, now: datetime) -> Plan:
    """What is left to do for a restart that has ended."""
    ended, ttl = restart.status.completion_time, restart.spec.ttl_seconds_after_finished
    if ended is None or ttl is None:
        return Plan(restart.status)
    left = ttl - (now - ended) / timedelta(seconds=1)
    return Plan(restart.status, remove=left <= 0, wake_in=left if left > 0 else None)


def plan(seen: Observed) -> Plan:
    """Decide for a restart that goes on."""
    restart = seen.restart
    tally = Tally.of(seen.standings, seen.wanted)
    left = _deadline_left(restart, seen.now)
    if tally.is_over:
        return Plan(wording.ended(restart, tally, seen.now))
    if left is not None and left <= 0:
        return Plan(wording.overdue(restart, tally, seen.now))
    chosen = _next(seen, tally)
    deadline = None if left is None else max(LEAST_DEADLINE, int(left))
    begin = tuple(Begin(each.pod, each.containers, deadline) for each in chosen)
    status = wording.running(restart, tally, seen.now, begun=len(begin))
    return Plan(status, begin, wake_in=left)


def limit_of(restart: WorkloadRestart, pods: int) -> int:
    """How many pods may be out of service: a percentage is rounded down, but something always moves."""
    wanted = restart.spec.max_unavailable
    if isinstance(wanted, str) and wanted.endswith("%"):
        return max(1, pods * int(wanted[:-1]) // 100)
    return max(1, int(wanted))


def _next(seen: Observed, tally: Tally) -> list[Standing]:
    """The pods that are begun now.

    One that is out of service already costs nothing more, so that a workload of which nothing is ready can be
    restarted, too; but no more are under way at the same time than may be out of service.
    """
    if seen.restart.spec.paused:
        return []
    limit = limit_of(seen.restart, max(tally.desired, seen.wanted))
    under_way, unavailable = tally.restarting, tally.unavailable
    chosen: list[Standing] = []
    for each in _in_order(seen):
        if under_way >= limit or (each.ready and unavailable >= limit):
            continue
        chosen.append(each)
        under_way += 1
        unavailable += each.ready
    return chosen


def _in_order(seen: Observed) -> list[Standing]:
    due = [each for each in seen.standings if each.state == "Due" and each.containers]
    order = seen.restart.spec.order or _usual(due)
    if order in {"NameAscending", "NameDescending"}:
        due.sort(key=lambda each: _natural(each.pod), reverse=order == "NameDescending")
    else:
        due.sort(key=lambda each: _age(each.pod), reverse=order == "NewestFirst")
    due.sort(key=lambda each: each.ready)  # stable: only who is out of service comes first
    return due


def _usual(due: Sequence[Standing]) -> str:
    """As the workload itself goes about an update: by falling ordinals where pods have such."""
    owners = {owner.kind for each in due for owner in each.pod.metadata.owner_references if owner.controller}
    return "NameDescending" if owners == {"StatefulSet"} else "OldestFirst"


def _natural(pod: LocalPod) -> list[tuple[int, str]]:
    """So that web-10 comes after web-9."""
    parts = _PARTS.split(pod.metadata.name)
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def _age(pod: LocalPod) -> tuple[datetime, str]:
    made = pod.metadata.creation_timestamp
    assert made is not None, "the API server gives every object one"
    return made, pod.metadata.name


def _deadline_left(restart: WorkloadRestart, now: datetime) -> float | None:
    deadline, made = restart.spec.active_deadline_seconds, restart.metadata.creation_timestamp
    if deadline is None or made is None:
        return None
    return deadline - (now - made) / timedelta(seconds=1)
