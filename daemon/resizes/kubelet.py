"""How far the kubelet says a resize is. Pure.

See KEP-1287: it first allocates (PodResizePending while it cannot), then acts (PodResizeInProgress), and
tells in each container's status what is in force.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum, auto

import msgspec

from daemon.localpods.conditions import condition_of
from daemon.localpods.room import Changes
from daemon.objects import quantities
from daemon.objects.local_pods import (
    RESIZE_IN_PROGRESS,
    RESIZE_PENDING,
    ContainerStatus,
    LocalPod,
    LocalPodCondition,
    ResourceRequirements,
)
from daemon.resizes.targets import PARTS, POD, spec_of, status_of

BELOW_USAGE = "below current usage"
"""In what it says of a memory limit that it cannot lower yet (kuberuntime, validateMemoryResizeAction)."""


class Stage(Enum):
    """Where the kubelet stands."""

    INFEASIBLE = auto()
    DEFERRED = auto()
    FAILING = auto()
    """It tries, fails and tries again."""
    BELOW_USAGE = auto()
    """It waits until less memory is in use."""
    ACTING = auto()
    DONE = auto()


class Progress(msgspec.Struct, frozen=True):
    """What the kubelet says."""

    stage: Stage
    message: str = ""
    since: datetime | None = None


def progress_of(pod: LocalPod, target: Changes) -> Progress:
    """How far the kubelet is with what the spec says of the containers that *target* names."""
    pending = _current(pod, RESIZE_PENDING)
    if pending is not None:
        stage = Stage.INFEASIBLE if pending.reason == "Infeasible" else Stage.DEFERRED
        return Progress(stage, _said(pending), pending.last_transition_time)
    acting = _current(pod, RESIZE_IN_PROGRESS)
    if acting is not None and acting.reason == "Error":
        stage = Stage.BELOW_USAGE if BELOW_USAGE in acting.message else Stage.FAILING
        return Progress(stage, _said(acting), acting.last_transition_time)
    if acting is not None or 0 < pod.status.observed_generation < pod.metadata.generation:
        return Progress(Stage.ACTING, "the kubelet is at it")
    left = [text for name in target if (text := _left(pod, name))]
    return Progress(Stage.ACTING, "; ".join(left)) if left else Progress(Stage.DONE)


def _current(pod: LocalPod, type_: str) -> LocalPodCondition | None:
    """The condition, if it holds and is about the spec as it is."""
    found = condition_of(pod, type_)
    if found is None or found.status != "True":
        return None
    stale = 0 < found.observed_generation < pod.metadata.generation
    return None if stale else found


def _said(condition: LocalPodCondition) -> str:
    return f"the kubelet says: {condition.message or condition.reason}"


def _left(pod: LocalPod, name: str) -> str:
    """What the kubelet has still to do for that container; empty when nothing."""
    if name == POD:
        seen = pod.status.resources
        return (
            "" if seen is None or _in_force(pod.spec.resources, seen) else "the pod: not all is in force yet"
        )
    status = status_of(pod, name)
    if status is None:
        return f"{name}: the kubelet has told nothing of it yet"
    if status.state.running is None:
        return f"{name} is not running: {_why(status)}" if _comes_back(pod, status) else ""
    wanted = spec_of(pod, name)
    given = status.allocated_resources
    allocated = not given or _same(wanted.requests, given)
    if not allocated or status.resources is None or not _in_force(wanted, status.resources):
        return f"{name}: not all is in force yet"
    return ""


def _comes_back(pod: LocalPod, status: ContainerStatus) -> bool:
    """Whether the container will run again: else nothing more will be in force."""
    ended = status.state.terminated
    if ended is None:
        return True
    return pod.spec.restart_policy == "Always" or (
        pod.spec.restart_policy == "OnFailure" and ended.exit_code != 0
    )


def _why(status: ContainerStatus) -> str:
    waiting, ended = status.state.waiting, status.state.terminated
    if waiting is not None:
        return waiting.reason or "it waits"
    return (ended.reason or "it ended") if ended is not None else "it has not started"


def _in_force(wanted: ResourceRequirements, seen: ResourceRequirements) -> bool:
    return all(_same(getattr(wanted, part), getattr(seen, part)) for part in PARTS)


def _same(wanted: Mapping[str, str], seen: Mapping[str, str]) -> bool:
    """Whether all that is wanted of CPU and memory is there, in the precision of the kubelet."""
    return all(
        resource in seen and quantities.amount(resource, seen[resource]) == quantities.amount(resource, text)
        for resource, text in wanted.items()
        if resource in quantities.RESIZABLE
    )
