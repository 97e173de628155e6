"""What is said of each pod of a rollout, and of the whole."""

import json
from datetime import timedelta
from typing import Any, Literal

import msgspec
import pytest

from daemon import names
from daemon.cli.rollouts import UNSEEN, ended, headline, rollout_of
from daemon.objects.local_pods import ContainerState, ContainerStatus, LocalPod, LocalPodCondition, Waiting
from daemon.objects.next_revisions import about
from daemon.objects.workloads import (
    CloneSet,
    CloneSetCondition,
    CloneSetStatus,
    InPlaceUpdateStrategy,
    UpdateStrategy,
)
from tests.unit.clonesets import NEW, NOW, OLD, clone_set, pod

GATE = names.IN_PLACE_UPDATE_READY
Truth = Literal["True", "False"]
STATE = "apps.kruise.io/inplace-update-state"
GRACE = "apps.kruise.io/inplace-update-grace"


def told(
    obj: CloneSet, *, ready: Truth = "False", stalled: Truth = "False", seen: int = 1, **counts: Any
) -> CloneSet:
    states: tuple[tuple[str, Truth], ...] = (("Ready", ready), ("Stalled", stalled))
    conditions = tuple(
        CloneSetCondition(
            type=type_, status=status, reason="Updating", message="1 of 2", observed_generation=1
        )
        for type_, status in states
    )
    status = CloneSetStatus(
        observed_generation=seen, update_revision=NEW, current_revision=OLD, conditions=conditions, **counts
    )
    return msgspec.structs.replace(obj, status=status)


def with_gate(
    made: LocalPod, reason: str = "StartInPlaceUpdate", message: str = "", ago: int = 0
) -> LocalPod:
    """*made*, out of traffic since some seconds."""
    since = NOW - timedelta(seconds=ago)
    gate = LocalPodCondition(
        type=GATE, status="False", reason=reason, message=message, last_transition_time=since
    )
    return msgspec.structs.replace(made, status=msgspec.structs.replace(made.status, conditions=(gate,)))


def waiting(made: LocalPod) -> LocalPod:
    """*made*, whose container waits."""
    state = ContainerState(waiting=Waiting(reason="ImagePullBackOff", message="no such image"))
    status = ContainerStatus(name="app", state=state)
    return msgspec.structs.replace(
        made, status=msgspec.structs.replace(made.status, container_statuses=(status,))
    )


def changing(**grace: Any) -> dict[str, str]:
    state = {"revision": NEW, "updateTimestamp": None, "lastContainerStatuses": None}
    records = {STATE: state} | ({GRACE: {"revision": NEW, **grace}} if grace else {})
    return {key: json.dumps(value) for key, value in records.items()}


def out(**grace: Any) -> LocalPod:
    """A pod whose change was begun."""
    return pod("c", conditions={GATE: "False"}, annotations=changing(**grace))


@pytest.mark.parametrize(
    ("made", "step", "reason"),
    [
        (pod("a"), "Done", ""),
        (pod("a", OLD), "Waiting", ""),
        (pod("a", deleting=True), "Deleting", "is being stopped"),
        (
            pod("a", labels={names.SPECIFIED_DELETE_LABEL: "true"}),
            "Deleting",
            "as soon as enough others are available",
        ),
        (pod("a", node="", ready=False), "Pending", "is on no node yet"),
        (pod("a", ready=False), "Starting", "is not ready yet"),
        (waiting(pod("a", ready=False)), "Starting", "container app waits: ImagePullBackOff: no such image"),
        (pod("a", OLD, state="PreparingUpdate"), "Held", "before it changes, by lifecycle.inPlaceUpdate"),
        (pod("a", OLD, state="PreparingDelete"), "Held", "before it is deleted, by lifecycle.preDelete"),
        (pod("a", state="Updated"), "Held", "after its change, until lifecycle.inPlaceUpdate is put back"),
        (pod("a", state="PreparingNormal"), "Held", "is new, until lifecycle.preNormal is there"),
        (
            with_gate(out()),
            "Changing",
            "its containers restart",
        ),
        (
            with_gate(out(), "Infeasible", "too much"),
            "Changing",
            "Infeasible: too much",
        ),
        (
            with_gate(out(graceSeconds=10), ago=4),
            "Changing",
            "out of traffic, changes in 6 s",
        ),
    ],
)
def test_each_pod_has_a_step_and_a_reason(made: LocalPod, step: str, reason: str) -> None:
    (row,) = rollout_of(told(clone_set()), [made], NOW).pods

    assert (row.step, row.reason) == (step, reason)


