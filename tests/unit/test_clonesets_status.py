"""What the status of a CloneSet says: counters, OpenKruise's conditions, kstatus', deadlines."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from daemon import names
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import LabelSelector, LabelSelectorRequirement, condition_of
from daemon.objects.workloads import CloneSet, CloneSetCondition, CloneSetStatus, UpdateStrategy
from daemon.workloads.clonesets.settings import settings_of
from daemon.workloads.clonesets.status import (
    DEADLINE_EXCEEDED,
    Outcome,
    Trouble,
    leaving_for,
    overdue_in,
    selector_text,
    status_of,
)
from tests.unit.clonesets import NEW, NOW, OLD, clone_set, pod, seen

NOTHING = Outcome()


def told(
    obj: CloneSet, *pods: LocalPod, outcome: Outcome = NOTHING, after: float = 0.0, **more: Any
) -> CloneSet:
    """*obj* with the status that it has some seconds later."""
    world = replace(seen(settings_of(obj), *pods, **more), now=NOW + timedelta(seconds=after))
    return msgspec.structs.replace(obj, status=status_of(obj, world, outcome))


def state(obj: CloneSet, type_: str) -> tuple[str, str]:
    """Status and reason of a condition."""
    found = condition_of(obj.status.conditions, type_)
    return (found.status, found.reason) if found is not None else ("", "")


def test_pods_are_counted_by_what_they_are() -> None:
    pods = [
        pod("new"),
        pod("unready", ready=False),
        pod("old", OLD),
        pod("going", deleting=True),
        pod("ended", phase="Failed", ready=False),
    ]

    status = told(clone_set(replicas=4), *pods, chosen=[]).status

    assert (status.replicas, status.ready_replicas, status.available_replicas) == (3, 2, 2)
    assert (status.updated_replicas, status.updated_ready_replicas) == (2, 1)
    assert (status.updated_available_replicas, status.expected_updated_replicas) == (1, 4)


def test_a_pod_that_changes_counts_as_updated_and_not_as_ready() -> None:
    status = told(clone_set(), pod("a", NEW), chosen=["uid-a"]).status

    assert (status.updated_replicas, status.updated_ready_replicas, status.available_replicas) == (1, 0, 0)


def test_a_pod_that_was_picked_and_is_what_it_was_does_not_count_as_updated() -> None:
    status = told(clone_set(), pod("a", OLD), chosen=["uid-a"]).status

    assert (status.updated_replicas, status.current_revision, status.update_revision) == (0, OLD, NEW)


def test_the_current_revision_follows_when_all_pods_have() -> None:
    on_the_way = told(clone_set(replicas=2), pod("a"), pod("b", OLD)).status
    done = told(clone_set(replicas=2), pod("a"), pod("b")).status

    assert (on_the_way.current_revision, done.current_revision) == (OLD, NEW)


@pytest.mark.parametrize(
    ("pods", "reason"),
    [
        ([pod("a")], "Scaling"),
        ([pod("a"), pod("b", OLD)], "Updating"),
        ([pod("a"), pod("b", ready=False)], "WaitingForPods"),
    ],
)
def test_what_goes_on_is_said_by_ready_and_reconciling(pods: list[LocalPod], reason: str) -> None:
    obj = told(clone_set(replicas=2), *pods)

    assert (state(obj, "Ready"), state(obj, "Reconciling")) == (("False", reason), ("True", reason))
    assert state(obj, "Stalled") == ("False", reason)


def test_a_set_whose_pods_are_all_there_is_ready() -> None:
    obj = told(clone_set(replicas=2), pod("a"), pod("b"))

    assert state(obj, "Ready") == ("True", "Available")
    assert (state(obj, "Reconciling")[0], state(obj, "Progressing")) == ("False", ("True", "Complete"))


def test_a_pod_that_does_not_end_is_waited_for_as_long_as_it_may_take() -> None:
    pods = [*(pod(name) for name in ("a", "b")), pod("lost", OLD, deleting=True)]
    obj = clone_set(replicas=2)

    assert state(told(obj, *pods, after=29), "Ready") == ("False", "WaitingForPods")
    assert state(told(obj, *pods, after=31), "Ready") == ("True", "Available")
    assert leaving_for(seen(settings_of(obj), *pods)) == 30
    assert leaving_for(seen(settings_of(obj), *pods[:2])) is None


def test_a_pod_that_was_evicted_in_the_middle_of_its_update_is_not_waited_for() -> None:
    gate = {names.IN_PLACE_UPDATE_READY: "False"}
    evicted = pod("evicted", OLD, ready=False, phase="Failed", conditions=gate)

    assert state(told(clone_set(replicas=1), pod("new"), evicted), "Ready") == ("True", "Available")


def test_a_template_that_cannot_be_is_stalled() -> None:
    wrong = Outcome(invalid=Trouble("InvalidTemplate", "spec.template.spec.x: is wrong"))

    obj = told(clone_set(), pod("a"), outcome=wrong)

    assert (state(obj, "Stalled"), state(obj, "Ready")[0]) == (("True", "InvalidTemplate"), "False")


def test_a_failure_is_told_and_taken_back() -> None:
    failed = told(clone_set(), outcome=Outcome(scale=Trouble("FailedCreate", "quota")))
    mended = told(failed, pod("a"))

    assert (state(failed, "FailedScale"), state(failed, "Reconciling")[0]) == (
        ("True", "FailedCreate"),
        "True",
    )
    assert (state(mended, "FailedScale"), state(mended, "FailedUpdate")) == (("False", "Succeeded"), ("", ""))


def test_the_deadline_counts_from_the_last_step_forward() -> None:
    obj = clone_set(replicas=3, progress_deadline_seconds=10)
    first = told(obj, pod("a"), pod("b", OLD), pod("c", OLD))
    second = told(first, pod("a"), pod("b"), pod("c", OLD), after=8)
    same = told(second, pod("a"), pod("b"), pod("c", OLD), after=15)

    assert overdue_in(first, NOW) == 10
    assert overdue_in(second, NOW + timedelta(seconds=8)) == 10
    assert overdue_in(same, NOW + timedelta(seconds=15)) == 3
    late = told(same, pod("a"), pod("b"), pod("c", OLD), after=18)
    assert (state(late, "Progressing"), state(late, "Stalled")) == (
        ("False", DEADLINE_EXCEEDED),
        ("True", DEADLINE_EXCEEDED),
    )


def test_a_step_forward_frees_what_was_stuck() -> None:
    obj = clone_set(replicas=2, progress_deadline_seconds=10)
    stuck = told(told(obj, pod("a"), pod("b", OLD)), pod("a"), pod("b", OLD), after=11)

    freed = told(stuck, pod("a"), pod("b"), after=12)

    assert (state(stuck, "Stalled")[0], state(freed, "Stalled")[0], state(freed, "Ready")[0]) == (
        "True",
        "False",
        "True",
    )


def test_nothing_is_overdue_where_nothing_is_awaited() -> None:
    assert overdue_in(told(clone_set(replicas=1), pod("a")), NOW) is None
    assert overdue_in(told(clone_set(progress_deadline_seconds=5), pod("a")), NOW) is None


def test_times_move_only_with_what_they_speak_of() -> None:
    first = told(clone_set(replicas=2), pod("a"))
    later = told(first, pod("a"), after=60)

    assert later.status.conditions == first.status.conditions


def test_a_selector_is_written_as_autoscalers_read_it() -> None:
    expressions = (
        LabelSelectorRequirement(key="tier", operator="In", values=("b", "a")),
        LabelSelectorRequirement(key="old", operator="DoesNotExist"),
        LabelSelectorRequirement(key="app", operator="Exists"),
        LabelSelectorRequirement(key="env", operator="NotIn", values=("test",)),
    )

    text = selector_text(LabelSelector(match_labels={"b": "2", "a": "1"}, match_expressions=expressions))

    assert text == "a=1,b=2,tier in (a,b),!old,app,env notin (test)"


def test_conditions_of_openkruise_without_a_reason_are_read() -> None:
    raw = {
        "conditions": [
            {"type": "FailedUpdate", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        ]
    }

    status = msgspec.convert(raw, CloneSetStatus)

    assert isinstance(status.conditions[0], CloneSetCondition)


def test_a_paused_rollout_is_not_over() -> None:
    obj = told(
        clone_set(replicas=2, update_strategy=UpdateStrategy(paused=True)), pod("a", NEW), pod("b", OLD)
    )

    assert state(obj, "Progressing") == ("Unknown", "Paused")
    assert state(obj, "Ready") == ("False", "Paused")
    assert state(obj, "Stalled")[0] == "False"


def test_a_set_whose_pods_change_when_they_are_deleted_is_ready_with_those_that_it_has() -> None:
    obj = told(clone_set(replicas=1, update_strategy=UpdateStrategy(type="OnDelete")), pod("a", OLD))

    assert state(obj, "Ready") == ("True", "Available")
