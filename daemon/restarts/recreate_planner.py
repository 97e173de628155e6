"""What is to be done for the requests of one pod to start containers anew, decided from one snapshot.

A container is stopped by its ID, and only after the request's status names that ID as being recreated: so
another process that goes on in the middle stops the same one again or none, and never its successor.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from daemon.objects.local_pods import ContainerStatus, LocalPod
from daemon.objects.planned_restarts import counted_last
from daemon.objects.recreate_ends import FINAL, ended, given_up, under_way
from daemon.objects.recreates import (
    ContainerRecreateRequest,
    Phase,
    RecreateContainer,
    RecreateState,
    RecreateStatus,
    state_of,
    unready_since,
)
from daemon.restarts.recreate_plans import Action, Attempt, Look, Observed, Stage, Stop, Tell

_TOLD = frozenset({"CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "CreateContainerConfigError"})
"""Why a container waits, as far as people can do something about it; all else passes at once."""
_OLDER = "waits for an older request"
_OVER = frozenset({"Succeeded", "Failed"})


class _Step(msgspec.Struct, frozen=True):
    """How one container stands, and what that asks for."""

    state: RecreateState
    stop: Stop | None = None
    look: float | None = None


def plan(seen: Observed) -> Sequence[Action]:
    """The actions in the order in which they are done: what is told of a stop stands before it."""
    waiting = open_requests(seen)
    if not waiting:
        return ()
    return [
        *(_queued(each, Phase.PENDING, _OLDER, seen.now) for each in waiting[1:] if not each.status.phase),
        *_served(waiting[0], seen),
    ]


def open_requests(seen: Observed) -> Sequence[ContainerRecreateRequest]:
    """Those whose pod this is and that have not ended, the next one first."""
    uid = "" if seen.pod is None else seen.pod.metadata.uid
    waiting = [each for each in seen.requests if uid and each.pod_uid == uid and _is_open(each)]
    return sorted(waiting, key=lambda request: request.order)


def _is_open(request: ContainerRecreateRequest) -> bool:
    return not request.completed and request.metadata.deletion_timestamp is None


def _queued(request: ContainerRecreateRequest, phase: Phase, message: str, now: datetime) -> Tell:
    """OpenKruise's manager wants to hear within a minute that there is an agent."""
    states = [state_of(request, each) for each in request.spec.containers]
    pending = [replace(each, phase=str(Phase.PENDING)) for each in states]
    return Tell(request, under_way(request, phase, pending, message, now))


def _acknowledged(request: ContainerRecreateRequest, now: datetime) -> Sequence[Tell]:
    """OpenKruise's manager takes a pod out of traffic only for a request that is Recreating."""
    wanted = Phase.RECREATING if request.foreign else Phase.PENDING
    known = request.status.phase
    if known == wanted or (known and not request.foreign):
        return ()
    return [_queued(request, wanted, "waits until its pod is out of traffic", now)]


def _served(request: ContainerRecreateRequest, seen: Observed) -> Sequence[Action]:
    deadline = request.deadline
    if deadline is not None and deadline <= seen.now:
        return [_overdue(request, seen.now)]
    looks = [] if deadline is None else [_until(deadline, seen.now)]
    waits = _out_of_traffic(request, seen.now)
    if waits is not None:
        return [*_acknowledged(request, seen.now), *_look([*looks, *waits])]
    steps = _steps(request, seen)
    looks += [each.look for each in steps if each.look is not None]
    return [*_told(request, steps, seen.now), *_stops(request, steps), *_look(looks)]


def _out_of_traffic(request: ContainerRecreateRequest, now: datetime) -> Sequence[float] | None:
    """The seconds to wait until the pod has been out of traffic for long enough, none if who knows when.

    None when there is nothing to wait for.
    """
    seconds = request.spec.strategy.unready_grace_period_seconds
    if seconds is None:
        return None
    since = unready_since(request)
    if since is None:
        return []
    # The time is told in whole seconds, rounded down: of no second that was asked for a part is missing.
    over = since + timedelta(seconds=seconds + 1 if seconds else 0)
    return None if over <= now else [_until(over, now)]


