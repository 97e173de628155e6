"""On which nodes the pods of a job are, in the order in which their workload will change them. Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime

from daemon.objects.pods import Pod, PodCondition
from daemon.pulljobs.shares import Followed

_OVER = frozenset({"Succeeded", "Failed"})
_STUCK = frozenset({"Unschedulable", "SchedulingGated"})
"""Why a pod has no node and may not have one for long (kube-scheduler, and KEP 3521)."""
_PHASES = {"Pending": 0, "Unknown": 1}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Order = tuple[int, int, int, float, str]


def followed_by(pods: Iterable[Pod]) -> Followed:
    """Where a job that selects *pods* has to go: each node once, and who has none yet."""
    active = sorted((pod for pod in pods if _is_active(pod)), key=_order)
    nodes = dict.fromkeys(pod.spec.node_name for pod in active if pod.spec.node_name)
    waiting = sorted(pod.metadata.name for pod in active if _is_being_scheduled(pod))
    return Followed(nodes=tuple(nodes), unscheduled=tuple(waiting))


def _is_active(pod: Pod) -> bool:
    return pod.metadata.deletion_timestamp is None and pod.status.phase not in _OVER


def _is_being_scheduled(pod: Pod) -> bool:
    scheduled = _condition(pod, "PodScheduled")
    return not pod.spec.node_name and (scheduled is None or scheduled.reason not in _STUCK)


def _order(pod: Pod) -> Order:
    """A StatefulSet goes down from its highest ordinal; others begin with what is worth the least.

    The latter is what ReplicaSets (ActivePodsWithRanks of kube-controller-manager) and CloneSets go by: pods
    that wait, then those not ready, then the youngest.
    """
    ordinal = _ordinal(pod)
    ready = _condition(pod, "Ready")
    is_ready = ready is not None and ready.status == "True"
    since = ready.last_transition_time if ready is not None and is_ready else None
    born = since or pod.metadata.creation_timestamp or _EPOCH
    if ordinal is not None:
        return (-ordinal, 0, 0, 0.0, pod.metadata.name)
    return (0, _PHASES.get(pod.status.phase, 2), int(is_ready), -born.timestamp(), pod.metadata.name)


def _ordinal(pod: Pod) -> int | None:
    owner = pod.metadata.controller
    if owner is None or owner.kind != "StatefulSet":
        return None
    _, _, number = pod.metadata.name.rpartition("-")
    return int(number) if number.isascii() and number.isdecimal() else None


def _condition(pod: Pod, type_: str) -> PodCondition | None:
    return next((each for each in pod.status.conditions if each.type == type_), None)
