"""Decides which containers of a pod may start now: those whose turn in its launch order has come. Pure."""

from collections.abc import Mapping

from daemon import names
from daemon.objects.launch_order import OPEN, gates_of, is_open
from daemon.objects.local_pods import ContainerStatus, LocalPod

_OVER = frozenset({"Succeeded", "Failed"})


def plan(pod: LocalPod) -> Mapping[str, str]:
    """The annotations that the pod is to have and lacks; none when it waits or is through.

    A gate that is open stays so, whatever becomes of the containers: a restarted one passes it again.
    """
    gates = gates_of(pod)
    if not gates or pod.metadata.deletion_timestamp is not None or pod.status.phase in _OVER:
        return {}
    lowest = min(gate.priority for gate in gates.values())
    reached = max(
        (gate.priority for name, gate in gates.items() if not has_started(pod, name)), default=lowest
    )
    due = sorted({gate for gate in gates.values() if gate.priority >= reached and not is_open(pod, gate)})
    news = {gate.annotation: OPEN for gate in due}
    if reached == lowest and pod.metadata.annotations.get(names.LAUNCH_COMPLETED_ANNOTATION) != OPEN:
        news[names.LAUNCH_COMPLETED_ANNOTATION] = OPEN
    return news


def has_started(pod: LocalPod, container: str) -> bool:
    """Tell whether those after *container* need not wait for it: it is ready, or over for good.

    A container that ended and will not run again would never be ready, and hold up the pod for ever.
    """
    status = next((each for each in pod.status.container_statuses if each.name == container), None)
    return status is not None and (status.ready or _is_over(pod, status))


def _is_over(pod: LocalPod, status: ContainerStatus) -> bool:
    ended = status.state.terminated
    match pod.spec.restart_policy:
        case "Never":
            return ended is not None
        case "OnFailure":
            return ended is not None and ended.exit_code == 0
        case _:
            return False
