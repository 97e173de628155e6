"""What people who look at a node see of the restarts on it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from daemon.debug.views import RestartStep, RestartView
from daemon.localpods.journal import Journal, Subject
from daemon.objects.local_pods import LocalPod
from daemon.objects.recreate_ends import FINAL
from daemon.objects.recreates import ContainerRecreateRequest, Phase, RecreateState, state_of
from daemon.restarts.plans import Finding, Stage
from daemon.restarts.wording import reason_of_request, reason_of_stop

_STEPS: Final[Mapping[Stage, RestartStep]] = {
    Stage.SETTLING: "Settling",
    Stage.WAITING: "Waiting",
    Stage.DUE: "Due",
    Stage.KUBELET: "Kubelet",
    Stage.STOPPED: "Successor",
    Stage.BACK_OFF: "BackOff",
    Stage.FAILED: "Failed",
}
"""What is told of a container that is not being stopped: how a stop goes, whoever stops tells."""
_OFF: Final = frozenset({Stage.IN_SYNC, Stage.DRIFTED})


def show(journal: Journal, pod: LocalPod, found: Iterable[Finding]) -> None:
    """Tell of those containers that are to be started anew, and no more of those that are not."""
    for each in found:
        if each.stage in _STEPS:
            about = Subject(pod, each.name, each.container_id)
            journal.step(about, _STEPS[each.stage], why=_why(each), detail=_detail(each))
        elif each.stage in _OFF:
            journal.withdraw(each.container_id)


def _why(finding: Finding) -> str:
    match finding.stage:
        case Stage.KUBELET if finding.detail == "its image":
            return "its image changed"
        case Stage.KUBELET:
            return f"its image changed, and {reason_of_stop(finding)}"
        case Stage.SETTLING | Stage.WAITING | Stage.DUE:
            return reason_of_stop(finding)
        case _:
            return "it is not what the pod asks for"


def _detail(finding: Finding) -> str:
    return finding.detail if finding.stage in {Stage.BACK_OFF, Stage.FAILED} else ""


def requested(journal: Journal, requests: Sequence[ContainerRecreateRequest]) -> Iterator[RestartView]:
    """The containers of open *requests* that nobody has begun to stop, as far as the journal knows."""
    for request in requests:
        if not request.completed:
            states = [state_of(request, each) for each in request.spec.containers]
            for state in states:
                if state.phase not in FINAL and not journal.knows(state.container_id):
                    yield _requested(request, state)


def _requested(request: ContainerRecreateRequest, state: RecreateState) -> RestartView:
    return RestartView(
        namespace=request.pod_key.namespace,
        pod=request.pod_key.name,
        container=state.name,
        step=_step(state),
        why=reason_of_request(request),
        detail=state.message or request.status.message,
        since=request.metadata.creation_timestamp,
    )


def _step(state: RecreateState) -> RestartStep:
    if state.is_killed:
        return "Successor"
    return "Due" if state.phase == Phase.RECREATING else "Waiting"
