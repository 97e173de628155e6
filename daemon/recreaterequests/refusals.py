"""What makes a request impossible: it is said at once, and by the field. Pure."""

from typing import NamedTuple

from daemon import names
from daemon.objects.local_pods import Container, ContainerStatus, LocalPod
from daemon.objects.recreates import ContainerRecreateRequest

_OVER = frozenset({"Succeeded", "Failed"})


class Refusal(NamedTuple):
    """Why nothing comes of it."""

    reason: str
    message: str


def refusal_of(request: ContainerRecreateRequest, pod: LocalPod | None) -> Refusal | None:
    """Why *request* cannot be done on *pod*, which has its pod's name now; None when it can."""
    key = request.pod_key
    if pod is None:
        return Refusal(
            "PodNotFound", f"spec.podName: there is no pod {key.name} in namespace {key.namespace}"
        )
    meant = request.metadata.labels.get(names.RECREATE_POD_LABEL)
    if meant is not None and meant != pod.metadata.uid:
        known = f"the one that is there has the UID {pod.metadata.uid}"
        return Refusal("PodNotFound", f"labels[{names.RECREATE_POD_LABEL}]: pod {key.name} is gone; {known}")
    if pod.metadata.deletion_timestamp is not None:
        return Refusal("PodNotActive", f"spec.podName: pod {key.name} is being deleted")
    if pod.status.phase in _OVER:
        return Refusal("PodNotActive", f"spec.podName: pod {key.name} has ended: {pod.status.phase}")
    if not pod.spec.node_name:
        return Refusal("PodNotScheduled", f"spec.podName: pod {key.name} is not on any node yet")
    for place, each in enumerate(request.spec.containers):
        if (found := _of_container(pod, each.name)) is not None:
            return Refusal(found.reason, f"spec.containers[{place}].name: {found.message}")
    return None


def container_id(pod: LocalPod, name: str) -> str:
    """The container of that name that the kubelet runs, or ran last; empty when it never did."""
    status = _status(pod, name)
    return "" if status is None else status.container_id


def _of_container(pod: LocalPod, name: str) -> Refusal | None:
    asked = {each.name: each for each in pod.spec.containers}
    first = {each.name: each for each in pod.spec.init_containers}
    container = asked.get(name) or first.get(name)
    if container is None:
        known = ", ".join([*asked, *(each.name for each in first.values() if _is_sidecar(each))])
        return Refusal("ContainerNotFound", f"pod has no container {name}; it has: {known}")
    if name in first and not _is_sidecar(container):
        return Refusal("InitContainer", f"{name} is an init container: it has run, and runs only once")
    if (container.restart_policy or pod.spec.restart_policy) == "Never":
        message = f"{name} would not be started again: its restartPolicy is Never"
        return Refusal("RestartPolicyNever", message)
    if not container_id(pod, name):
        return Refusal("ContainerNotStarted", f"{name} has not been started yet")
    return None


def _is_sidecar(container: Container) -> bool:
    return container.restart_policy == "Always"


def _status(pod: LocalPod, name: str) -> ContainerStatus | None:
    told = (*pod.status.container_statuses, *pod.status.init_container_statuses)
    return next((each for each in told if each.name == name), None)
