"""A CloneSet's rollout as a person sees it: how far the set is, and each pod's step with its reason. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final, Literal

from daemon import names
from daemon.cli.output import clean
from daemon.debug.views import View
from daemon.inplace.preparation import Preparing, Unprepared, preparation_of
from daemon.inplace.records import UndecodableError, grace_of
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import condition_of
from daemon.objects.workloads import CloneSet
from daemon.workloads.clonesets.settings import settings_of
from daemon.workloads.clonesets.views import (
    PREPARING_DELETE,
    PREPARING_UPDATE,
    UPDATED,
    PodView,
    holds,
    is_changing,
    same_revision,
    view_of,
)
from daemon.workloads.clonesets.views import condition_of as pod_condition

Step = Literal["Deleting", "Pending", "Changing", "Held", "Preparing", "Starting", "Waiting", "Stays", "Done"]
_ORDER: Final[tuple[Step, ...]] = (
    *("Changing", "Held", "Preparing", "Starting", "Pending", "Deleting", "Waiting", "Stays", "Done"),
)
_PATIENCE: Final = 600.0
_QUIET: Final[Mapping[Step, tuple[str, str]]] = {
    "Waiting": ("wait for their turn", "waits for its turn"),
    "Stays": ("stay as they are, kept by the partition", "stays as it is, kept by the partition"),
}
"""Of many pods, and of one."""
UNSEEN: Final = (
    "nobody has looked at the newest spec yet: does the controller run, with its setting clone-sets?"
)


class PodStep(View, frozen=True, kw_only=True):
    """Where one pod is."""

    name: str
    node: str
    revision: str
    step: Step
    reason: str = ""
    restarts: int = 0


class Rollout(View, frozen=True, kw_only=True):
    """Where the whole set is."""

    name: str
    namespace: str
    revision: str
    updated: int
    expected: int
    available: int
    replicas: int
    reason: str = ""
    message: str = ""
    done: bool = False
    failed: bool = False
    pods: tuple[PodStep, ...] = ()


def rollout_of(obj: CloneSet, pods: Iterable[LocalPod], now: datetime) -> Rollout:
    """What is to be shown of *obj* and its *pods*, those first that move."""
    status = obj.status
    settings = settings_of(obj)
    newest = status.observed_generation == obj.metadata.generation
    ready = condition_of(status.conditions, names.READY)
    stalled = condition_of(status.conditions, names.STALLED)
    steps = [_step(obj, pod, now) for pod in pods]
    steps = _kept(steps, settings.partition)
    return Rollout(
        name=obj.metadata.name,
        namespace=obj.metadata.namespace,
        revision=status.update_revision,
        updated=status.updated_replicas,
        expected=status.expected_updated_replicas,
        available=status.available_replicas,
        replicas=obj.spec.replicas,
        reason=ready.reason if ready is not None and newest else "",
        message=clean(ready.message) if ready is not None and newest else UNSEEN,
        done=newest and ready is not None and ready.status == "True",
        failed=newest and stalled is not None and stalled.status == "True",
        pods=tuple(sorted(steps, key=lambda each: (_ORDER.index(each.step), each.name))),
    )


def why_update(rollout: Rollout, pod: str) -> Iterator[str]:
    """Where that pod is in the rollout, unless it has come through it."""
    for each in rollout.pods:
        if each.name == pod and each.step != "Done":
            # How far the node is, the pod's own condition tells.
            said = each.reason if each.step != "Preparing" else ""
            yield f"its rollout: {each.step}" + (f", {said}" if said else "")


def why_rollout(rollout: Rollout) -> Iterator[str]:
    """How far the rollout is, and how many pods have not begun to change."""
    if not rollout.done:
        yield f"rollout to {rollout.revision}: {headline(rollout).partition(': ')[2]}"
    for step, words in _QUIET.items():
        count = len(quiet_pods(rollout, step))
        if count:
            yield f"{count} {'pod' if count == 1 else 'pods'} {words[count == 1]}"


def quiet_pods(rollout: Rollout, *steps: Step) -> set[str]:
    """The names of pods of which no more is to be said than that they have not begun to change."""
    return {each.name for each in rollout.pods if each.step in (steps or _QUIET)}


def headline(rollout: Rollout) -> str:
    """The set's state on one line, as the controller tells it; counted here while it has told nothing yet."""
    if rollout.message and rollout.message != UNSEEN:
        return f"cloneset/{rollout.name}: {rollout.message}"
    count = f"{rollout.updated} of {rollout.expected} updated"
    count += f", {rollout.available} of {rollout.replicas} available"
    said = f"; {rollout.message}" if rollout.message else ""
    return f"cloneset/{rollout.name}: {count}{said}"


