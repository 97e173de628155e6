"""How a ContainerRecreateRequest is said to stand, by the centre and by agents alike. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec.structs import replace

from daemon import names
from daemon.objects.meta import Condition, condition_of, with_conditions
from daemon.objects.recreates import (
    ContainerRecreateRequest,
    Phase,
    RecreateState,
    RecreateStatus,
    state_of,
)

FINAL = frozenset({Phase.SUCCEEDED, Phase.FAILED})
"""Phases of a container that stay."""


def under_way(
    request: ContainerRecreateRequest,
    phase: Phase,
    states: Iterable[RecreateState],
    message: str,
    now: datetime,
) -> RecreateStatus:
    """The status of a request that has not ended."""
    generation = request.metadata.generation
    conditions = (
        _condition(names.READY, "False", phase, message, generation),
        _condition(names.RECONCILING, "True", phase, message, generation),
        _condition(names.STALLED, "False", phase, "", generation),
    )
    return replace(
        request.status,
        phase=str(phase),
        message=message,
        container_recreate_states=tuple(states),
        observed_generation=generation,
        conditions=with_conditions(request.status.conditions, conditions, now),
    )


def ended(
    request: ContainerRecreateRequest,
    states: Sequence[RecreateState],
    now: datetime,
    *,
    reason: str = "",
    message: str = "",
) -> RecreateStatus:
    """The status of a request that has ended: well, unless there is a *reason* why not, in CamelCase."""
    generation = request.metadata.generation
    well = sum(each.phase == Phase.SUCCEEDED for each in states)
    told = message or f"{well} of {len(states)} containers recreated"
    why = reason or "Recreated"
    conditions = (
        _condition(names.READY, "False" if reason else "True", why, told, generation),
        _condition(names.RECONCILING, "False", why, "", generation),
        _condition(names.STALLED, "True" if reason else "False", why, told if reason else "", generation),
    )
    return replace(
        request.status,
        phase=str(Phase.COMPLETED),
        completion_time=now,
        message=told,
        container_recreate_states=tuple(states),
        observed_generation=generation,
        conditions=with_conditions(request.status.conditions, conditions, now),
    )


def why_ended(request: ContainerRecreateRequest) -> str:
    """The reason of its end, in CamelCase; OpenKruise's definition of the kind need not keep it."""
    ready = condition_of(request.status.conditions, names.READY)
    if ready is not None:
        return ready.reason
    states = request.status.container_recreate_states
    return "Recreated" if all(each.phase == Phase.SUCCEEDED for each in states) else "Failed"


def given_up(request: ContainerRecreateRequest, why: str) -> tuple[RecreateState, ...]:
    """The state of each container when the request ends before its time: what has ended stays as it is."""
    return tuple(_given_up(state_of(request, each), why) for each in request.spec.containers)


def _given_up(state: RecreateState, why: str) -> RecreateState:
    if state.phase in FINAL:
        return state
    if state.is_killed:
        return replace(
            state, phase=str(Phase.FAILED), message=f"stopped, but its successor was not ready: {why}"
        )
    if state.phase == Phase.RECREATING:
        return replace(state, phase=str(Phase.FAILED), message=f"it may have been stopped: {why}")
    return replace(state, phase=str(Phase.FAILED), message=f"not stopped: {why}")


def _condition(type_: str, status: str, reason: str, message: str, generation: int) -> Condition:
    return Condition(
        type=type_,
        status="True" if status == "True" else "False",
        reason=str(reason),
        message=message,
        observed_generation=generation,
    )
