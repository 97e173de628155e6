"""What is said about a pod's containers, for people who read its conditions and events. Pure.

Variables are named, their values never told.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from daemon import names
from daemon.objects.container_env import others
from daemon.objects.local_pods import LocalPod, LocalPodCondition
from daemon.objects.recreates import ContainerRecreateRequest
from daemon.objects.restart_grants import budget, controller_of, has_opted_in, opting_problem
from daemon.restarts.plans import Finding, Stage

TRANSITIONAL: Final = frozenset(
    {
        *(Stage.SETTLING, Stage.WAITING, Stage.KUBELET, Stage.DUE),
        *(Stage.STOPPING, Stage.PRE_STOP, Stage.STOPPED),
    }
)
"""Stages that pass by themselves."""
_REASONS: Final[Mapping[Stage, tuple[str, str]]] = {
    Stage.FAILED: ("Failed", "{name}: {detail}"),
    Stage.BACK_OFF: (
        "BackOff",
        "{name} was stopped for the pod's labels and annotations; the kubelet waits in back-off {detail}",
    ),
    Stage.PRE_STOP: ("PreStop", "{name} is being stopped: its preStop runs"),
    Stage.STOPPING: ("Restarting", "{name} is being stopped"),
    Stage.STOPPED: ("Restarting", "{name} is stopped; the kubelet starts its successor"),
    Stage.KUBELET: ("Restarting", "{name} is restarted by the kubelet for {detail}"),
    Stage.DUE: ("Restarting", "{name} is restarted for {detail}"),
    Stage.SETTLING: ("Restarting", "{name} is restarted for {detail}"),
    Stage.WAITING: ("Waiting", "{name} differs in {detail}"),
    Stage.DRIFTED: ("Drifted", "{name} differs in {detail}"),
}
"""By stage, the worst first: reason of the condition, and what is said of each container."""
_LONGEST: Final = 1024


def condition(pod: LocalPod, found: Sequence[Finding]) -> LocalPodCondition | None:
    """The pod's condition; None while nothing runs of which something could be said."""
    present = {each.stage for each in found} - {Stage.ABSENT, Stage.UNREAD}
    if not present:
        return None
    worst = next((stage for stage in _REASONS if stage in present), Stage.IN_SYNC)
    reason = _REASONS[worst][0] if worst in _REASONS else "InSync"
    told = _in_sync(found) if worst is Stage.IN_SYNC else _troubles(pod, found, worst)
    notes = [told, *_notes(pod)]
    return LocalPodCondition(
        type=names.CONTAINERS_IN_SYNC,
        status="True" if worst is Stage.IN_SYNC else "False",
        reason=reason,
        message="; ".join(notes)[:_LONGEST],
        observed_generation=pod.metadata.generation,
    )


def reason_of_stop(finding: Finding) -> str:
    """Why a container is stopped, for its event."""
    return f"labels or annotations of the pod changed {finding.detail}"


def reason_of_request(request: ContainerRecreateRequest) -> str:
    """Why a container is stopped that somebody wants started anew, for its event."""
    return f"{request.kind} {request.metadata.name} asks for a new one"


def _in_sync(found: Sequence[Finding]) -> str:
    said = "containers run with the pod's labels, annotations and images"
    apart = [each.name for each in found if others(each.container)]
    if not apart:
        return said
    return (
        f"{said}; not compared: variables from ConfigMaps, Secrets, resources and other fields"
        f" ({', '.join(apart)})"
    )


def _troubles(pod: LocalPod, found: Sequence[Finding], worst: Stage) -> str:
    said = [
        _REASONS[each.stage][1].format(name=each.name, detail=each.detail)
        for stage in _REASONS
        for each in found
        if each.stage is stage
    ]
    return "; ".join([*said, *_advice(pod, worst), *_turn(pod, found)])


def _advice(pod: LocalPod, worst: Stage) -> list[str]:
    """What a waiting pod waits for, and what would make a drifted one restart."""
    if worst is Stage.DRIFTED:
        return [f'annotate it {names.RESTART_ANNOTATION}: "true" to have it restarted']
    owner = controller_of(pod)
    if worst is not Stage.WAITING or owner is None:
        return []
    told = pod.metadata.annotations.get(names.MAX_UNAVAILABLE_ANNOTATION, "1")
    allowed = told if not budget(pod, 1).problem else "1"
    whose = f"{owner.kind} {owner.name}"
    return [f"waits for the controller, which lets {allowed} of the pods of {whose} be away: does one lead?"]


def _turn(pod: LocalPod, found: Sequence[Finding]) -> list[str]:
    """That the others of its owner do not wait for a pod which will not restart."""
    owner = controller_of(pod)
    if owner is None or not has_opted_in(pod) or not any(each.is_given_up for each in found):
        return []
    return [f"the other pods of {owner.kind} {owner.name} restart without it"]


def _notes(pod: LocalPod) -> list[str]:
    return [problem for problem in (opting_problem(pod), budget(pod, 1).problem) if problem]
