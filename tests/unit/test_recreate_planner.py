"""What the agent decides about requests to start containers of one pod anew."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from daemon import names
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import condition_of
from daemon.objects.recreates import (
    ContainerRecreateRequest,
    Phase,
    RecreateState,
    RecreateStatus,
)
from daemon.restarts.recreate_planner import plan
from daemon.restarts.recreate_plans import Action, Attempt, Look, Observed, Stage, Stop, StopKey, Tell
from tests.fakes.clock import NOON
from tests.unit.recreates import container_id, exited, known, of_openkruise, pod, running, waiting

UNREADY: Mapping[str, Any] = {"unreadyGracePeriodSeconds": 10}


def seen(
    *requests: ContainerRecreateRequest,
    found: LocalPod | None = None,
    stops: Mapping[StopKey, Attempt] | None = None,
    after: float = 0.0,
) -> Observed:
    return Observed(
        requests=requests, pod=found or pod(), stops=stops or {}, now=NOON + timedelta(seconds=after)
    )


def attempt(
    stage: Stage, name: str = "app", of: str = "again", number: int = 0, **more: Any
) -> dict[StopKey, Attempt]:
    return {(f"uid-of-{of}", name): Attempt(container_id(name, number), stage, **more)}


def begun(*, killed: bool = False, **more: Any) -> ContainerRecreateRequest:
    state = {"name": "app", "phase": "Recreating", "containerID": container_id("app"), "isKilled": killed}
    told = {"containerRecreateStates": [state], "message": "0 of 1 containers recreated"}
    return known(phase="Recreating", status=told, **more)


def stops(actions: Sequence[Action]) -> list[tuple[str, str]]:
    return [(each.container, each.container_id) for each in actions if isinstance(each, Stop)]


def status(actions: Sequence[Action]) -> RecreateStatus:
    (found,) = [each.status for each in actions if isinstance(each, Tell)]
    return found


def states(actions: Sequence[Action]) -> list[tuple[str, str]]:
    return [(each.name, each.phase) for each in status(actions).container_recreate_states]


def looks(actions: Sequence[Action]) -> list[float]:
    return [each.seconds for each in actions if isinstance(each, Look)]


def test_what_is_to_be_stopped_is_told_before() -> None:
    tell, stop = plan(seen(known()))

    assert isinstance(tell, Tell)
    assert tell.status.phase == "Recreating"
    assert [(each.phase, each.container_id) for each in tell.status.container_recreate_states] == [
        ("Recreating", container_id("app"))
    ]
    assert isinstance(stop, Stop)
    assert (stop.container, stop.container_id) == ("app", container_id("app"))


def test_a_stop_that_runs_is_waited_for() -> None:
    assert plan(seen(begun(), stops=attempt(Stage.RUNNING))) == []


def test_a_stop_that_another_process_began_is_done_again_by_the_same_id() -> None:
    assert stops(plan(seen(begun()))) == [("app", container_id("app"))]


def test_a_container_that_was_stopped_is_said_to_be() -> None:
    told = status(plan(seen(begun(), stops=attempt(Stage.STOPPED))))

    (state,) = told.container_recreate_states
    assert (state.phase, state.is_killed) == ("Recreating", True)


def test_a_ready_successor_ends_the_request() -> None:
    told = status(plan(seen(begun(killed=True), found=pod(running("app", 1)))))

    assert (told.phase, told.completion_time) == ("Completed", NOON)
    assert told.message == "1 of 1 containers recreated"
    ready = condition_of(told.conditions, names.READY)
    assert ready is not None
    assert (ready.status, ready.reason) == ("True", "Recreated")


@pytest.mark.parametrize(
    "successor",
    [running("app", 1, ready=False), exited("app", 1), waiting("app", 1)],
    ids=["not ready", "exited", "waiting"],
)
def test_a_successor_that_is_not_ready_is_waited_for_and_never_stopped(successor: dict[str, Any]) -> None:
    actions = plan(seen(begun(killed=True), found=pod(successor)))

    assert stops(actions) == []
    assert not any(isinstance(each, Tell) and each.status.phase == "Completed" for each in actions)


def test_what_people_can_do_something_about_is_told() -> None:
    told = status(plan(seen(begun(killed=True), found=pod(waiting("app", 0, "CrashLoopBackOff")))))

    assert told.message == "0 of 1 containers recreated; container app: its successor waits: CrashLoopBackOff"


def test_a_successor_must_have_run_for_long_enough() -> None:
    asked = begun(killed=True, strategy={"minStartedSeconds": 10})
    found = pod(running("app", 1, since=NOON))

    assert looks(plan(seen(asked, found=found, after=4))) == [6.0]
    assert states(plan(seen(asked, found=found, after=10))) == [("app", "Succeeded")]


def test_a_container_that_restarted_by_itself_is_left_alone() -> None:
    actions = plan(seen(known(), found=pod(running("app", 1))))

    assert stops(actions) == []
    assert states(actions) == [("app", "Succeeded")]
    assert status(actions).container_recreate_states[0].is_killed is False


def test_one_that_restarted_by_itself_is_stopped_by_force_once() -> None:
    asked = known(strategy={"forceRecreate": True})

    tell, stop = plan(seen(asked, found=pod(running("app", 1))))

    assert isinstance(tell, Tell)
    assert isinstance(stop, Stop)
    assert stop.container_id == container_id("app", 1)
    after = replace(asked, status=tell.status)
    assert stops(plan(seen(after, found=pod(running("app", 2))))) == []
    assert states(plan(seen(after, found=pod(running("app", 2))))) == [("app", "Succeeded")]


@pytest.mark.parametrize("force", [False, True])
def test_one_that_has_ended_is_started_anew_by_the_kubelet_alone(force: bool) -> None:
    actions = plan(seen(known(strategy={"forceRecreate": force}), found=pod(exited())))

    assert stops(actions) == []
    assert states(actions) == [("app", "Recreating")]


def test_what_an_agent_before_this_one_stopped_is_said_to_be() -> None:
    counted = {"annotations": {names.COUNTED_STOPS_ANNOTATION: f'{{"app":"{container_id("app")}"}}'}}

    told = status(plan(seen(begun(), found=pod(running("app", 1), metadata=counted))))

    assert [(each.phase, each.is_killed) for each in told.container_recreate_states] == [("Succeeded", True)]


def test_unordered_containers_are_stopped_at_the_same_time() -> None:
    asked = known(containers=["app", "proxy"])

    actions = plan(seen(asked, found=pod(running("app"), running("proxy"))))

    assert stops(actions) == [("app", container_id("app")), ("proxy", container_id("proxy"))]


def test_ordered_ones_are_stopped_one_after_another() -> None:
    asked = known(containers=["app", "proxy"], strategy={"orderedRecreate": True})
    found = pod(running("app"), running("proxy"))

    first = plan(seen(asked, found=found))
    between = replace(asked, status=status(first))
    second = plan(seen(between, found=pod(running("app", 1, ready=False), running("proxy"))))
    third = plan(seen(between, found=pod(running("app", 1), running("proxy"))))

    assert stops(first) == [("app", container_id("app"))]
    assert states(first) == [("app", "Recreating"), ("proxy", "Pending")]
    assert stops(second) == []
    assert stops(third) == [("proxy", container_id("proxy"))]


FAILED = attempt(Stage.FAILED, problem="it could not be stopped: busy")


def test_the_others_are_not_stopped_after_one_failed() -> None:
    asked = known(containers=["app", "proxy"], strategy={"orderedRecreate": True})

    actions = plan(seen(asked, found=pod(running("app"), running("proxy")), stops=FAILED))

    told = status(actions)
    assert stops(actions) == []
    assert told.phase == "Completed"
    assert told.message == "container app: it could not be stopped: busy"
    assert [(each.phase, each.message) for each in told.container_recreate_states] == [
        ("Failed", "it could not be stopped: busy"),
        ("Failed", "not stopped: container app failed"),
    ]


def test_failures_can_be_ignored() -> None:
    policy = {"orderedRecreate": True, "failurePolicy": "Ignore"}
    asked = known(containers=["app", "proxy"], strategy=policy)

    actions = plan(seen(asked, found=pod(running("app"), running("proxy")), stops=FAILED))

    assert stops(actions) == [("proxy", container_id("proxy"))]
    assert states(actions) == [("app", "Failed"), ("proxy", "Recreating")]


def test_a_stop_that_failed_is_tried_again_in_its_time() -> None:
    trouble = attempt(Stage.AGAIN, problem="down", again_at=NOON + timedelta(seconds=4))

    early = plan(seen(begun(), stops=trouble))
    late = plan(seen(begun(), stops=trouble, after=4))

    assert (stops(early), looks(early)) == ([], [4.0])
    assert stops(late) == [("app", container_id("app"))]


NEVER = {
    "its pod never restarts": (pod(restartPolicy="Never"), "restartPolicy is Never"),
    "the container itself never does": (
        pod(containers=[{"name": "app", "restartPolicy": "Never"}]),
        "restartPolicy is Never",
    ),
    "it ended well, and only failures restart": (
        pod(exited(code=0), restartPolicy="OnFailure"),
        "ended with exit code 0",
    ),
    "its pod has ended": (pod(exited(), phase="Failed"), "its pod has ended"),
}


@pytest.mark.parametrize("case", NEVER.values(), ids=NEVER.keys())
def test_what_the_kubelet_would_not_start_again_fails_with_the_reason(case: tuple[LocalPod, str]) -> None:
    found, why = case

    actions = plan(seen(known(), found=found))

    assert stops(actions) == []
    assert states(actions) == [("app", "Failed")]
    assert why in status(actions).message


def test_a_deadline_cancels_what_has_not_begun_and_tells_the_truth() -> None:
    asked = known(
        phase="Recreating",
        containers=["app", "proxy", "log", "cache"],
        activeDeadlineSeconds=30,
        status={
            "containerRecreateStates": [
                {"name": "app", "phase": "Succeeded", "isKilled": True},
                {"name": "proxy", "phase": "Recreating", "isKilled": True},
                {"name": "log", "phase": "Recreating"},
                {"name": "cache", "phase": "Pending"},
            ]
        },
    )

    (tell,) = plan(seen(asked, after=30))

    assert isinstance(tell, Tell)
    assert tell.status.phase == "Completed"
    late = "recreating took longer than activeDeadlineSeconds: 30"
    assert [(each.phase, each.message) for each in tell.status.container_recreate_states] == [
        ("Succeeded", ""),
        ("Failed", f"stopped, but its successor was not ready: {late}"),
        ("Failed", f"it may have been stopped: {late}"),
        ("Failed", f"not stopped: {late}"),
    ]


def test_a_deadline_is_looked_at_in_time() -> None:
    assert looks(plan(seen(begun(activeDeadlineSeconds=30), stops=attempt(Stage.RUNNING), after=10))) == [
        20.0
    ]


def out_of_traffic(**more: Any) -> ContainerRecreateRequest:
    condition = {
        "type": names.PRE_RECREATE_GRACE,
        "status": "True",
        "reason": "UnreadyAcquired",
        "lastTransitionTime": NOON.isoformat(),
    }
    return known(strategy=UNREADY, status={"conditions": [condition]}, **more)


def test_nothing_is_stopped_before_the_pod_is_out_of_traffic() -> None:
    assert plan(seen(known(strategy=UNREADY))) == []
    assert plan(seen(out_of_traffic(), after=4)) == [Look(7.0)], "ten seconds, and what was rounded off"
    assert stops(plan(seen(out_of_traffic(), after=11))) == [("app", container_id("app"))]


@pytest.mark.parametrize("told", ["2026-05-01T12:00:00Z", "2026-05-01T14:00:00+02:00", "2026-05-01T12:00:00"])
def test_the_time_out_of_traffic_is_read_as_the_older_version_has_it(told: str) -> None:
    asked = known(strategy=UNREADY, metadata={"annotations": {names.UNREADY_ACQUIRED: told}})

    assert stops(plan(seen(asked, after=11))) == [("app", container_id("app"))]


def test_requests_of_a_pod_are_served_by_age() -> None:
    old, young = known("old", age=5), known("young", age=1)

    actions = plan(seen(young, old))

    (stop,) = [each for each in actions if isinstance(each, Stop)]
    assert stop.request.metadata.name == "old"


def test_the_next_one_begins_when_one_has_ended() -> None:
    done = known("old", age=5, phase="Completed")

    actions = plan(seen(known("young", age=1), done))

    assert [each.request.metadata.name for each in actions if isinstance(each, Stop)] == ["young"]


def test_a_request_that_is_removed_is_not_served() -> None:
    assert plan(seen(known(metadata={"deletionTimestamp": NOON.isoformat()}))) == ()


def test_a_request_for_an_earlier_pod_of_that_name_holds_nobody_up() -> None:
    actions = plan(seen(known("old", age=5, status={"podUID": "another"}), known("young", age=1)))

    assert [each.request.metadata.name for each in actions if isinstance(each, Stop)] == ["young"]


def test_openkruise_s_webhook_tells_the_container_in_the_spec() -> None:
    actions = plan(seen(of_openkruise()))

    assert stops(actions) == [("app", container_id("app"))]


def test_openkruise_s_manager_hears_of_requests_that_wait() -> None:
    actions = plan(seen(of_openkruise("young", age=1), of_openkruise("old", age=5)))

    assert [
        (each.request.metadata.name, each.status.phase) for each in actions if isinstance(each, Tell)
    ] == [
        ("young", "Pending"),
        ("old", "Recreating"),
    ]


@pytest.mark.parametrize("phase", ["", "Pending"])
def test_openkruise_s_manager_takes_the_pod_out_of_traffic_for_a_request_that_is_recreating(
    phase: str,
) -> None:
    asked = of_openkruise(strategy=UNREADY, status={"phase": phase})

    told = status(plan(seen(asked)))
    again = plan(seen(replace(asked, status=as_stored_by_openkruise(told))))

    assert (told.phase, told.message) == ("Recreating", "waits until its pod is out of traffic")
    assert [each.phase for each in told.container_recreate_states] == ["Pending"]
    assert again == []


def as_stored_by_openkruise(told: RecreateStatus) -> RecreateStatus:
    """Without what its definition of the kind does not know."""
    kept = tuple(replace(each, container_id="") for each in told.container_recreate_states)
    return replace(told, container_recreate_states=kept, observed_generation=0, conditions=())


def test_what_openkruise_s_definition_drops_is_not_told_again_and_again() -> None:
    asked = of_openkruise()
    told = as_stored_by_openkruise(status(plan(seen(asked))))

    again = plan(seen(replace(asked, status=told), stops=attempt(Stage.RUNNING)))

    assert again == []


def test_what_openkruise_s_definition_drops_is_remembered() -> None:
    asked = of_openkruise(strategy={"forceRecreate": True})
    found = pod(running("app", 1))
    actions = plan(seen(asked, found=found))
    between = replace(asked, status=as_stored_by_openkruise(status(actions)))

    again = plan(seen(between, found=found, stops=attempt(Stage.RUNNING, number=1)))

    assert stops(actions) == [("app", container_id("app", 1))]
    assert again == []


PHASES = st.sampled_from(["", "Pending", "Recreating"])
STATES = st.builds(
    lambda name, phase, number, killed: RecreateState(
        name=name, phase=phase, container_id=container_id(name, number), is_killed=killed
    ),
    st.just("app"),
    st.sampled_from(["Pending", "Recreating", "Succeeded", "Failed"]),
    st.integers(0, 2),
    st.booleans(),
)
PODS = st.sampled_from(
    [
        pod(each, restartPolicy=policy)
        for policy in ("Always", "OnFailure", "Never")
        for number in range(3)
        for each in (
            running("app", number),
            running("app", number, ready=False),
            exited("app", number, code=0),
            waiting("app", number),
        )
    ]
)
ATTEMPTS: st.SearchStrategy[dict[StopKey, Attempt]] = st.one_of(
    st.just({}),
    st.builds(
        lambda stage, number: attempt(stage, number=number), st.sampled_from(list(Stage)), st.integers(0, 2)
    ),
)
STRATEGIES = st.fixed_dictionaries(
    {"forceRecreate": st.booleans(), "failurePolicy": st.sampled_from(["Fail", "Ignore"])},
    optional={"minStartedSeconds": st.just(5), "unreadyGracePeriodSeconds": st.just(5)},
)


@st.composite
def worlds(draw: st.DrawFn) -> Observed:
    asked = known(
        strategy=draw(STRATEGIES), phase=draw(PHASES), activeDeadlineSeconds=draw(st.sampled_from([None, 30]))
    )
    state = draw(STATES)
    told = replace(asked, status=replace(asked.status, container_recreate_states=(state,)))
    attempts = {} if state.phase == "Pending" else draw(ATTEMPTS)  # a stop is told before it begins
    return seen(told, found=draw(PODS), stops=attempts, after=draw(st.sampled_from([0.0, 6.0, 31.0])))


@given(worlds())
def test_nothing_is_stopped_but_what_runs_and_is_told_to_be_recreated(observed: Observed) -> None:
    actions = plan(observed)
    assert observed.pod is not None
    (current,) = observed.pod.status.container_statuses
    (asked,) = observed.requests

    for each in (each for each in actions if isinstance(each, Stop)):
        told = next((each.status for each in actions if isinstance(each, Tell)), asked.status)
        (state,) = told.container_recreate_states
        assert (state.phase, state.container_id) == (Phase.RECREATING, each.container_id)
        assert each.container_id == current.container_id


@given(worlds())
def test_a_container_whose_fate_is_sealed_is_left_alone(observed: Observed) -> None:
    (asked,) = observed.requests
    (state,) = asked.status.container_recreate_states

    if state.phase in {"Succeeded", "Failed"}:
        assert stops(plan(observed)) == []


@given(worlds())
def test_what_is_told_is_told_once(observed: Observed) -> None:
    (asked,) = observed.requests
    told = next((each.status for each in plan(observed) if isinstance(each, Tell)), asked.status)

    again = plan(replace_requests(observed, replace(asked, status=told)))

    assert not any(isinstance(each, Tell) for each in again)


def replace_requests(observed: Observed, asked: ContainerRecreateRequest) -> Observed:
    return Observed(requests=(asked,), pod=observed.pod, stops=observed.stops, now=observed.now)
