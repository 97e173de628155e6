"""``kubectl inplaced why``: what a pod, or a restart of pods, is waiting for, in words. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from daemon import names
from daemon.cli.output import age, clean
from daemon.cli.shares import silent_for
from daemon.cli.why import RELEASE_HINT, SILENT, some
from daemon.launchorder.planner import has_started
from daemon.objects.launch_order import gates_of, is_open
from daemon.objects.local_pods import ContainerStatus, LocalPod, LocalPodCondition
from daemon.objects.meta import selects
from daemon.objects.pod_readiness import blockers
from daemon.objects.recreates import ContainerRecreateRequest
from daemon.objects.resizes import record_of
from daemon.objects.workload_restarts import WorkloadReference, WorkloadRestart
from daemon.workloadrestarts.standing import is_ready

_OURS: Final = {
    names.CONTAINERS_IN_SYNC: "its containers are not in sync",
    names.RESOURCES_IN_SYNC: "its resources are not in sync",
    names.NEXT_REVISION_READY: "what it becomes next is not prepared",
}
_INDENT: Final = "  "
UNSEEN: Final = 10.0
"""Seconds after which a request that nobody took up is worth a word."""


@dataclass(frozen=True, slots=True)
class PodScene:
    """What was read about pods, at one moment."""

    now: datetime
    requests: Sequence[ContainerRecreateRequest]
    restarts: Sequence[WorkloadRestart]
    renewed: Mapping[str, datetime] | None
    """When each node's agent gave its last sign of life; None where Leases may not be read."""

    def silence(self, node: str) -> str:
        """Why the node's agent cannot be expected to do anything; empty when it can."""
        if self.renewed is None or not node:
            return ""
        if not self.renewed:
            return f"no agent has given a sign of life; {RELEASE_HINT}"
        seconds = silent_for(self.renewed.get(node), self.now)
        if seconds is None:
            return f"no agent has given a sign of life on node {node}"
        return f"the agent of node {node} has been silent for {age(seconds)}" if seconds > SILENT else ""


def why_pod(pod: LocalPod, scene: PodScene, room: Sequence[str] = ()) -> Iterator[str]:
    """What the pod is waiting for: a headline, then a line for each reason; *room* explains a resize."""
    of_agent = [*_changes(pod, scene.now, room), *_asked(pod, scene)]
    silence = scene.silence(pod.spec.node_name) if of_agent else ""
    reasons = [*_containers(pod), *of_agent, *([silence] if silence else [])]
    yield f"pod/{pod.metadata.name}: {_headline(pod, reasons)}"
    for reason in reasons:
        beneath = _INDENT if reason.startswith(_INDENT) else ""
        yield f"{_INDENT}{beneath}{clean(reason.removeprefix(beneath))}"


def why_pods_of_node(pods: Sequence[LocalPod], now: datetime) -> Iterator[str]:
    """What those of a node's *pods* wait for that change in place: a line each, as many as can be read."""
    waiting = [
        (pod.metadata.key, "; ".join(reasons)) for pod in pods if (reasons := list(_changes(pod, now, ())))
    ]
    yield from some(
        sorted(waiting), lambda each: f"  pod/{each[0].name} in {each[0].namespace}: {clean(each[1])}"
    )


def _headline(pod: LocalPod, reasons: Sequence[str]) -> str:
    if pod.metadata.deletion_timestamp is not None:
        return "is being removed"
    if not pod.spec.node_name:
        return f"is on no node yet; kubectl describe pod {pod.metadata.name} says why"
    return ("is ready" if is_ready(pod) else "is not ready") + (
        "" if reasons else ", and nothing is asked of it"
    )


def _changes(pod: LocalPod, now: datetime, room: Sequence[str]) -> Iterator[str]:
    """What the pod itself says of changes that its node's agent has a part in."""
    conditions = {each.type: each for each in pod.status.conditions}
    updating = conditions.get(names.IN_PLACE_UPDATE_READY)
    if updating is not None and updating.status != "True":
        yield f"is being updated in place{_said(updating)}"
    for each in sorted(blockers(pod)):
        yield f"is kept out of traffic by {each.user_agent} {each.key}"
    for type_, words in _OURS.items():
        condition = conditions.get(type_)
        if condition is not None and condition.status != "True":
            yield f"{words}{_said(condition, _since(pod, condition, now))}"
            if type_ == names.RESOURCES_IN_SYNC:
                yield from (f"{_INDENT}{line}" for line in room)


def _since(pod: LocalPod, condition: LocalPodCondition, now: datetime) -> str:
    """For how long it has been like this; of a resize its record knows, as reasons change."""
    record = record_of(pod) if condition.type == names.RESOURCES_IN_SYNC else None
    moment = record.since if record is not None else condition.last_transition_time
    return f" for {age((now - moment).total_seconds())}" if moment is not None else ""


def _said(condition: LocalPodCondition, since: str = "") -> str:
    words = ": ".join(part for part in (f"{condition.reason}{since}", condition.message) if part)
    return f": {words}" if words else ""


def _containers(pod: LocalPod) -> Iterator[str]:
    """What the kubelet says of containers that are not in service."""
    statuses = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    for status in statuses:
        if held := _held(pod, status.name):
            yield held
        elif status.state.waiting is not None:
            waiting = status.state.waiting
            words = ": ".join(part for part in (waiting.reason, waiting.message) if part)
            yield f"container {status.name} waits: {words or 'to be started'}"
        elif status.state.running is not None and not status.ready and _is_main(pod, status):
            yield f"container {status.name} runs and is not ready"


