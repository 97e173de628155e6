"""Which pods a WorkloadRestart restarts when, and what it says of them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import names
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import condition_of
from daemon.objects.recreates import ContainerRecreateRequest
from daemon.objects.workload_restarts import WorkloadRestart, WorkloadRestartStatus
from daemon.workloadrestarts.planner import Observed, Plan, after_the_end, limit_of, plan
from daemon.workloadrestarts.standing import (
    Standing,
    request_name,
    standing_of,
)
from tests.unit.restart_worlds import BEFORE, NOW, pod, request, restart, succeeded

LATER = NOW + timedelta(minutes=1)


def planned(
    of: WorkloadRestart,
    pods: Sequence[LocalPod],
    requests: Sequence[ContainerRecreateRequest] = (),
    *,
    now: Any = LATER,
    wanted: int = 0,
) -> Plan:
    by_name = {each.metadata.name: each for each in requests}
    standings = [standing_of(of, each, by_name.get(request_name(of, each))) for each in pods]
    return plan(Observed(restart=of, standings=standings, now=now, wanted=wanted))


def begun(made: Plan) -> list[str]:
    return [each.pod.metadata.name for each in made.begin]


def reason(made: Plan, type_: str = names.READY) -> tuple[str, str]:
    condition = condition_of(made.status.conditions, type_)
    assert condition is not None
    return condition.status, condition.reason


def web(count: int, **fields: Any) -> list[LocalPod]:
    return [pod(f"web-{at}", **fields) for at in range(count)]


def test_one_pod_at_a_time_unless_told_otherwise() -> None:
    made = planned(restart(), web(3))

    assert len(made.begin) == 1
    assert (made.status.desired, made.status.restarted, made.status.restarting) == (3, 0, 1)
    assert reason(made, names.RECONCILING) == ("True", "Restarting")


def test_as_many_as_may_be_unavailable() -> None:
    assert len(begun(planned(restart(max_unavailable=2), web(3)))) == 2


@pytest.mark.parametrize(
    ("wanted", "pods", "limit"),
    [(1, 9, 1), (3, 9, 3), ("25%", 9, 2), ("10%", 9, 1), ("100%", 9, 9), ("100%", 0, 1)],
)
def test_a_percentage_is_rounded_down_but_something_moves(wanted: int | str, pods: int, limit: int) -> None:
    assert limit_of(restart(max_unavailable=wanted), pods) == limit


def test_the_next_waits_while_one_is_under_way() -> None:
    made, pods = restart(), web(2)

    assert begun(planned(made, pods, [request(made, pods[0])])) == []


def test_the_next_follows_when_one_came_back() -> None:
    made, pods = restart(), web(2)
    done = [pod("web-0", container_id="new"), pods[1]]

    again = planned(made, done, [succeeded(made, pods[0])])

    assert begun(again) == ["web-1"]
    assert (again.status.restarted, again.status.restarting) == (1, 1)


def test_a_request_that_ended_before_the_pod_is_known_anew_still_counts() -> None:
    made, pods = restart(), web(2)

    again = planned(made, pods, [succeeded(made, pods[0])])

    assert begun(again) == []
    assert again.status.restarting == 1


def test_a_pod_that_is_not_ready_for_another_reason_leaves_no_room() -> None:
    made = planned(restart(), [pod("web-0"), pod("web-1", made=LATER, ready=False)])

    assert begun(made) == []
    assert reason(made) == ("False", "WaitingForPods")
    assert "not ready: web-1" in made.status.message


def test_a_pod_that_is_missing_leaves_no_room() -> None:
    made = planned(restart(), web(2), wanted=3)

    assert begun(made) == []
    assert "missing: 1" in made.status.message


def test_a_pod_that_is_out_of_service_anyway_goes_first_and_costs_nothing() -> None:
    made = planned(restart(), [pod("web-0"), pod("web-1", ready=False)])

    assert begun(made) == ["web-1"]


def test_a_workload_of_which_nothing_is_ready_is_restarted_one_by_one() -> None:
    made = planned(restart(), web(3, ready=False))

    assert len(begun(made)) == 1


def test_a_pod_that_was_made_since_needs_nothing() -> None:
    made = planned(restart(), [pod(made=NOW + timedelta(seconds=1))])

    assert begun(made) == []
    assert reason(made) == ("True", "Completed")


def test_a_pod_of_the_same_second_is_restarted() -> None:
    assert begun(planned(restart(), [pod(made=NOW)])) == ["web-0"]


def test_a_container_that_was_started_since_needs_nothing() -> None:
    made = planned(restart(), [pod(begun=NOW + timedelta(seconds=31))])

    assert reason(made) == ("True", "Completed")


def test_a_node_s_clock_that_is_ahead_makes_no_pod_fresh() -> None:
    assert begun(planned(restart(), [pod(begun=NOW + timedelta(seconds=29))])) == ["web-0"]


def test_a_container_that_the_kubelet_is_about_to_start_needs_nothing() -> None:
    assert begun(planned(restart(), [pod(begun=None, ready=False)])) == []


@pytest.mark.parametrize(
    ("order", "owner", "first"),
    [
        (None, "StatefulSet", "web-10"),
        (None, "ReplicaSet", "web-9"),
        ("OldestFirst", "StatefulSet", "web-9"),
        ("NewestFirst", "ReplicaSet", "web-1"),
        ("NameAscending", "ReplicaSet", "web-1"),
        ("NameDescending", "ReplicaSet", "web-10"),
    ],
)
def test_pods_go_in_order(order: Any, owner: str, first: str) -> None:
    ages = {"web-9": 3, "web-10": 2, "web-1": 1}
    pods = [pod(name, owner=owner, made=NOW - timedelta(hours=age)) for name, age in ages.items()]

    assert begun(planned(restart(order=order), pods)) == [first]


def test_a_paused_restart_begins_nothing_but_lets_go_on_what_is_under_way() -> None:
    made, pods = restart(paused=True), web(2)

    assert reason(planned(made, pods)) == ("False", "Paused")
    assert reason(planned(made, pods), names.RECONCILING) == ("False", "Paused")
    assert reason(planned(made, pods, [request(made, pods[0])])) == ("False", "Restarting")


def test_a_failed_pod_is_told_and_not_tried_again() -> None:
    made, pods = restart(), web(1)
    ended = request(made, pods[0], "Completed", {"app": "Failed"})

    over = planned(made, pods, [ended])

    assert begun(over) == []
    assert over.status.completion_time == LATER
    assert [(each.pod, each.reason) for each in over.status.failures] == [("web-0", "RecreateFailed")]
    assert "app: said" in over.status.failures[0].message
    assert reason(over, names.STALLED) == ("True", "PodsFailed")


def test_the_others_go_on_when_one_failed() -> None:
    made, pods = restart(), web(2)

    assert begun(planned(made, pods, [request(made, pods[0], "Completed", {"app": "Failed"})])) == ["web-1"]


def test_a_restart_without_pods_ends() -> None:
    assert reason(planned(restart(), [])) == ("True", "NoPods")


def test_the_deadline_ends_it_and_says_what_was_left() -> None:
    made = restart(active_deadline_seconds=60)

    over = planned(made, web(2), now=NOW + timedelta(seconds=60))

    assert begun(over) == []
    assert reason(over, names.STALLED) == ("True", "DeadlineExceeded")
    assert "2 of 2 pods were not restarted within 60 s" in over.status.message
    assert (over.status.failed, over.status.restarting) == (2, 0)


def test_each_request_has_what_is_left_of_the_deadline() -> None:
    made = planned(restart(active_deadline_seconds=60), web(1), now=NOW + timedelta(seconds=20))
    late = planned(restart(active_deadline_seconds=60), web(1), now=NOW + timedelta(seconds=59))

    assert [each.deadline for each in (*made.begin, *late.begin)] == [40, 3]
    assert made.wake_in == 40


def test_somebody_else_s_request_for_the_pod_is_waited_for() -> None:
    made, about = restart(), pod()
    other = msgspec.structs.replace(
        request(made, about), metadata=msgspec.structs.replace(about.metadata, name="x")
    )

    standing = standing_of(made, about, None, [other])

    assert (standing.state, standing.ready, standing.containers) == ("Due", False, ())
    assert plan(Observed(restart=made, standings=[standing], now=LATER)).begin == ()


def test_what_stood_in_the_status_from_the_start_stays() -> None:
    before = WorkloadRestartStatus(start_time=NOW)

    assert planned(restart(before), web(1)).status.start_time == NOW


@pytest.mark.parametrize(
    ("ttl", "age", "removed", "wake"), [(None, 9, False, None), (10, 9, False, 1), (10, 10, True, None)]
)
def test_it_goes_after_its_time(ttl: int | None, age: int, *, removed: bool, wake: float | None) -> None:
    over = restart(WorkloadRestartStatus(completion_time=NOW), ttl_seconds_after_finished=ttl)

    made = after_the_end(over, NOW + timedelta(seconds=age))

    assert (made.remove, made.wake_in) == (removed, wake)


pods_of_a_world = st.lists(
    st.builds(
        lambda ready, fresh, running: (ready, fresh, running), st.booleans(), st.booleans(), st.booleans()
    ),
    max_size=8,
)


@given(pods_of_a_world, st.integers(1, 4), st.integers(0, 3))
def test_never_more_are_out_of_service_by_us_than_allowed(
    world: list[tuple[bool, bool, bool]], limit: int, missing: int
) -> None:
    made = restart(max_unavailable=limit)
    pods = [
        pod(f"web-{at}", ready=ready, made=LATER if fresh else BEFORE)
        for at, (ready, fresh, _) in enumerate(world)
    ]
    requests = [request(made, each) for each, (_, _, open_) in zip(pods, world, strict=True) if open_]
    by_name = {each.metadata.name: each for each in requests}
    standings = [standing_of(made, each, by_name.get(request_name(made, each))) for each in pods]

    result = plan(Observed(restart=made, standings=standings, now=LATER, wanted=len(pods) + missing))

    out = sum(not each.ready for each in standings) + missing
    taken = [each for each in standings if each.pod in [begin.pod for begin in result.begin]]
    assert out + sum(each.ready for each in taken) <= max(limit, out)
    assert sum(each.state == "Restarting" for each in standings) + len(taken) <= max(limit, len(requests))
    assert all(each.state == "Due" for each in taken)


@given(pods_of_a_world, st.integers(1, 4))
def test_every_world_ends_with_each_pod_restarted_once(
    world: list[tuple[bool, bool, bool]], limit: int
) -> None:
    """The world in which every request succeeds and makes its pod ready."""
    made = restart(max_unavailable=limit)
    pods = [
        pod(f"web-{at}", ready=ready, made=LATER if fresh else BEFORE)
        for at, (ready, fresh, _) in enumerate(world)
    ]
    requests: dict[str, ContainerRecreateRequest] = {}
    asked: list[str] = []
    for _ in range(len(pods) + 1):
        standings: list[Standing] = [
            standing_of(made, each, requests.get(request_name(made, each))) for each in pods
        ]
        result = plan(Observed(restart=made, standings=standings, now=LATER))
        if result.status.completion_time is not None:
            break
        asked += begun(result)
        for each in result.begin:
            requests[request_name(made, each.pod)] = succeeded(made, each.pod)
        again = {name: pod(name, container_id="new") for name in begun(result)}
        # Whoever else was not ready becomes so by itself.
        pods = [again.get(each.metadata.name) or _healed(each) for each in pods]

    assert sorted(asked) == sorted(f"web-{at}" for at, (_, fresh, _) in enumerate(world) if not fresh)


def _healed(each: LocalPod) -> LocalPod:
    made, (status,) = each.metadata.creation_timestamp or BEFORE, each.status.container_statuses
    return pod(each.metadata.name, made=made, container_id=status.container_id.partition("-")[0])