def _overdue(request: ContainerRecreateRequest, now: datetime) -> Tell:
    message = f"recreating took longer than activeDeadlineSeconds: {request.spec.active_deadline_seconds}"
    states = given_up(request, message)
    return Tell(
        request, ended(request, states, now, reason="DeadlineExceeded", message=message), warning=message
    )


def _steps(request: ContainerRecreateRequest, seen: Observed) -> Sequence[_Step]:
    """Each container's next step; in order, none begins before the one before has ended."""
    steps: list[_Step] = []
    blocked = False
    for container in request.spec.containers:
        state = state_of(request, container)
        if blocked or state.phase in FINAL:
            steps.append(_Step(replace(state, phase=state.phase or str(Phase.PENDING))))
            continue
        step = _step(request, container, state, seen)
        steps.append(step)
        blocked = request.spec.strategy.ordered_recreate and step.state.phase not in FINAL
    return steps


def _step(
    request: ContainerRecreateRequest, container: RecreateContainer, state: RecreateState, seen: Observed
) -> _Step:
    assert seen.pod is not None
    status = seen.pod.status.of(container.name)
    attempt = seen.stops.get((request.metadata.uid, container.name))
    if attempt is not None:  # OpenKruise's definition of the kind does not keep the ID in the status
        state = replace(state, container_id=attempt.container_id)
    lost = request.foreign and attempt is None and not state.is_killed
    begun = state.phase == Phase.RECREATING and not lost
    if status is None or not status.container_id:
        return _Step(_recreating(state) if begun else replace(state, phase=str(Phase.PENDING)))
    restarted = status.container_id != state.container_id
    if restarted and request.spec.strategy.force_recreate and not begun:
        return _stopping(request, replace(state, container_id=status.container_id), status, seen)
    if restarted:
        return _succeeding(request, _after_stop(request, state, seen), status, seen)
    return _stopping(request, state, status, seen)


def _stopping(
    request: ContainerRecreateRequest, state: RecreateState, status: ContainerStatus, seen: Observed
) -> _Step:
    """The container that is meant is the one that the kubelet tells of."""
    attempt = seen.stops.get((request.metadata.uid, state.name))
    if attempt is not None:
        match attempt.stage:
            case Stage.RUNNING:
                return _Step(_recreating(state))
            case Stage.FAILED:
                return _Step(_failed(state, attempt.problem))
            case Stage.AGAIN:
                return _again(request, state, attempt, seen.now)
            case Stage.STOPPED | Stage.ENDED:
                return _ended(_after_stop(request, state, seen), status, seen)
    if (why := _never_again(seen.pod, status)) is not None:
        return _Step(_failed(state, why))
    if status.state.running is None:
        return _ended(state, status, seen)
    return _Step(_recreating(state), stop=Stop(request, state.name, state.container_id))


def _again(request: ContainerRecreateRequest, state: RecreateState, attempt: Attempt, now: datetime) -> _Step:
    told = _recreating(state, attempt.problem)
    if attempt.again_at is not None and attempt.again_at > now:
        return _Step(told, look=_until(attempt.again_at, now))
    return _Step(told, stop=Stop(request, state.name, state.container_id))


def _ended(state: RecreateState, status: ContainerStatus, seen: Observed) -> _Step:
    """The container does not run any more, and its successor does not run yet."""
    if (why := _never_again(seen.pod, status)) is not None:
        return _Step(_failed(state, why))
    waiting = status.state.waiting
    problem = waiting.reason if waiting is not None and waiting.reason in _TOLD else ""
    return _Step(_recreating(state, f"its successor waits: {problem}" if problem else ""))


def _succeeding(
    request: ContainerRecreateRequest, state: RecreateState, status: ContainerStatus, seen: Observed
) -> _Step:
    """The successor is there: it must be ready, and have run for long enough."""
    running = status.state.running
    if running is None or not status.ready:
        return _ended(state, status, seen)
    least = timedelta(seconds=request.spec.strategy.min_started_seconds)
    over = seen.now if running.started_at is None else running.started_at + least
    if least and over > seen.now:
        return _Step(_recreating(state), look=_until(over, seen.now))
    return _Step(replace(state, phase=str(Phase.SUCCEEDED), message=""))


