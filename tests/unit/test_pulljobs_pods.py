"""Where the pods of a job are, and in which order their nodes are asked."""

from datetime import UTC, datetime, timedelta

import pytest

from daemon.objects.meta import OwnerReference
from daemon.objects.pods import Pod, PodCondition, PodMeta, PodSpec, PodStatus
from daemon.pulljobs.pods import followed_by

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def pod(
    name: str,
    node: str = "",
    *,
    phase: str = "Running",
    ready: bool = True,
    age: int = 0,
    owner: str = "ReplicaSet",
    unscheduled: str = "",
    leaving: bool = False,
) -> Pod:
    """A pod as the API server shows it; *age* is in seconds."""
    since = NOW - timedelta(seconds=age)
    conditions = [
        PodCondition(type="Ready", status=str(ready), last_transition_time=since if ready else None)
    ]
    if unscheduled:
        conditions.append(PodCondition(type="PodScheduled", status="False", reason=unscheduled))
    return Pod(
        metadata=PodMeta(
            name=name,
            namespace="default",
            creation_timestamp=since,
            deletion_timestamp=NOW if leaving else None,
            owner_references=(OwnerReference(kind=owner, name="web", uid="w", controller=True),),
        ),
        spec=PodSpec(node_name=node),
        status=PodStatus(phase=phase, conditions=tuple(conditions)),
    )


def test_a_node_with_many_pods_is_there_once() -> None:
    found = followed_by([pod("a", "n1"), pod("b", "n2"), pod("c", "n1")])

    assert sorted(found.nodes) == ["n1", "n2"]


def test_a_stateful_set_goes_down_from_its_highest_ordinal() -> None:
    pods = [pod(f"db-{number}", f"n{number}", owner="StatefulSet", age=number) for number in (0, 2, 10, 1)]

    assert followed_by(pods).nodes == ("n10", "n2", "n1", "n0")


def test_other_workloads_begin_with_what_is_worth_the_least() -> None:
    pods = [
        pod("old", "n1", age=100),
        pod("young", "n2", age=10),
        pod("unready", "n3", ready=False, age=100),
        pod("pending", "n4", phase="Pending", ready=False, age=100),
    ]

    assert followed_by(pods).nodes == ("n4", "n3", "n2", "n1")


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_pods_that_are_over_are_not_followed(phase: str) -> None:
    assert followed_by([pod("a", "n1", phase=phase)]).nodes == ()


def test_pods_that_are_leaving_are_not_followed() -> None:
    assert followed_by([pod("a", "n1", leaving=True)]).nodes == ()


def test_pods_that_will_have_a_node_soon_are_waited_for() -> None:
    found = followed_by([pod("b", phase="Pending"), pod("a", phase="Pending"), pod("c", "n1")])

    assert (found.nodes, found.unscheduled) == (("n1",), ("a", "b"))


@pytest.mark.parametrize("reason", ["Unschedulable", "SchedulingGated"])
def test_pods_that_may_never_have_a_node_are_not_waited_for(reason: str) -> None:
    assert followed_by([pod("a", phase="Pending", unscheduled=reason)]).unscheduled == ()


def test_the_order_does_not_depend_on_who_is_told_first() -> None:
    pods = [pod(f"p{number}", f"n{number}", age=number % 3) for number in range(9)]

    assert followed_by(pods) == followed_by(reversed(pods))
