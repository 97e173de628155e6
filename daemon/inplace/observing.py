"""What a step of an update is decided on, and what it may be. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from daemon import names
from daemon.inplace.changes import owed
from daemon.inplace.records import Grace, State, UndecodableError, grace_of, state_of
from daemon.inplace.targets import Progress, Target
from daemon.objects.local_pods import LocalPod, LocalPodCondition

Document = Mapping[str, Any]
"""A strategic merge patch."""
Step = Literal["Try", "TakeOut", "Grace", "Change", "Tell", "GiveBack", "Leave"]
"""Try is the change as a dry run: it is judged, and nothing is stored. Leave gives back an abandoned pod."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the API server said to a change of the pod, and for how many seconds it is not asked again."""

    message: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Observed:
    """All that a step depends on."""

    pod: LocalPod
    target: Target
    now: datetime
    agent_alive: bool = True
    """Whether the agent of the pod's node gives signs of life."""
    refusal: Refusal | None = None
    """Of this very change."""
    doubted: bool = False
    """Whether the change was refused before, of this pod or of another one."""
    tried: bool = False
    """Whether the API server would have the change of this version of the pod."""


@dataclass(frozen=True, slots=True)
class Write:
    """A strategic merge patch of exactly this version of the pod."""

    step: Step
    document: Document
    subresource: str = ""
    note: str = ""
    """What happens, for people."""
    then: Progress | None = None
    """What the workload is told when it is written; else it is planned on."""


@dataclass(frozen=True, slots=True)
class Records:
    """What stands on the pod of its updates; *problem* tells what could not be read."""

    state: State | None = None
    grace: Grace | None = None
    problem: str = ""


def records_of(pod: LocalPod) -> Records:
    """The records of the pod's updates, as far as they can be read."""
    try:
        state, grace = state_of(pod), grace_of(pod)
        owed(state, grace)  # what it holds must be readable as well
    except UndecodableError as error:
        return Records(problem=str(error))
    return Records(state, grace)


def is_gated(pod: LocalPod) -> bool:
    """Whether the pod is ready only when its update says so."""
    return any(each.condition_type == names.IN_PLACE_UPDATE_READY for each in pod.spec.readiness_gates)


def is_out(pod: LocalPod) -> bool:
    """Whether the pod was taken out of traffic to change."""
    gate = condition_of(pod, names.IN_PLACE_UPDATE_READY)
    return gate is not None and gate.status == "False"


def is_serving(pod: LocalPod) -> bool:
    """Whether the pod was given back to traffic."""
    gate = condition_of(pod, names.IN_PLACE_UPDATE_READY)
    return gate is not None and gate.status == "True"


def condition_of(pod: LocalPod, type_: str) -> LocalPodCondition | None:
    """The condition of that type, if the pod has one."""
    return next((each for each in pod.status.conditions if each.type == type_), None)