def _after_stop(request: ContainerRecreateRequest, state: RecreateState, seen: Observed) -> RecreateState:
    """The state, which says that the agent stopped the container if this process did, or one before it."""
    attempt = seen.stops.get((request.metadata.uid, state.name))
    if attempt is not None:
        stopped = attempt.stage is Stage.STOPPED
    else:
        assert seen.pod is not None
        begun = state.phase == Phase.RECREATING
        stopped = begun and counted_last(seen.pod).get(state.name) == state.container_id
    return replace(state, is_killed=state.is_killed or stopped)


def _never_again(pod: LocalPod | None, status: ContainerStatus) -> str | None:
    """Why the kubelet would not start that container again; None when it would."""
    assert pod is not None
    if pod.status.phase in _OVER:
        return f"its pod has ended: {pod.status.phase}"
    policy = _restart_policy(pod, status.name)
    if policy == "Never":
        return "it would not be started again: its restartPolicy is Never"
    terminated = status.state.terminated
    if policy == "OnFailure" and terminated is not None and terminated.exit_code == 0:
        return "it ended with exit code 0, after which restartPolicy OnFailure does not start it again"
    return None


def _restart_policy(pod: LocalPod, name: str) -> str:
    asked = (*pod.spec.containers, *pod.spec.init_containers)
    own = next((each.restart_policy for each in asked if each.name == name), "")
    return own or pod.spec.restart_policy


def _recreating(state: RecreateState, message: str = "") -> RecreateState:
    return replace(state, phase=str(Phase.RECREATING), message=message)


def _failed(state: RecreateState, why: str) -> RecreateState:
    return replace(state, phase=str(Phase.FAILED), message=why)


def _told(request: ContainerRecreateRequest, steps: Sequence[_Step], now: datetime) -> Sequence[Tell]:
    """What is new about the request."""
    states = [each.state for each in steps]
    failed = [each for each in states if each.phase == Phase.FAILED]
    stops_early = failed and request.spec.strategy.failure_policy == "Fail"
    if not stops_early and any(each.phase not in FINAL for each in states):
        status = under_way(request, Phase.RECREATING, states, _progress(states), now)
        return [Tell(request, status)] if _says(status) != _says(request.status) else []
    if not failed:
        return [Tell(request, ended(request, states, now))]
    message = "; ".join(f"container {each.name}: {each.message}" for each in failed)
    left = _given_up(request, steps, failed[0]) if stops_early else states
    status = ended(request, left, now, reason="ContainerFailed", message=message)
    return [Tell(request, status, warning=message)]


def _says(status: RecreateStatus) -> object:
    """What of a status is news: the rest follows from it, and OpenKruise's definition drops some of it."""
    states = [
        (each.name, each.phase, each.message, each.is_killed) for each in status.container_recreate_states
    ]
    return status.phase, status.message, states


def _given_up(
    request: ContainerRecreateRequest, steps: Sequence[_Step], failed: RecreateState
) -> Sequence[RecreateState]:
    """The states when one container failed: what would be stopped only now is not."""
    reached = tuple(
        step.state if step.stop is None else state_of(request, container)
        for step, container in zip(steps, request.spec.containers, strict=True)
    )
    status = replace(request.status, container_recreate_states=reached)
    return given_up(replace(request, status=status), f"container {failed.name} failed")


def _progress(states: Sequence[RecreateState]) -> str:
    done = sum(each.phase in FINAL for each in states)
    problems = [f"container {each.name}: {each.message}" for each in states if each.message]
    return "; ".join([f"{done} of {len(states)} containers recreated", *problems])


def _stops(request: ContainerRecreateRequest, steps: Sequence[_Step]) -> Iterable[Stop]:
    failed = any(each.state.phase == Phase.FAILED for each in steps)
    if failed and request.spec.strategy.failure_policy == "Fail":
        return ()
    return (each.stop for each in steps if each.stop is not None)


def _look(seconds: Sequence[float]) -> Sequence[Look]:
    return [Look(min(seconds))] if seconds else []


def _until(moment: datetime, now: datetime) -> float:
    return (moment - now).total_seconds()
