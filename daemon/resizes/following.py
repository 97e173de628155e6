"""How far kubelet and runtime are with a spec that is what is wanted. Pure."""

from collections.abc import Iterator

from daemon.localpods.room import Changes
from daemon.objects.resizes import Outcome
from daemon.resizes import wording
from daemon.resizes.cases import LOOK_AGAIN, Case, Finding, Judgement, infeasible, told, waiting
from daemon.resizes.kubelet import Progress, Stage, progress_of
from daemon.resizes.plans import Question, Repair
from daemon.resizes.runtime_numbers import disagreement
from daemon.resizes.targets import POD, spec_of, status_of

_SETTLING = 0.5
"""Seconds in which a resize may end before it is told that it has begun: most do, which spares a write."""
_DOUBT = 3.0
"""Seconds for which a runtime must have had other numbers before a repair; doubles with each."""
_GIVING_UP = 2
"""Repairs after which it is told that they do not help."""


def follow(case: Case, target: Changes) -> Judgement:
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
            return told(case, Outcome.ERROR, progress.message)
        case Stage.ACTING:
            return _resizing(case, progress)
        case Stage.DONE:
            return _verified(case, target)


def _resizing(case: Case, progress: Progress) -> Finding:
    since = case.seen.patched_for
    if since is not None and since < _SETTLING:
        return told(case, None, wake_in=_SETTLING - since)
    return told(case, Outcome.RESIZING, progress.message)


def _verified(case: Case, target: Changes) -> Judgement:
    if case.seen.problem:
        known = case.record is not None and case.record.reason == Outcome.IN_SYNC
        problem = f"the runtime could not be asked: {case.seen.problem}"
        return told(case, None if known else Outcome.RESIZING, problem, wake_in=LOOK_AGAIN)
    if case.seen.numbers is None:
        return Question.NUMBERS
    doubt = next(_doubts(case, target), None)
    if doubt is None:
        return told(case, Outcome.IN_SYNC, wording.resources(target))
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
