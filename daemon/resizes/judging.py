"""What is to be done for the resize of one pod, or to be told of it. Pure."""

from collections.abc import Mapping

from daemon import names
from daemon.localpods.room import Changes, taken_by, taken_with, would_take
from daemon.objects import quantities
from daemon.objects.local_pods import LocalPod
from daemon.objects.resizes import Outcome, WishError, digest_of, record_of, wish_of
from daemon.resizes import wording
from daemon.resizes.cases import (
    LOOK_AGAIN,
    WAITING,
    Case,
    Claim,
    Finding,
    Judgement,
    infeasible,
    rolled_back,
    told,
    waiting,
)
from daemon.resizes.checking import first_problem
from daemon.resizes.following import follow
from daemon.resizes.plans import Blame, Observed, PodSeen, Question
from daemon.resizes.runtime_numbers import swaps
from daemon.resizes.targets import (
    POD,
    Value,
    differences,
    number,
    resizable,
    spec_of,
    status_of,
    target_of,
)


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


def _impossible(case: Case) -> Finding | None:
    """What no call to anybody would change."""
    if not case.world.served.resize:
        return told(case, Outcome.UNSUPPORTED, wording.unsupported(case.world.served))
    problem = first_problem(case.pod, case.wish)
    if problem is not None:
        return told(case, Outcome.ERROR, f"annotation {names.RESOURCES_ANNOTATION}: {problem}")
    running = [each for each in case.pod.status.container_statuses if each.state.running is not None]
    if running and running[0].resources is None:  # as the API server looks at it
        return told(case, Outcome.UNSUPPORTED, wording.old_kubelet())
    return None


def _possible(case: Case) -> Judgement:
    restored = case.rolled_back_to
    target = restored if restored is not None else target_of(case.pod, case.wish)
    values = differences(case.pod, target)
    if restored is not None:
        return _restoring(case, restored, values)
    return _begin(case, target, values) if values else follow(case, target)


def _restoring(case: Case, before: Changes, values: tuple[Value, ...]) -> Judgement:
    assert case.record is not None
    cause = case.record.cause
    refusal = case.seen.refusal
    if refusal is not None and refusal.values == values and refusal.retry_in > 0:
        message = f"{wording.rolled_back(before, cause)}; that was refused: {refusal.message}"
        return rolled_back(case, before, cause, message, wake_in=refusal.retry_in)
    if values:
        return _claim(case, before, values)
    return rolled_back(case, before, cause, wording.rolled_back(before, cause))


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
        return told(case, Outcome.ERROR, refusal.message, wake_in=refusal.retry_in)
    room, need = case.world.allocatable, would_take(case.pod, target)
    if room is not None and not room.holds(need):
        return infeasible(case, target, wording.too_much(need, room))
    return _swapping(case, values) or _unsafe(case, target, values) or _claim(case, target, values)


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
            return told(case, Outcome.ERROR, wording.swaps(name))
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
            message = wording.unsafe(each.container, each.quantity, used, margin)
            return waiting(case, target, Outcome.UNSAFE, message, wake_in=LOOK_AGAIN)
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
