"""What is to be done for one ContainerRecreateRequest, decided from one snapshot."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace

from daemon import names
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Condition, ObjectMeta, with_conditions
from daemon.objects.recreate_ends import ended, given_up, under_way
from daemon.objects.recreates import (
    ContainerRecreateRequest,
    Phase,
    RecreateState,
    RecreateStatus,
    state_of,
    unready_since,
)
from daemon.recreaterequests.refusals import container_id, refusal_of

LATENESS = timedelta(seconds=10)
"""How long after a request's deadline its agent may end it by itself: it knows best what it has done."""
_LONGEST_LABEL = 63


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that a decision depends on."""

    request: ContainerRecreateRequest
    pod: LocalPod | None
    """What has the pod's name now; all of it as long as nobody has looked after the request."""
    first: bool
    """Whether no older request of the pod is open."""
    silent_since: datetime | None
    """Since when the node's agent gives no sign of life."""
    now: datetime
    alone: bool = False
    """Whether OpenKruise's manager is gone, and what it looked after is ours."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Write these labels and finalizers of the request."""

    metadata: ObjectMeta


@dataclass(frozen=True, slots=True)
class Tell:
    """Write this status; *warning* is to be said in an event, too."""

    status: RecreateStatus
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """Take the pod with that UID out of traffic for the request's sake."""

    uid: str


@dataclass(frozen=True, slots=True)
class Unblock:
    """Let that pod back into traffic, as far as this request goes."""

    uid: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the request."""


@dataclass(frozen=True, slots=True)
class Look:
    """Look again after so many seconds."""

    seconds: float


Action = Mark | Tell | Block | Unblock | Remove | Look


def plan(seen: Observed) -> Sequence[Action]:
    """The actions, in the order in which they are done; none follows after a look."""
    request = seen.request
    if request.foreign and not seen.alone:
        return ()
    if request.metadata.deletion_timestamp is not None:
        return _released(request)
    if request.completed:
        return [*_released(request), *_kept(seen)]
    if not request.status.pod_uid:
        return [_adopted(seen)] if request.foreign else _begun(seen)
    if (end := _end(seen)) is not None:
        return [end]
    return [*_out_of_traffic(seen), *_watched(seen)]


def _begun(seen: Observed) -> Sequence[Action]:
    """Fill in which containers of which pod on which node are meant, or say why that is impossible."""
    request, pod = seen.request, seen.pod
    refusal = refusal_of(request, pod)
    if refusal is not None or pod is None:
        reason, message = refusal or ("PodNotFound", "spec.podName: there is no such pod")
        states = given_up(request, message)
        status = ended(request, states, seen.now, reason=reason, message=message)
        return [Tell(status, warning=message)]
    states = tuple(
        RecreateState(name=each.name, phase=str(Phase.PENDING), container_id=container_id(pod, each.name))
        for each in request.spec.containers
    )
    message = f"waits for the agent of node {pod.spec.node_name}"
    status = replace(
        under_way(request, Phase.PENDING, states, message, seen.now),
        pod_uid=pod.metadata.uid,
        node_name=pod.spec.node_name,
    )
    metadata = _marked(request, pod)
    return [*([Mark(metadata)] if metadata != request.metadata else ()), Tell(status)]


def _adopted(seen: Observed) -> Tell:
    """Say in our fields what OpenKruise's webhook said in its own: how far containers are stays as it is."""
    request, pod = seen.request, seen.pod
    states = tuple(state_of(request, each) for each in request.spec.containers)
    states = tuple(replace(each, phase=each.phase or str(Phase.PENDING)) for each in states)
    node = (
        pod.spec.node_name if pod is not None else request.metadata.labels.get(names.RECREATE_NODE_LABEL, "")
    )
    begun = any(each.phase != Phase.PENDING for each in states)
    phase, message = Phase.RECREATING if begun else Phase.PENDING, f"waits for the agent of node {node}"
    status = under_way(request, phase, states, message, seen.now)
    return Tell(replace(status, pod_uid=request.pod_uid, node_name=node))