def test_a_pod_that_ripens_says_how_long_it_takes() -> None:
    made = pod("a", since=NOW - timedelta(seconds=3))

    (row,) = rollout_of(told(clone_set(min_ready_seconds=10)), [made], NOW).pods

    assert (row.step, row.reason) == ("Starting", "is ready, counts in 7 s (minReadySeconds)")


def test_pods_below_the_partition_stay() -> None:
    obj = told(clone_set(replicas=2, update_strategy=UpdateStrategy(partition=1)))

    rows = rollout_of(obj, [pod("a"), pod("b", OLD)], NOW).pods

    assert [(row.name, row.step) for row in rows] == [("b", "Stays"), ("a", "Done")]


def test_pods_that_move_stand_first() -> None:
    pods = [pod("done"), pod("waits", OLD), with_gate(out())]

    rows = rollout_of(told(clone_set(replicas=3)), pods, NOW).pods

    assert [row.name for row in rows] == ["c", "waits", "done"]


def test_the_headline_is_what_the_controller_tells_or_counts_itself() -> None:
    obj = told(clone_set(replicas=2), updated_replicas=1, expected_updated_replicas=2, available_replicas=1)

    unseen = msgspec.structs.replace(obj, status=msgspec.structs.replace(obj.status, observed_generation=0))

    assert headline(rollout_of(obj, [], NOW)) == "cloneset/web: 1 of 2"
    assert (
        headline(rollout_of(unseen, [], NOW)) == f"cloneset/web: 1 of 2 updated, 1 of 2 available; {UNSEEN}"
    )


def test_a_spec_that_nobody_has_seen_is_neither_done_nor_stuck() -> None:
    rollout = rollout_of(told(clone_set(), ready="True", stalled="True", seen=0), [], NOW)

    assert (rollout.done, rollout.failed, rollout.message) == (False, False, UNSEEN)


def test_the_end_tells_the_revision_or_what_is_wrong() -> None:
    done, stuck = told(clone_set(), ready="True"), told(clone_set(), stalled="True")

    assert ended(rollout_of(done, [], NOW)) == f"cloneset/web is at {NEW}: 1 of 2"
    assert ended(rollout_of(stuck, [], NOW)) == "cloneset/web is stuck, Updating: 1 of 2"


@pytest.mark.parametrize(
    ("policy", "step", "reason"),
    [
        ("Wait", "Preparing", "WouldNotFit: 2 cpu are free"),
        ("Recreate", "Waiting", "to be replaced, since WouldNotFit: 2 cpu are free"),
    ],
)
def test_a_pod_whose_node_has_no_room_stays_or_is_to_be_replaced(
    policy: Literal["Wait", "Recreate"], step: str, reason: str
) -> None:
    announced = {names.NEXT_REVISION_ANNOTATION: json.dumps({"revision": NEW})}
    made = pod("a", OLD, annotations=announced)
    answer = LocalPodCondition(
        type=names.NEXT_REVISION_READY,
        status="False",
        reason="WouldNotFit",
        message=about(NEW, "2 cpu are free"),
    )
    status = msgspec.structs.replace(made.status, conditions=(*made.status.conditions, answer))
    strategy = UpdateStrategy(
        type="InPlaceIfPossible", in_place_update_strategy=InPlaceUpdateStrategy(on_infeasible=policy)
    )

    (shown,) = rollout_of(
        told(clone_set(replicas=1, update_strategy=strategy)),
        [msgspec.structs.replace(made, status=status)],
        NOW,
    ).pods

    assert (shown.step, shown.reason) == (step, reason)
