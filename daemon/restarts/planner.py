"""Decides what is to be done for the containers of one pod. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Final, NamedTuple

import msgspec

from daemon import names
from daemon.localpods.conditions import news
from daemon.objects.container_env import metadata_values, restartable
from daemon.objects.container_hashes import environment_hash, fingerprint
from daemon.objects.local_pods import LocalPod
from daemon.objects.planned_restarts import counted, replaced, updated
from daemon.objects.running_containers import (
    ContainerHashes,
    ContainerMeta,
    RunningContainer,
    running_containers,
    told_of,
    written_for_kruise,
)
from daemon.objects.slim_pods import is_managed
from daemon.restarts.judging import Judge
from daemon.restarts.plans import Finding, Look, Observed, Plan, Report, Stage, Stop
from daemon.restarts.wording import TRANSITIONAL, condition, reason_of_stop

SLOW: Final = 3.0
"""Seconds that a restart may take before its steps are told: a usual one is told when it is done."""
LONG: Final = 10.0
"""Seconds that a pod may wait for its turn before that is told: in a rollout most of them wait."""
_OFF: Final = frozenset({Stage.ABSENT, Stage.UNREAD, Stage.IN_SYNC})
"""Stages of containers that have not drifted, as far as is known."""


def concerns(pod: LocalPod) -> bool:
    """Tell whether anything is said or done about the containers of *pod*."""
    gates = {gate.condition_type for gate in pod.spec.readiness_gates}
    return names.IN_PLACE_UPDATE_READY in gates or names.RESTART_ANNOTATION in pod.metadata.annotations


def plan(seen: Observed) -> Plan:
    """What is to be done now. The deletion of the pod ends everything."""
    if seen.pod.metadata.deletion_timestamp is not None or not concerns(seen.pod):
        return Plan()
    judge = Judge.of(seen)
    found = [judge.find(container) for container in restartable(seen.pod)]
    looks = tuple(Look(each.container, each.container_id) for each in found if each.stage is Stage.UNREAD)
    if looks:  # They end by planning anew, with all of it known.
        return Plan(looks)
    due = [each for each in found if each.stage is Stage.DUE]
    fresh = [each for each in due if judge.asker != "owner" and _counts(seen.pod, each)]
    drifting = [each for each in found if each.stage not in _OFF]
    untold = _untold(seen, found) if not fresh else 0.0
    waits = _Waits(untold, _unanswered(seen, judge))
    return Plan(
        report=_report(seen, judge, found, {each.name: each.container_id for each in fresh}, waits),
        stops=tuple(_stop(seen.pod, each) for each in due),
        again_in=min([*(each.again_in for each in found), *(each for each in waits if each > 0)]),
        drifting=frozenset(each.container_id for each in drifting),
        found=tuple(found),
    )


def _counts(pod: LocalPod, finding: Finding) -> bool:
    """Whether its stop is not counted yet: without a grant that names it, that comes before the stop."""
    return bool(counted(pod, {finding.name: finding.container_id}))


def _stop(pod: LocalPod, finding: Finding) -> Stop:
    return Stop(
        finding.name,
        finding.container_id,
        reason_of_stop(finding),
        fingerprint(metadata_values(pod, finding.container)),
    )


def _untold(seen: Observed, found: Sequence[Finding]) -> float:
    """Seconds for which a step of a restart is not told yet; 0 when all is told as it is."""
    moving = [each for each in found if each.stage in TRANSITIONAL]
    if not moving:
        return 0.0
    begun = min(seen.since.get(each.container_id, seen.monotonic) for each in moving)
    patience = LONG if all(each.stage is Stage.WAITING for each in moving) else SLOW
    settled = [each for each in found if each.stage in {Stage.FAILED, Stage.BACK_OFF}]
    return 0.0 if settled else max(0.0, begun + patience - seen.monotonic)


def _unanswered(seen: Observed, judge: Judge) -> float:
    """Seconds for which annotations are left to the controller; 0 when they are ours.

    What an update replaces, it counts and tells OpenKruise of with its last word, which comes as soon as it
    knows of the successors. A kubelet looks at the pod for each annotation: ours would only make that later.
    """
    pod, replacing = seen.pod, updated(seen.pod)
    if judge.asker != "update" or not replacing:
        return 0.0
    if replacing.keys() - replaced(pod).keys():
        return inf
    ids = [status.container_id for name in replacing if (status := pod.status.of(name)) is not None]
    known = max((seen.read_at.get(each, seen.monotonic) for each in ids), default=seen.monotonic)
    return max(0.0, known + SLOW - seen.monotonic)


class _Waits(NamedTuple):
    """Seconds for which something is not told yet."""

    untold: float
    """How far restarts are."""
    unanswered: float
    """What the controller tells with its last word on an update."""


def _report(
    seen: Observed, judge: Judge, found: Sequence[Finding], fresh: Mapping[str, str], waits: _Waits
) -> Report | None:
    """What of it is news to whoever reads the pod."""
    pod = seen.pod
    before = running_containers(pod)
    running = _with_given_up(judge, {**before, **_running(found)}, found)
    stopped = {**_replaced(judge, before, running), **fresh}
    annotations = _changed(pod, _grant(pod, judge, found))
    if not waits.unanswered:
        stopped = {**replaced(pod), **stopped}
        annotations |= _changed(pod, [*_told_to_kruise(pod, found), (names.REPLACED_ANNOTATION, None)])
    wanted = [None if waits.untold > 0 else condition(pod, found), told_of(running) if running else None]
    told = news(pod, [each for each in wanted if each is not None], seen.now)
    if not (told or annotations or stopped):
        return None
    return Report(tuple(told), annotations, stopped)


def _changed(pod: LocalPod, wanted: Iterable[tuple[str, str | None]]) -> dict[str, str | None]:
    return {key: text for key, text in wanted if pod.metadata.annotations.get(key) != text}


def _running(found: Sequence[Finding]) -> Mapping[str, RunningContainer]:
    """What the containers run with that were read."""
    return {
        each.name: RunningContainer(
            id=each.container_id,
            restarts=each.status.restart_count,
            image=each.record.image_hash,
            metadata=each.record.fingerprint,
        )
        for each in found
        if each.record is not None and each.status is not None
    }


def _with_given_up(
    judge: Judge, running: Mapping[str, RunningContainer], found: Sequence[Finding]
) -> Mapping[str, RunningContainer]:
    """Tell the controller for what no restart comes any more: else it would grant one, and wait for it."""
    given_up = {
        each.name: fingerprint(metadata_values(judge.seen.pod, each.container))
        for each in found
        if judge.asker == "owner" and each.is_given_up and each.name in running
        if running[each.name].id == each.container_id
    }
    return {
        name: msgspec.structs.replace(each, given_up=given_up.get(name, "")) for name, each in running.items()
    }


def _replaced(
    judge: Judge, before: Mapping[str, RunningContainer], now: Mapping[str, RunningContainer]
) -> Mapping[str, str]:
    """The predecessors whose end was asked for: by a grant, or by another image."""
    by_controller = updated(judge.seen.pod).items()
    return {
        name: old.id
        for name, old in before.items()
        if (new := now[name]).id != old.id
        and (judge.grants.get(name) == old.id or (old.image and old.image != new.image))
        and (name, old.id) not in by_controller
    }


def _grant(pod: LocalPod, judge: Judge, found: Sequence[Finding]) -> list[tuple[str, str | None]]:
    """Give the grant back once all that it names is replaced, or needs no restart any more."""
    if names.GRANT_ANNOTATION not in pod.metadata.annotations:
        return []
    open_ = [each for each in found if each.name in judge.grants and not _is_over(judge, each)]
    return [] if open_ else [(names.GRANT_ANNOTATION, None)]


def _is_over(judge: Judge, finding: Finding) -> bool:
    """Whether a grant for that container has done its work: it is known how the container of now runs.

    One that is given up holds up the other pods of its owner for nothing.
    """
    same = judge.grants[finding.name] == finding.container_id
    return (same and finding.is_given_up) or (
        finding.record is not None and (not same or finding.stage is Stage.IN_SYNC)
    )


def _told_to_kruise(pod: LocalPod, found: Sequence[Finding]) -> list[tuple[str, str | None]]:
    """What OpenKruise's manager reads."""
    metas = _metas(pod, found) if is_managed(pod) else []
    return [(names.KRUISE_META_ANNOTATION, written_for_kruise(metas))] if metas else []


def _metas(pod: LocalPod, found: Sequence[Finding]) -> list[ContainerMeta]:
    """For OpenKruise's manager, in the order of the statuses; nothing while one is not known."""
    by_name = {each.name: each for each in found}
    ordered = [by_name[status.name] for status in pod.status.container_statuses if status.name in by_name]
    if any(each.record is None for each in ordered):
        return []
    return [_meta(each) for each in ordered]


def _meta(finding: Finding) -> ContainerMeta:
    assert finding.record is not None
    assert finding.status is not None
    return ContainerMeta(
        name=finding.name,
        container_id=finding.container_id,
        restart_count=finding.status.restart_count,
        hashes=ContainerHashes(
            plain_hash=finding.record.image_hash,
            extracted_env_from_metadata_hash=environment_hash(finding.record.metadata),
        ),
    )
