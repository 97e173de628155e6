"""What the centre decides about requests to start containers anew."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from daemon import names
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import condition_of
from daemon.objects.recreates import ContainerRecreateRequest, unready_since
from daemon.recreaterequests.planner import (
    Block,
    Look,
    Mark,
    Observed,
    Remove,
    Tell,
    Unblock,
    plan,
)
from tests.fakes.clock import NOON
from tests.unit.recreates import NODE, UID, container_id, known, of_openkruise, pod, request, running

UNREADY: Mapping[str, Any] = {"unreadyGracePeriodSeconds": 3}
HELD: Mapping[str, Any] = {"finalizers": [names.UNREADY_ACQUIRED]}


def seen(
    asked: ContainerRecreateRequest,
    found: LocalPod | None = None,
    *,
    gone: bool = False,
    first: bool = True,
    silent: bool = False,
    after: float = 0.0,
    alone: bool = False,
) -> Observed:
    return Observed(
        request=asked,
        pod=None if gone else found or pod(),
        first=first,
        silent_since=NOON if silent else None,
        now=NOON + timedelta(seconds=after),
        alone=alone,
    )


def told(observed: Observed) -> Tell:
    (found,) = [each for each in plan(observed) if isinstance(each, Tell)]
    return found


def ready(tell: Tell) -> tuple[str, str]:
    condition = condition_of(tell.status.conditions, names.READY)
    assert condition is not None
    return condition.status, condition.reason


def test_a_new_request_is_told_which_containers_of_which_pod_are_meant() -> None:
    found = pod(running("app", 2), running("proxy", 0))

    status = told(seen(request(containers=["app", "proxy"]), found)).status

    assert (status.phase, status.pod_uid, status.node_name) == ("Pending", UID, NODE)
    assert [(each.name, each.phase, each.container_id) for each in status.container_recreate_states] == [
        ("app", "Pending", container_id("app", 2)),
        ("proxy", "Pending", container_id("proxy", 0)),
    ]
    assert status.observed_generation == 1


def test_openkruise_s_labels_are_written_before() -> None:
    mark, tell = plan(seen(request(metadata={"labels": {"team": "shop"}})))

    assert isinstance(mark, Mark)
    assert isinstance(tell, Tell)
    assert mark.metadata.labels == {
        "team": "shop",
        names.RECREATE_POD_LABEL: UID,
        names.RECREATE_NODE_LABEL: NODE,
    }
    assert mark.metadata.finalizers == ()


def test_a_node_whose_name_no_label_can_hold_is_told_all_the_same() -> None:
    long = "n" * 100

    mark, tell = plan(seen(request(), pod(nodeName=long)))

    assert isinstance(mark, Mark)
    assert isinstance(tell, Tell)
    assert names.RECREATE_NODE_LABEL not in mark.metadata.labels
    assert tell.status.node_name == long


SIDECAR: Mapping[str, Any] = {
    "initContainers": [{"name": "proxy", "restartPolicy": "Always"}, {"name": "setup"}]
}
IMPOSSIBLE = {
    "no pod": (request(), None, "PodNotFound", "spec.podName: there is no pod web in namespace shop"),
    "a pod that has another one's name": (
        request(metadata={"labels": {names.RECREATE_POD_LABEL: "predecessor"}}),
        pod(),
        "PodNotFound",
        "labels[crr.apps.kruise.io/pod-uid]: pod web is gone; the one that is there has the UID",
    ),
    "a pod that is being deleted": (
        request(),
        pod(metadata={"deletionTimestamp": NOON.isoformat()}),
        "PodNotActive",
        "spec.podName: pod web is being deleted",
    ),
    "a pod that has ended": (
        request(),
        pod(phase="Failed"),
        "PodNotActive",
        "spec.podName: pod web has ended",
    ),
    "a pod on no node": (
        request(),
        pod(nodeName=""),
        "PodNotScheduled",
        "spec.podName: pod web is not on any",
    ),
    "no such container": (
        request(containers=["app", "web"]),
        pod(running(), **SIDECAR),
        "ContainerNotFound",
        "spec.containers[1].name: pod has no container web; it has: app, proxy",
    ),
    "an init container": (
        request(containers=["setup"]),
        pod(running(), **SIDECAR),
        "InitContainer",
        "spec.containers[0].name: setup is an init container",
    ),
    "a container that was never started": (
        request(containers=["app"]),
        pod({"name": "app", "state": {"waiting": {"reason": "ImagePullBackOff"}}}),
        "ContainerNotStarted",
        "spec.containers[0].name: app has not been started yet",
    ),
    "a container that would not come back": (
        request(),
        pod(restartPolicy="Never"),
        "RestartPolicyNever",
        "spec.containers[0].name: app would not be started again: its restartPolicy is Never",
    ),
}


@pytest.mark.parametrize("case", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_an_impossible_request_ends_at_once_by_the_field(
    case: tuple[ContainerRecreateRequest, LocalPod | None, str, str],
) -> None:
    asked, found, reason, message = case

    (tell,) = plan(seen(asked, found, gone=found is None))

    assert isinstance(tell, Tell)
    assert tell.status.phase == "Completed"
    assert tell.status.completion_time == NOON
    assert tell.status.message.startswith(message)
    assert tell.warning == tell.status.message
    assert {each.phase for each in tell.status.container_recreate_states} == {"Failed"}
    assert not any(each.is_killed for each in tell.status.container_recreate_states)
    assert ready(tell) == ("False", reason)
    stalled = condition_of(tell.status.conditions, names.STALLED)
    assert stalled is not None
    assert (stalled.status, stalled.reason) == ("True", reason)


def test_a_native_sidecar_is_a_container_like_any_other() -> None:
    found = pod(running(), **SIDECAR)
    sidecar = replace(
        found,
        status=replace(found.status, init_container_statuses=pod(running("proxy")).status.container_statuses),
    )

    status = told(seen(request(containers=["proxy"]), sidecar)).status

    assert [each.container_id for each in status.container_recreate_states] == [container_id("proxy")]


@pytest.mark.parametrize("phase", ["", "Recreating"])
def test_what_openkruise_s_manager_looks_after_is_left_to_it(phase: str) -> None:
    asked = of_openkruise(status={"phase": phase})

    assert plan(seen(asked, gone=True, silent=True, after=1e6)) == ()


def test_a_label_alone_makes_no_request_openkruise_s() -> None:
    asked = request(metadata={"labels": {names.RECREATE_ACTIVE_LABEL: "true"}})

    assert told(seen(asked)).status.phase == "Pending"


@pytest.mark.parametrize("uid", ["", "another"], ids=["gone", "another of its name"])
def test_a_request_ends_with_its_pod(uid: str) -> None:
    asked = known(
        phase="Recreating",
        containers=["app", "proxy", "log"],
        status={
            "containerRecreateStates": [
                {"name": "app", "phase": "Succeeded", "isKilled": True},
                {"name": "proxy", "phase": "Recreating", "isKilled": True},
                {"name": "log", "phase": "Pending"},
            ]
        },
    )

    tell = told(seen(asked, pod(uid=uid), gone=not uid))

    assert ready(tell) == ("False", "PodGone")
    assert [(each.phase, each.message) for each in tell.status.container_recreate_states] == [
        ("Succeeded", ""),
        ("Failed", "stopped, but its successor was not ready: pod web has gone"),
        ("Failed", "not stopped: pod web has gone"),
    ]


def test_the_agent_has_some_seconds_to_tell_of_a_deadline_itself() -> None:
    asked = known(age=0, activeDeadlineSeconds=30)

    early, late = plan(seen(asked, after=31)), plan(seen(asked, after=40))

    assert early == [Look(9.0)]
    (tell,) = late
    assert isinstance(tell, Tell)
    assert ready(tell) == ("False", "DeadlineExceeded")


def test_a_silent_agent_is_not_waited_for() -> None:
    tell = told(seen(known(), silent=True))

    assert ready(tell) == ("False", "AgentSilent")
    assert NODE in tell.status.message


def test_the_pod_is_taken_out_of_traffic_before_that_is_told() -> None:
    block, tell = plan(seen(known(strategy=UNREADY, metadata=HELD)))

    assert block == Block(UID)
    assert isinstance(tell, Tell)
    condition = condition_of(tell.status.conditions, names.PRE_RECREATE_GRACE)
    assert condition is not None
    assert (condition.status, condition.last_transition_time) == ("True", NOON)


def test_the_finalizer_comes_first() -> None:
    mark, tell = plan(seen(request(strategy=UNREADY)))

    assert isinstance(mark, Mark)
    assert mark.metadata.finalizers == (names.UNREADY_ACQUIRED,)
    assert isinstance(tell, Tell)


def test_a_pod_serves_while_its_request_waits_for_another() -> None:
    assert plan(seen(known(strategy=UNREADY, metadata=HELD), first=False)) == []


def test_the_time_out_of_traffic_is_counted_from_the_first_time_on() -> None:
    asked = known(strategy=UNREADY, metadata=HELD)
    status = told(seen(asked)).status
    again = known(
        strategy=UNREADY, metadata=HELD, status={"conditions": [_plain(each) for each in status.conditions]}
    )

    assert plan(seen(again, after=60)) == []
    assert unready_since(again) == NOON


def _plain(condition: Any) -> dict[str, Any]:
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "lastTransitionTime": condition.last_transition_time.isoformat(),
    }


@pytest.mark.parametrize(
    "asked",
    [
        known(phase="Completed", strategy=UNREADY, metadata=HELD),
        known(metadata={**HELD, "deletionTimestamp": NOON.isoformat()}, strategy=UNREADY),
    ],
    ids=["ended", "removed"],
)
def test_the_pod_is_let_back_before_the_request_is_let_go(asked: ContainerRecreateRequest) -> None:
    unblock, mark = plan(seen(asked))

    assert unblock == Unblock(UID)
    assert isinstance(mark, Mark)
    assert mark.metadata.finalizers == ()


def test_finalizers_of_others_stay() -> None:
    others = {"finalizers": ["example.com/mine", names.UNREADY_ACQUIRED]}

    _, mark = plan(seen(known(phase="Completed", strategy=UNREADY, metadata=others)))

    assert isinstance(mark, Mark)
    assert mark.metadata.finalizers == ("example.com/mine",)


def test_an_ended_request_is_removed_after_its_time() -> None:
    done = {"completionTime": NOON.isoformat()}
    asked = known(phase="Completed", status=done, ttlSecondsAfterFinished=60)

    assert plan(seen(asked, gone=True, after=10)) == [Look(50.0)]
    assert plan(seen(asked, gone=True, after=60)) == [Remove()]


def test_without_a_time_it_stays() -> None:
    assert plan(seen(known(phase="Completed"), gone=True, after=1e9)) == []


worlds = st.builds(
    seen,
    st.one_of(
        st.builds(
            request,
            strategy=st.sampled_from([{}, UNREADY]),
            metadata=st.sampled_from([{}, HELD]),
            activeDeadlineSeconds=st.sampled_from([None, 5]),
        ),
        st.builds(
            known,
            phase=st.sampled_from(["Pending", "Recreating", "Completed"]),
            strategy=st.sampled_from([{}, UNREADY]),
            metadata=st.sampled_from([{}, HELD]),
            activeDeadlineSeconds=st.sampled_from([None, 5]),
            ttlSecondsAfterFinished=st.sampled_from([None, 5]),
        ),
    ),
    st.sampled_from([pod(), pod(uid="another")]),
    gone=st.booleans(),
    first=st.booleans(),
    silent=st.booleans(),
    after=st.sampled_from([0.0, 6.0, 60.0]),
)


@given(worlds)
def test_an_ended_request_is_never_told_anything_again(observed: Observed) -> None:
    if observed.request.completed:
        assert not any(isinstance(each, Tell) for each in plan(observed))


@given(worlds)
def test_no_pod_is_taken_out_of_traffic_without_a_finalizer_that_brings_it_back(observed: Observed) -> None:
    actions = plan(observed)

    if any(isinstance(each, Block) for each in actions):
        held = [
            each.metadata.finalizers
            for each in actions[: actions.index(Block(UID))]
            if isinstance(each, Mark)
        ]
        assert names.UNREADY_ACQUIRED in [*held, observed.request.metadata.finalizers][0]
        assert observed.first


@given(worlds)
def test_a_look_comes_last_and_lies_ahead(observed: Observed) -> None:
    looks = [each for each in plan(observed) if isinstance(each, Look)]

    assert all(each.seconds > 0 for each in looks)
    assert looks == [each for each in plan(observed)[-1:] if isinstance(each, Look)]


@pytest.mark.parametrize(
    ("left", "phase"),
    [
        ({}, "Pending"),
        ({"name": "app", "phase": "Pending"}, "Pending"),
        ({"name": "app", "phase": "Recreating", "isKilled": True}, "Recreating"),
    ],
)
def test_a_request_that_openkruise_s_manager_has_left_is_gone_on_with_as_it_stands(
    left: Mapping[str, Any], phase: str
) -> None:
    status = {"phase": left.get("phase", ""), "containerRecreateStates": [left] if left else []}
    asked = of_openkruise(status=status)

    (tell,) = plan(seen(asked, pod(running("app", 1)), alone=True))

    assert isinstance(tell, Tell)
    assert (tell.status.phase, tell.status.pod_uid, tell.status.node_name) == (phase, UID, NODE)
    (state,) = tell.status.container_recreate_states
    assert (state.phase, state.is_killed) == (phase, left.get("isKilled", False))
    assert state.container_id == container_id("app", 0)  # its webhook named it: a successor is not meant


def test_a_request_that_openkruise_s_manager_has_left_for_a_pod_that_is_gone_ends() -> None:
    (adopted,) = plan(seen(of_openkruise(), gone=True, alone=True))
    assert isinstance(adopted, Tell)

    tell = told(seen(replace(of_openkruise(), status=adopted.status), gone=True, alone=True))

    assert (tell.status.phase, ready(tell)) == ("Completed", ("False", "PodGone"))


def test_a_pod_that_openkruise_s_manager_took_out_of_traffic_is_let_back_when_it_is_gone() -> None:
    asked = of_openkruise(status={"phase": "Completed"}, strategy=UNREADY)
    asked = replace(asked, metadata=replace(asked.metadata, finalizers=(names.UNREADY_ACQUIRED,)))

    beside = plan(seen(asked))
    unblock, mark = plan(seen(asked, alone=True))

    assert beside == ()
    assert unblock == Unblock(UID)
    assert isinstance(mark, Mark)
    assert mark.metadata.finalizers == ()