def _marked(request: ContainerRecreateRequest, pod: LocalPod) -> ObjectMeta:
    """OpenKruise's labels, as far as they can hold it, and a finalizer if the pod is taken out of traffic."""
    labels = {**request.metadata.labels, names.RECREATE_POD_LABEL: pod.metadata.uid}
    if len(pod.spec.node_name) <= _LONGEST_LABEL:
        labels[names.RECREATE_NODE_LABEL] = pod.spec.node_name
    finalizers = request.metadata.finalizers
    if request.spec.strategy.unready_grace_period_seconds is not None:
        finalizers = _held(request)
    return replace(request.metadata, labels=labels, finalizers=finalizers)


def _end(seen: Observed) -> Tell | None:
    """What ends a request whatever its agent does."""
    request, pod = seen.request, seen.pod
    name = request.spec.pod_name
    if pod is None or pod.metadata.uid != request.status.pod_uid:
        return _failed(seen, "PodGone", f"pod {name} has gone")
    if (deadline := request.deadline) is not None and deadline + LATENESS <= seen.now:
        seconds = request.spec.active_deadline_seconds
        return _failed(
            seen, "DeadlineExceeded", f"recreating took longer than activeDeadlineSeconds: {seconds}"
        )
    if seen.silent_since is not None:
        node, since = request.status.node_name, seen.silent_since.isoformat()
        return _failed(seen, "AgentSilent", f"the agent of node {node} gives no sign of life since {since}")
    return None


def _failed(seen: Observed, reason: str, message: str) -> Tell:
    states = given_up(seen.request, message)
    return Tell(ended(seen.request, states, seen.now, reason=reason, message=message), warning=message)


def _out_of_traffic(seen: Observed) -> Sequence[Action]:
    """Only for the request whose turn it is: the pod serves while others wait."""
    request = seen.request
    wanted = request.spec.strategy.unready_grace_period_seconds is not None and seen.first
    if not wanted or unready_since(request) is not None:
        return ()
    condition = Condition(
        type=names.PRE_RECREATE_GRACE,
        status="True",
        reason="UnreadyAcquired",
        message="the pod is out of traffic, if it has the readiness gate KruisePodReady",
        observed_generation=request.metadata.generation,
    )
    conditions = with_conditions(request.status.conditions, [condition], seen.now)
    held = _held(request)
    mark = [Mark(replace(request.metadata, finalizers=held))] if held != request.metadata.finalizers else []
    return [*mark, Block(request.status.pod_uid), Tell(replace(request.status, conditions=conditions))]


def _held(request: ContainerRecreateRequest) -> tuple[str, ...]:
    """The finalizers with ours: nobody forgets a pod that is out of traffic for a request's sake."""
    return tuple(dict.fromkeys((*request.metadata.finalizers, names.UNREADY_ACQUIRED)))


def _watched(seen: Observed) -> Sequence[Action]:
    deadline = seen.request.deadline
    return () if deadline is None else [Look((deadline + LATENESS - seen.now).total_seconds())]


def _released(request: ContainerRecreateRequest) -> Sequence[Action]:
    """Let the pod back into traffic, and the request go."""
    if names.UNREADY_ACQUIRED not in request.metadata.finalizers:
        return ()
    left = tuple(each for each in request.metadata.finalizers if each != names.UNREADY_ACQUIRED)
    unblock = [Unblock(request.pod_uid)] if request.pod_uid else []
    return [*unblock, Mark(replace(request.metadata, finalizers=left))]


def _kept(seen: Observed) -> Sequence[Action]:
    """How long a request that has ended is kept."""
    request = seen.request
    seconds, ended_at = request.spec.ttl_seconds_after_finished, request.status.completion_time
    if seconds is None or ended_at is None:
        return ()
    left = (ended_at + timedelta(seconds=seconds) - seen.now).total_seconds()
    return [Look(left)] if left > 0 else [Remove()]