def ended(rollout: Rollout) -> str:
    """What came of it."""
    if rollout.done:
        return f"cloneset/{rollout.name} is at {rollout.revision}: {rollout.message}"
    return f"cloneset/{rollout.name} is stuck, {rollout.reason}: {rollout.message}"


def _kept(steps: list[PodStep], partition: int) -> list[PodStep]:
    """*steps*, in which as many of those that wait as the partition keeps are said to stay."""
    waiting = [each.name for each in steps if each.step == "Waiting"]
    if not partition or len(waiting) > partition:
        return steps
    stay = set(waiting)
    return [
        PodStep(
            name=each.name,
            node=each.node,
            revision=each.revision,
            step="Stays",
            reason="kept by the partition",
            restarts=each.restarts,
        )
        if each.name in stay
        else each
        for each in steps
    ]


def _step(obj: CloneSet, pod: LocalPod, now: datetime) -> PodStep:
    revision = pod.metadata.labels.get(names.TEMPLATE_HASH_LABEL, "")
    step, reason = _where(obj, pod, now)
    return PodStep(
        name=pod.metadata.name,
        node=pod.spec.node_name,
        revision=revision.rpartition("-")[2],
        step=step,
        reason=clean(reason),
        restarts=sum(each.restart_count for each in pod.status.container_statuses),
    )


def _where(obj: CloneSet, pod: LocalPod, now: datetime) -> tuple[Step, str]:
    update = obj.status.update_revision
    view = view_of(pod, settings_of(obj), update, now)
    if view.deleting or view.doomed or view.state == PREPARING_DELETE:
        return _going(view)
    if view.state == PREPARING_UPDATE:
        return "Held", "before it changes, by lifecycle.inPlaceUpdate"
    if is_changing(pod, now):
        return "Changing", _changing(pod, now)
    if not same_revision(view.revision, update):
        return _before(view, update, now)
    if not pod.spec.node_name:
        return "Pending", "is on no node yet"
    return _after(pod, available=view.available, state=view.state, ripens_in=view.ripens_in)


def _going(view: PodView) -> tuple[Step, str]:
    """Of a pod that is to go."""
    if view.deleting:
        return "Deleting", "is being stopped"
    if view.state == PREPARING_DELETE:
        return "Held", "before it is deleted, by lifecycle.preDelete"
    return "Deleting", "as soon as enough others are available"


def _before(view: PodView, update: str, now: datetime) -> tuple[Step, str]:
    """Of a pod that has not begun to change."""
    match preparation_of(view.pod, update, now, _PATIENCE):
        case Preparing(message):
            return "Preparing", message
        case Unprepared(reason, message):
            words = f"{reason}: {message}"
            return ("Preparing", words) if view.unprepared else ("Waiting", f"to be replaced, since {words}")
        case _:
            return "Waiting", ""


def _changing(pod: LocalPod, now: datetime) -> str:
    try:
        grace = grace_of(pod)
    except UndecodableError as error:
        return str(error)
    gate = pod_condition(pod, names.IN_PLACE_UPDATE_READY)
    if gate is not None and gate.reason and gate.message and gate.reason != "StartInPlaceUpdate":
        return f"{gate.reason}: {gate.message}"
    if grace is not None:
        since = gate.last_transition_time if gate is not None else None
        left = grace.grace_seconds - (now - (since or now)).total_seconds()
        return f"out of traffic, changes in {max(left, 0.0):.0f} s"
    return _waiting(pod) or "its containers restart"


def _after(pod: LocalPod, *, available: bool, state: str, ripens_in: float | None) -> tuple[Step, str]:
    """Of a pod that has come to the revision."""
    if state == UPDATED:
        return "Held", "after its change, until lifecycle.inPlaceUpdate is put back"
    if available:
        return "Done", ""
    if ripens_in is not None:
        return "Starting", f"is ready, counts in {ripens_in:.0f} s (minReadySeconds)"
    if holds(pod, names.READY):
        return "Held", "is new, until lifecycle.preNormal is there"
    return "Starting", _waiting(pod) or "is not ready yet"


def _waiting(pod: LocalPod) -> str:
    for each in pod.status.container_statuses:
        if each.state.waiting is not None:
            said = ": ".join(part for part in (each.state.waiting.reason, each.state.waiting.message) if part)
            return f"container {each.name} waits: {said}"
        if not each.ready:
            return f"container {each.name} is not ready"
    return ""