def _is_main(pod: LocalPod, status: ContainerStatus) -> bool:
    return any(each.name == status.name for each in pod.spec.containers)


def _held(pod: LocalPod, name: str) -> str:
    """Whom a container waits for in the launch order; empty when it need not wait."""
    gates = gates_of(pod)
    gate = gates.get(name)
    if gate is None or is_open(pod, gate):
        return ""
    above = [
        f"{other} (priority {each.priority})"
        for other, each in gates.items()
        if each.priority > gate.priority and not has_started(pod, other)
    ]
    waits = f"container {name} waits for its turn in the launch order (priority {gate.priority})"
    return f"{waits}: {', '.join(above)} first" if above else f"{waits}; is the controller running?"


def _asked(pod: LocalPod, scene: PodScene) -> Iterator[str]:
    """What others have asked of the pod."""
    about = [each for each in scene.requests if each.pod_key == pod.metadata.key and not each.completed]
    about.sort(key=lambda each: each.order)
    for place, request in enumerate(about):
        behind = f", behind {about[place - 1].metadata.name}" if place else ""
        yield f"{_request(request, scene)}{behind}"
    named = {each.metadata.name for each in about}
    for restart in scene.restarts:
        if (
            restart.status.completion_time is None
            and means(restart, pod)
            and not _is_begun(restart, named, about)
        ):
            yield f"workloadrestart/{restart.metadata.name} has not come to it: {_state(restart, scene.now)}"


def _is_begun(restart: WorkloadRestart, named: set[str], about: Sequence[ContainerRecreateRequest]) -> bool:
    owners = {owner.uid for each in about for owner in each.metadata.owner_references}
    return bool(named) and restart.metadata.uid in owners


def _request(request: ContainerRecreateRequest, scene: PodScene) -> str:
    said = request.status.message or f"nobody has taken it up for {_age(request, scene.now)}"
    phase = request.status.phase or "new"
    return f"containerrecreaterequest/{request.metadata.name} is {phase}: {said}"


def means(restart: WorkloadRestart, pod: LocalPod) -> bool:
    """Whether the restart is about the pod, as far as the two tell it themselves."""
    if restart.metadata.namespace != pod.metadata.namespace:
        return False
    reference, selector = restart.spec.workload_ref, restart.spec.selector
    if reference is None:
        return selector is not None and selects(selector, pod.metadata.labels)
    owner = pod.metadata.controller
    if owner is None:
        return False
    if reference.kind == "Deployment":
        return owner.kind == "ReplicaSet" and owner.name.rpartition("-")[0] == reference.name
    return (owner.kind, owner.name) == (reference.kind, reference.name)


def why_workload(
    reference: WorkloadReference,
    pods: Sequence[tuple[LocalPod, Sequence[str]]],
    scene: PodScene,
    rollout: Sequence[str] = (),
) -> Iterator[str]:
    """What a workload's pods wait for, each given with its own lines: only those that wait are listed."""
    ready = sum(is_ready(pod) for pod, _ in pods)
    yield f"{reference}: {ready} of {len(pods)} pods are ready"
    yield from (f"  {clean(line)}" for line in rollout)
    for restart in scene.restarts:
        if restart.status.completion_time is None and restart.spec.workload_ref == reference:
            yield "  " + clean(f"workloadrestart/{restart.metadata.name}: {_state(restart, scene.now)}")
    for pod, lines in sorted(pods, key=lambda each: each[0].metadata.name):
        if len(lines) > 1 or not is_ready(pod):
            yield from (f"  {line}" for line in lines)


def why_request(request: ContainerRecreateRequest, scene: PodScene) -> Iterator[str]:
    """What one request waits for, and how far each container is."""
    where = f"containerrecreaterequest/{request.metadata.name} for pod/{request.spec.pod_name}"
    if request.completed:
        yield clean(f"{where}: is over. {request.status.message}")
    else:
        silence = scene.silence(request.status.node_name)
        phase = request.status.phase or "new"
        said = request.status.message or f"nobody has taken it up for {_age(request, scene.now)}"
        yield clean(f"{where}: is {phase}: {said}{f'; {silence}' if silence else ''}")
    for state in request.status.container_recreate_states:
        said = f": {state.message}" if state.message else ""
        yield "  " + clean(f"{state.name}: {state.phase or 'Pending'}{said}")


def why_restart(restart: WorkloadRestart, scene: PodScene) -> Iterator[str]:
    """What a restart of many pods waits for, and those pods that are under way or failed."""
    target = restart.spec.workload_ref or "pods by labels"
    where = f"workloadrestart/{restart.metadata.name} for {target}"
    over = restart.status.completion_time is not None
    yield clean(f"{where}: {'is over. ' if over else ''}{_state(restart, scene.now)}")
    own = [
        each
        for each in scene.requests
        if any(owner.uid == restart.metadata.uid for owner in each.metadata.owner_references)
    ]
    for request in own:
        if not request.completed:
            yield "  " + clean(f"pod/{request.spec.pod_name}: {_request(request, scene)}")
    for failure in restart.status.failures:
        yield "  " + clean(f"pod/{failure.pod}: failed. {failure.reason}: {failure.message}")


def _state(restart: WorkloadRestart, now: datetime) -> str:
    if restart.status.message:
        return restart.status.message
    waited = _age(restart, now)
    return (
        f"nobody has taken it up for {waited}; is the controller running? kubectl -n {names.PROGRAM} get pods"
    )


def _age(request: ContainerRecreateRequest | WorkloadRestart, now: datetime) -> str:
    made = request.metadata.creation_timestamp
    return age((now - made).total_seconds()) if made is not None else "a moment"
