"""How far the resize of one pod is, and what it waits for. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from daemon import names
from daemon.localpods.room import Changes, Room, taken_by, taken_with, would_take
from daemon.objects import quantities
from daemon.objects.local_pods import LocalPod
from daemon.objects.resizes import Outcome, Record, Wish, WishError, digest_of, record_of, wish_of
from daemon.resizes import wording
from daemon.resizes.checking import first_problem
from daemon.resizes.kubelet import Progress, Stage, progress_of
from daemon.resizes.plans import Blame, Observed, PodSeen, Question, Repair
from daemon.resizes.runtime_numbers import disagreement, swaps
from daemon.resizes.targets import (
    POD,
    Value,
    allocated_in,
    differences,
    number,
    resizable,
    spec_of,
    status_of,
    target_of,
)

WAITING = frozenset({Outcome.DEFERRED, Outcome.UNSAFE})
"""Outcomes that time may change: the deadline of a wish counts them together."""
_SETTLING = 0.5
"""Seconds in which a resize may end before it is told that it has begun: most do, which spares a write."""
_DOUBT = 3.0
"""Seconds for which a runtime must have had other numbers before a repair; doubles with each."""
_GIVING_UP = 2
"""Repairs after which it is told that they do not help."""
LOOK_AGAIN = 2.0
"""Seconds between two looks at what a container uses."""


@dataclass(frozen=True, slots=True)
class Case:
    """One pod, and what its annotation asks for."""

    seen: PodSeen
    world: Observed
    digest: str
    wish: Wish
    record: Record | None
    """What was recorded of this very wish."""

    @property
    def pod(self) -> LocalPod:
        """The pod."""
        return self.seen.pod

    @property
    def rolled_back_to(self) -> Changes | None:
        """What is to be restored, once the wish was given up."""
        record = self.record
        if record is None or record.reason != Outcome.ROLLED_BACK or record.before is None:
            return None
        able = resizable(self.pod)
        return {name: each for name, each in record.before.items() if name in able or name == POD}


@dataclass(frozen=True, slots=True)
class Finding:
    """How far a pod's resize is. Without an outcome, what was told of it stands."""

    outcome: Outcome | None
    message: str = ""
    digest: str = ""
    revision: str = ""
    before: Changes | None = None
    cause: str = ""
    repair: Repair | None = None
    doubted: bool = False
    """Whether the runtime has other numbers than the kubelet believes."""
    wake_in: float | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A pod whose spec is to change, and what that means for the room on its node."""

    case: Case
    target: Changes
    values: tuple[Value, ...]
    grows: Room
    """What it would take beside what it takes now; negative where it gives room back."""
    since: datetime | None
    """When it began to wait, if it did."""


Judgement = Finding | Claim | Question


def judge(seen: PodSeen, world: Observed) -> Judgement:
    """What is to be done for one pod, or to be told of it."""
    text = seen.pod.metadata.annotations.get(names.RESOURCES_ANNOTATION)
    if text is None:
        return Finding(Outcome.IN_SYNC, "nothing is wanted any more")
    digest, record = digest_of(text), record_of(seen.pod)
    try:
        wish = wish_of(text)
    except WishError as error:
        return Finding(Outcome.ERROR, str(error), digest)
    case = Case(seen, world, digest, wish, record if record is not None and record.wish == digest else None)
    return _impossible(case) or _possible(case)


def _told(case: Case, outcome: Outcome | None, message: str = "", *, wake_in: float | None = None) -> Finding:
    return Finding(outcome, message, case.digest, case.wish.revision, wake_in=wake_in)


def _impossible(case: Case) -> Finding | None:
    """What no call to anybody would change."""
    if not case.world.served.resize:
        return _told(case, Outcome.UNSUPPORTED, wording.unsupported(case.world.served))
    problem = first_problem(case.pod, case.wish)
    if problem is not None:
        return _told(case, Outcome.ERROR, f"annotation {names.RESOURCES_ANNOTATION}: {problem}")
    running = [each for each in case.pod.status.container_statuses if each.state.running is not None]
    if running and running[0].resources is None:  # as the API server looks at it
        return _told(case, Outcome.UNSUPPORTED, wording.old_kubelet())
    return None


def _possible(case: Case) -> Judgement:
    restored = case.rolled_back_to
    target = restored if restored is not None else target_of(case.pod, case.wish)
    values = differences(case.pod, target)
    if restored is not None:
        return _restoring(case, restored, values)
    return _begin(case, target, values) if values else _follow(case, target)


def _restoring(case: Case, before: Changes, values: tuple[Value, ...]) -> Judgement:
    assert case.record is not None
    cause = case.record.cause
    refusal = case.seen.refusal
    if refusal is not None and refusal.values == values and refusal.retry_in > 0:
        told = f"{wording.rolled_back(before, cause)}; that was refused: {refusal.message}"
        return _rolled_back(case, before, cause, told, wake_in=refusal.retry_in)
    if values:
        return _claim(case, before, values)
    return _rolled_back(case, before, cause, wording.rolled_back(before, cause))


def _rolled_back(
    case: Case, before: Changes, cause: str, message: str, *, wake_in: float | None = None
) -> Finding:
    return Finding(
        Outcome.ROLLED_BACK, message, case.digest, case.wish.revision, before, cause, wake_in=wake_in
    )


def _claim(case: Case, target: Changes, values: tuple[Value, ...]) -> Claim:
    grows = taken_with(case.pod, target).less(taken_by(case.pod))
    since = case.record.since if case.record is not None and case.record.reason in WAITING else None
    return Claim(case, target, values, grows, since)


def _begin(case: Case, target: Changes, values: tuple[Value, ...]) -> Judgement:
    """The spec is not yet what is wanted."""
    refusal = case.seen.refusal
    if refusal is not None and refusal.values == values and refusal.retry_in > 0:
        if refusal.blame is Blame.ROOM:
            return infeasible(case, target, refusal.message, wake_in=refusal.retry_in)
        return _told(case, Outcome.ERROR, refusal.message, wake_in=refusal.retry_in)
    room, need = case.world.allocatable, would_take(case.pod, target)
    if room is not None and not room.holds(need):
        return infeasible(case, target, wording.too_much(need, room))
    return _swapping(case, values) or _unsafe(case, target, values) or _claim(case, target, values)


def infeasible(case: Case, target: Changes, message: str, *, wake_in: float | None = None) -> Finding:
    """The wish can never be fulfilled on this node."""
    if case.wish.on_infeasible == "Rollback":
        before = allocated_in(case.pod, target)
        return _rolled_back(case, before, message, wording.rolled_back(before, message))
    return _told(case, Outcome.INFEASIBLE, message, wake_in=wake_in)


def waiting(
    case: Case,
    target: Changes,
    outcome: Outcome,
    message: str,
    *,
    since: datetime | None = None,
    wake_in: float | None = None,
) -> Finding:
    """The wish may be fulfilled later, unless its deadline passes before."""
    record = case.record
    began = record.since if record is not None and record.reason in WAITING else since or case.world.now
    if case.wish.on_deferred == "Wait":
        return _told(case, outcome, message, wake_in=wake_in)
    left = (began + timedelta(seconds=case.wish.deadline_seconds) - case.world.now).total_seconds()
    if left <= 0:
        cause = f"it had waited for {case.wish.deadline_seconds} s: {message}"
        before = allocated_in(case.pod, target)
        return _rolled_back(case, before, cause, wording.rolled_back(before, cause))
    return _told(case, outcome, message, wake_in=left if wake_in is None else min(left, wake_in))


def _swapping(case: Case, values: tuple[Value, ...]) -> Judgement | None:
    """The kubelet resizes no memory of a container that may swap, unless it restarts it."""
    changed = [
        each.container
        for each in values
        if each.resource == quantities.MEMORY and each.part == "requests" and each.container != POD
    ]
    staying = [name for name in changed if not restarts(case.pod, name, quantities.MEMORY)]
    if not staying or case.pod.status.qos_class != "Burstable":  # no other pod may swap
        return None
    if case.seen.numbers is None:
        return Question.NUMBERS
    for name in staying:
        found = case.seen.numbers.get(name)
        if found is not None and swaps(found):
            return _told(case, Outcome.ERROR, wording.swaps(name))
    return None


def restarts(pod: LocalPod, name: str, resource: str) -> bool:
    """Tell whether the kubelet restarts the container when that resource changes."""
    policies = resizable(pod)[name].resize_policy if name != POD else ()
    return any(
        each.resource_name == resource and each.restart_policy == "RestartContainer" for each in policies
    )


def _unsafe(case: Case, target: Changes, values: tuple[Value, ...]) -> Judgement | None:
    """A memory limit is not brought below what is in use: the kernel would kill for it."""
    lower = [each for each in values if _lowers(case.pod, each)]
    if not lower:
        return None
    if case.seen.usage is None:
        return Question.USAGE
    margin = case.world.margin
    for each in lower:
        used = _used(case.seen.usage, each.container)
        if used is None or used + margin > quantities.whole(each.quantity):
            told = wording.unsafe(each.container, each.quantity, used, margin)
            return waiting(case, target, Outcome.UNSAFE, told, wake_in=LOOK_AGAIN)
    return None


def _lowers(pod: LocalPod, value: Value) -> bool:
    if value.part != "limits" or value.resource != quantities.MEMORY:
        return False
    if value.container == POD:
        return _is_less(value.quantity, spec_of(pod, POD).limits.get(quantities.MEMORY))
    status = status_of(pod, value.container)
    if status is None or status.state.running is None or restarts(pod, value.container, quantities.MEMORY):
        return False
    return _is_less(
        value.quantity, status.resources.limits.get(quantities.MEMORY) if status.resources else None
    )


def _is_less(text: str, than: str | None) -> bool:
    limit = number(than)
    return limit is None or quantities.parse(text) < limit


def _used(usage: Mapping[str, int | None], container: str) -> int | None:
    if container != POD:
        return usage.get(container)
    every = list(usage.values())
    return None if None in every else sum(each for each in every if each is not None)


def _follow(case: Case, target: Changes) -> Judgement:
    """The spec is what is wanted: the kubelet and the runtime must follow."""
    progress = progress_of(case.pod, target)
    match progress.stage:
        case Stage.INFEASIBLE:
            return infeasible(case, target, progress.message)
        case Stage.DEFERRED:
            return waiting(case, target, Outcome.DEFERRED, progress.message, since=progress.since)
        case Stage.BELOW_USAGE:
            return waiting(case, target, Outcome.UNSAFE, progress.message, since=progress.since)
        case Stage.FAILING:
            return _told(case, Outcome.ERROR, progress.message)
        case Stage.ACTING:
            return _resizing(case, progress)
        case Stage.DONE:
            return _verified(case, target)


def _resizing(case: Case, progress: Progress) -> Finding:
    since = case.seen.patched_for
    if since is not None and since < _SETTLING:
        return _told(case, None, wake_in=_SETTLING - since)
    return _told(case, Outcome.RESIZING, progress.message)


def _verified(case: Case, target: Changes) -> Judgement:
    if case.seen.problem:
        known = case.record is not None and case.record.reason == Outcome.IN_SYNC
        told = f"the runtime could not be asked: {case.seen.problem}"
        return _told(case, None if known else Outcome.RESIZING, told, wake_in=LOOK_AGAIN)
    if case.seen.numbers is None:
        return Question.NUMBERS
    doubt = next(_doubts(case, target), None)
    if doubt is None:
        return _told(case, Outcome.IN_SYNC, wording.resources(target))
    left = _DOUBT * 2 ** min(case.seen.repairs, 5) - case.seen.doubted_for
    stubborn = case.seen.repairs >= _GIVING_UP
    return Finding(
        Outcome.ERROR if stubborn else None,
        wording.stubborn(doubt.why) if stubborn else "",
        case.digest,
        case.wish.revision,
        repair=doubt if left <= 0 else None,
        doubted=True,
        wake_in=left if left > 0 else LOOK_AGAIN,
    )


def _doubts(case: Case, target: Changes) -> Iterator[Repair]:
    """What the runtime has otherwise, although the kubelet says that all is done."""
    assert case.seen.numbers is not None
    for name in target:
        status = status_of(case.pod, name) if name != POD else None
        found = case.seen.numbers.get(name)
        if status is None or status.state.running is None or found is None:
            continue
        wanted = spec_of(case.pod, name)
        why = disagreement(wanted, found)
        if why:
            yield Repair(case.pod, name, status.container_id, wanted, found, why)
