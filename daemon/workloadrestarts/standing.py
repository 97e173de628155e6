"""Where each pod of a WorkloadRestart stands: told from the pod and the requests about it alone. Pure."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from daemon.objects.local_pods import ContainerStatus, LocalPod
from daemon.objects.recreates import ContainerRecreateRequest, Phase
from daemon.objects.workload_restarts import PodFailure, WorkloadRestart

State = Literal["Restarted", "Restarting", "Failed", "Due"]

_SKEW: Final = timedelta(seconds=30)
"""By how much the clock of a node may be ahead of the API server's, when nothing but it tells."""
_OVER: Final = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Standing:
    """One pod, as a restart sees it."""

    pod: LocalPod
    state: State
    ready: bool
    """Whether it is in service, and nobody is about to stop something of it."""
    containers: tuple[str, ...] = ()
    """What is to be restarted of it."""
    failure: PodFailure | None = None


def request_name(restart: WorkloadRestart, pod: LocalPod) -> str:
    """The name of the one request that this restart makes for this very pod: another one has another."""
    identity = f"{restart.metadata.uid} {pod.metadata.uid}".encode()
    return f"{restart.metadata.name[:230].rstrip('-.')}-{hashlib.sha256(identity).hexdigest()[:12]}"


def is_concerned(pod: LocalPod) -> bool:
    """Tell whether the pod counts: it is not about to go, and not over."""
    return pod.metadata.deletion_timestamp is None and pod.status.phase not in _OVER


def chosen(restart: WorkloadRestart, pod: LocalPod) -> tuple[str, ...]:
    """The containers of *pod* that the restart is about, native sidecars only by name."""
    named = restart.spec.containers
    if not named:
        return tuple(each.name for each in pod.spec.containers)
    sidecars = (each for each in pod.spec.init_containers if each.restart_policy == "Always")
    return tuple(each.name for each in (*pod.spec.containers, *sidecars) if each.name in named)


def problem_of(restart: WorkloadRestart, pods: Sequence[LocalPod]) -> str:
    """What makes the restart impossible for these pods; empty when nothing does."""
    for place, name in enumerate(restart.spec.containers):
        if pods and not any(name in chosen(restart, pod) for pod in pods):
            known = sorted({each.name for pod in pods for each in pod.spec.containers})
            return f"spec.containers[{place}]: no pod has a container {name}; they have: {', '.join(known)}"
    return ""


def standing_of(
    restart: WorkloadRestart,
    pod: LocalPod,
    own: ContainerRecreateRequest | None,
    others: Sequence[ContainerRecreateRequest] = (),
) -> Standing:
    """Where *pod* stands; *own* is the restart's request for it, *others* are somebody else's."""
    names = chosen(restart, pod)
    busy = any(not each.completed for each in (*others, *((own,) if own is not None else ())))
    ready = is_ready(pod) and not busy
    if own is not None:
        return _requested(pod, own, names, ready=ready)
    if is_fresh(restart, pod, names):
        return Standing(pod, "Restarted", ready=ready)
    return Standing(pod, "Due", ready=ready, containers=() if busy else names)


def _requested(
    pod: LocalPod, own: ContainerRecreateRequest, names: tuple[str, ...], *, ready: bool
) -> Standing:
    if not own.completed:
        return Standing(pod, "Restarting", ready=False)
    states = own.status.container_recreate_states
    failed = [each for each in states if each.phase != Phase.SUCCEEDED]
    if failed or not states:
        said = "; ".join(f"{each.name}: {each.message or each.phase}" for each in failed)
        message = " - ".join(part for part in (own.status.message, said) if part)
        failure = PodFailure(pod=pod.metadata.name, reason="RecreateFailed", message=message)
        return Standing(pod, "Failed", ready=ready, failure=failure)
    stopped = {each.name: each.container_id for each in states}
    if any(_id_of(pod, name) == stopped.get(name, "") != "" for name in names):
        return Standing(pod, "Restarting", ready=False)  # the request is ahead of the pod as it is known here
    return Standing(pod, "Restarted", ready=ready)


def is_ready(pod: LocalPod) -> bool:
    """Tell whether the pod is in service."""
    return any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions)


def is_fresh(restart: WorkloadRestart, pod: LocalPod, names: Sequence[str]) -> bool:
    """Tell whether the pod needs no restart: it was made since, or its containers were started since.

    A container that does not run is started by the kubelet, who needs nobody for it.
    """
    since = restart.metadata.creation_timestamp
    made = pod.metadata.creation_timestamp
    if since is None or (made is not None and made > since):
        return True
    return all(_is_fresh(_status_of(pod, name), since) for name in names)


def _is_fresh(status: ContainerStatus | None, since: datetime) -> bool:
    if status is None or status.state.running is None:
        return True
    begun = status.state.running.started_at
    return begun is not None and begun > since + _SKEW


def _status_of(pod: LocalPod, name: str) -> ContainerStatus | None:
    statuses = (*pod.status.container_statuses, *pod.status.init_container_statuses)
    return next((each for each in statuses if each.name == name), None)


def _id_of(pod: LocalPod, name: str) -> str:
    status = _status_of(pod, name)
    return status.container_id if status is not None else ""
