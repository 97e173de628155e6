"""Which of a node's pods are resized now, in which order, and what is told of all of them. Pure.

Decreases go first, as they only give room back. Increases go in the order of priority, QoS class and age, as
far as there is room: what is given back counts once the kubelet's status shows it, as for the scheduler.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from daemon.localpods.room import Room, is_taking, taken_by
from daemon.objects.local_pods import LocalPod
from daemon.objects.resizes import Outcome, Record, record_of
from daemon.resizes import wording
from daemon.resizes.cases import WAITING, Claim, Finding, held_back
from daemon.resizes.judging import judge, restarts
from daemon.resizes.plans import Observed, Plan, PodSeen, Question, Resize, Step, Verdict
from daemon.resizes.targets import POD, status_of

_QOS = {"Guaranteed": 0, "Burstable": 1}
_UNKNOWN = datetime.max.replace(tzinfo=UTC)


class _Made(msgspec.Struct):
    """A plan while it is made."""

    steps: list[Step] = []
    verdicts: list[Verdict] = []
    questions: dict[str, Question] = {}
    doubted: set[str] = set()
    wakes: list[float] = []


def plan(seen: Observed) -> Plan:
    """Decide for one moment of a node."""
    made, claims = _Made(), list[Claim]()
    for each in seen.asking:
        if each.pod.metadata.deletion_timestamp is not None or not is_taking(each.pod):
            continue
        judged = judge(each, seen)
        if isinstance(judged, Question):
            made.questions[each.pod.metadata.uid] = judged
        elif isinstance(judged, Claim):
            claims.append(judged)
        else:
            _tell(made, seen, each, judged)
    for claim in _granted(made, seen, claims):
        made.steps.append(_resize(claim))
    return Plan(
        steps=tuple(made.steps),
        verdicts=tuple(made.verdicts),
        questions=made.questions,
        doubted=frozenset(made.doubted),
        wake_in=min(made.wakes, default=None),
    )


def _granted(made: _Made, seen: Observed, claims: Sequence[Claim]) -> Iterator[Claim]:
    """The claims that there is room for, in their order; the others are told to wait."""
    yield from (claim for claim in claims if not claim.grows.grows)
    free = free_now(seen)
    for claim in sorted((claim for claim in claims if claim.grows.grows), key=_rank):
        if free is None or seen.allocatable is None:
            yield claim
        elif free.holds(claim.grows):
            free = free.less(claim.grows.most(Room()))
            yield claim
        else:
            told = wording.deferred(free, claim.grows, seen.allocatable)
            _tell(made, seen, claim.case.seen, held_back(claim, told))


def free_now(seen: Observed) -> Room | None:
    """What all pods of the node leave; None while the Node cannot be read."""
    if seen.allocatable is None:
        return None
    free = seen.allocatable.less(seen.others)
    for each in seen.asking:
        if is_taking(each.pod):
            free = free.less(taken_by(each.pod))
    return free


def _rank(claim: Claim) -> tuple[int, int, datetime, datetime, str]:
    pod = claim.case.pod
    created = pod.metadata.creation_timestamp or _UNKNOWN
    return (
        -pod.spec.priority,
        _QOS.get(pod.status.qos_class, len(_QOS)),
        claim.since or _UNKNOWN,
        created,
        pod.metadata.uid,
    )


def _resize(claim: Claim) -> Resize:
    pod = claim.case.pod
    stopped = {
        each.container: status.container_id
        for each in claim.values
        if each.container != POD
        and restarts(pod, each.container, each.resource)
        and (status := status_of(pod, each.container)) is not None
        and status.state.running is not None
    }
    return Resize(pod, claim.values, stopped)


def _tell(made: _Made, seen: Observed, about: PodSeen, finding: Finding) -> None:
    if finding.repair is not None:
        made.steps.append(finding.repair)
    if finding.doubted:
        made.doubted.add(about.pod.metadata.uid)
    if finding.wake_in is not None:
        made.wakes.append(finding.wake_in)
    if finding.outcome is not None:
        made.verdicts.append(_verdict(about.pod, finding, finding.outcome, seen.now))


def _verdict(pod: LocalPod, finding: Finding, outcome: Outcome, now: datetime) -> Verdict:
    old = record_of(pod)
    same = old is not None and old.wish == finding.digest
    stays = same and old is not None and (old.reason == outcome or {old.reason, outcome} <= WAITING)
    record = Record(
        wish=finding.digest,
        reason=outcome,
        since=old.since if stays and old is not None else now,
        revision=finding.revision,
        before=finding.before,
        cause=finding.cause,
    )
    begins = not same or old is None or old.reason != outcome
    return Verdict(pod, outcome, finding.message, record, begins)
