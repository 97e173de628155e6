"""Which conditions of a pod are written, and with which time of transition."""

from datetime import UTC, datetime

from daemon.localpods.conditions import condition_of, news
from daemon.objects.local_pods import LocalPod, LocalPodCondition, LocalPodStatus
from daemon.objects.meta import ObjectMeta

THEN = datetime(2026, 5, 1, 12, tzinfo=UTC)
NOW = datetime(2026, 5, 1, 13, tzinfo=UTC)
IN_SYNC = LocalPodCondition(type="inplaced.dev/ContainersInSync", status="True", reason="InSync")


def pod(*conditions: LocalPodCondition) -> LocalPod:
    return LocalPod(metadata=ObjectMeta(name="web"), status=LocalPodStatus(conditions=conditions))


def said(condition: LocalPodCondition, at: datetime = THEN) -> LocalPodCondition:
    return LocalPodCondition(
        type=condition.type,
        status=condition.status,
        reason=condition.reason,
        message=condition.message,
        last_transition_time=at,
        observed_generation=condition.observed_generation,
    )


def test_a_condition_that_the_pod_lacks_is_news() -> None:
    assert news(pod(), [IN_SYNC], NOW) == [said(IN_SYNC, NOW)]


def test_what_the_pod_says_already_is_not_written_again() -> None:
    assert news(pod(said(IN_SYNC)), [IN_SYNC], NOW) == []


def test_another_reason_keeps_the_time_of_transition() -> None:
    resizing = LocalPodCondition(type=IN_SYNC.type, status="True", reason="Restarted")

    assert news(pod(said(IN_SYNC)), [resizing], NOW) == [said(resizing, THEN)]


def test_another_status_moves_the_time_of_transition() -> None:
    restarting = LocalPodCondition(type=IN_SYNC.type, status="False", reason="Restarting")

    assert news(pod(said(IN_SYNC)), [restarting], NOW) == [said(restarting, NOW)]


def test_conditions_of_others_are_left_alone() -> None:
    ready = LocalPodCondition(type="Ready", status="True", last_transition_time=THEN)

    assert news(pod(ready, said(IN_SYNC)), [IN_SYNC], NOW) == []
    assert condition_of(pod(ready), IN_SYNC.type) is None
