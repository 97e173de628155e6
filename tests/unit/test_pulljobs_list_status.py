"""What the status of a list says while its images come, and what its children take over from it."""

from datetime import timedelta

import msgspec
import pytest

from daemon import names
from daemon.objects.images import CompletionPolicy, ImageListPullJobStatus, ImagePullJob, ImagePullJobStatus
from daemon.objects.meta import Condition, OwnerReference, condition_of
from daemon.pulljobs.lists import Create, ListPlan, is_child
from tests.unit.test_pulljobs_lists import NOW, children_of, ended, image_list, planned

LATER = NOW + timedelta(minutes=5)


def conditions(made: ListPlan) -> dict[str, tuple[str, str]]:
    return {each.type: (each.status, each.reason) for each in made.status.conditions}


def words(made: ListPlan) -> str:
    ready = condition_of(made.status.conditions, "Ready")
    assert ready is not None
    return ready.message


def running(child: ImagePullJob) -> ImagePullJob:
    return msgspec.structs.replace(child, status=ImagePullJobStatus(desired=1, active=1))


def with_reason(child: ImagePullJob, message: str) -> ImagePullJob:
    condition = Condition(type="Ready", status="False", reason="Denied", message=message)
    return msgspec.structs.replace(
        child, status=msgspec.structs.replace(child.status, conditions=(condition,))
    )


def test_a_list_whose_images_come_counts_them() -> None:
    job = image_list("a:1", "b:1", "c:1")
    first, second, _ = children_of(job)

    made = planned(job, ended(first), running(second))

    assert (made.status.desired, made.status.active) == (3, 1)
    assert (made.status.completed, made.status.succeeded) == (1, 1)
    assert (made.status.completion_time, made.wake_in) == (None, None)
    assert words(made) == "1 of 3 images are done"
    assert conditions(made) == {
        "Ready": ("False", "Pulling"),
        "Reconciling": ("True", "Pulling"),
        "Stalled": ("False", "Pulling"),
    }


def test_a_failure_is_told_before_the_list_has_ended() -> None:
    job = image_list("a:1", "b:1")
    bad, good = children_of(job)

    made = planned(job, with_reason(ended(bad, failed=1), "no access"), running(good))

    assert words(made) == "1 of 2 images are done; a:1: no access"
    assert conditions(made)["Stalled"] == ("False", "Pulling")
    assert (made.status.completed, made.status.succeeded) == (1, 0)
    (failure,) = made.status.failed_image_statuses
    assert (failure.image_pull_job, failure.name, failure.message) == (bad.metadata.name, "a:1", "no access")


def test_a_failure_without_a_condition_tells_the_message() -> None:
    job = image_list("a:1")
    (child,) = children_of(job)
    status = ImagePullJobStatus(completion_time=NOW, failed=1, message="job exceeds activeDeadlineSeconds")

    made = planned(job, msgspec.structs.replace(child, status=status))

    assert made.status.failed_image_statuses[0].message == "job exceeds activeDeadlineSeconds"


def test_a_list_that_has_ended_well_is_ready_and_looked_at_again_for_its_ttl() -> None:
    job = image_list("a:1")

    made = planned(job, *map(ended, children_of(job)))

    assert conditions(made) == {
        "Ready": ("True", "Completed"),
        "Reconciling": ("False", "Completed"),
        "Stalled": ("False", "Completed"),
    }
    assert made.wake_in == 0.0


def test_a_list_that_has_ended_badly_is_stalled() -> None:
    job = image_list("a:1")

    made = planned(job, *(ended(child, failed=1) for child in children_of(job)))

    assert conditions(made) == {
        "Ready": ("False", "PullFailed"),
        "Reconciling": ("False", "PullFailed"),
        "Stalled": ("True", "PullFailed"),
    }


def test_a_child_that_was_edited_and_has_not_said_anything_since_is_not_counted() -> None:
    job = image_list("a:1")
    (child,) = children_of(job)
    edited = msgspec.structs.replace(
        ended(child), metadata=msgspec.structs.replace(child.metadata, generation=2)
    )

    made = planned(job, edited)

    assert (made.status.completed, made.status.active) == (0, 0)


def test_the_start_of_a_list_does_not_move_until_it_is_edited() -> None:
    status = ImageListPullJobStatus(start_time=NOW, observed_generation=1)
    job = msgspec.structs.replace(image_list("a:1"), status=status)
    edited = msgspec.structs.replace(image_list("a:1", generation=2), status=status)

    assert planned(image_list("a:1"), now=LATER).status.start_time == LATER
    assert planned(job, now=LATER).status.start_time == NOW
    assert planned(edited, now=LATER).status.start_time == LATER


def test_a_running_list_is_not_taken_for_an_ended_one() -> None:
    status = ImageListPullJobStatus(start_time=NOW, observed_generation=1)
    policy = CompletionPolicy(ttl_seconds_after_finished=0)
    job = msgspec.structs.replace(image_list("a:1", completion_policy=policy), status=status)

    made = planned(job, now=LATER)

    assert [type(action) for action in made.actions] == [Create]


@pytest.mark.parametrize(("ttl", "wake_in"), [(None, None), (400, 100.0)])
def test_an_ended_list_wakes_up_for_its_ttl(ttl: int | None, wake_in: float | None) -> None:
    policy = CompletionPolicy(ttl_seconds_after_finished=ttl)
    status = ImageListPullJobStatus(completion_time=NOW, observed_generation=1)
    job = msgspec.structs.replace(image_list("a:1", completion_policy=policy), status=status)

    made = planned(job, now=LATER)

    assert (made.actions, made.wake_in, made.status) == ((), wake_in, status)


def test_children_take_over_labels_and_priority_and_nothing_else() -> None:
    job = image_list("a:1")
    annotations = {names.PRIORITY_ANNOTATION: "7", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    metadata = msgspec.structs.replace(job.metadata, labels={"team": "x"}, annotations=annotations)

    (child,) = children_of(msgspec.structs.replace(job, metadata=metadata))

    digest = child.metadata.name.removeprefix("set-")
    assert child.metadata.labels == {"team": "x", "controller-revision-hash": digest}
    assert child.metadata.annotations == {names.PRIORITY_ANNOTATION: "7"}
    assert child.metadata.namespace == "default"


def test_a_name_of_any_length_makes_a_valid_one() -> None:
    job = image_list("a:1")
    metadata = msgspec.structs.replace(job.metadata, name="n" * 253)

    (child,) = children_of(msgspec.structs.replace(job, metadata=metadata))

    assert len(child.metadata.name) == 253


def test_a_child_is_known_by_its_owner() -> None:
    job = image_list("a:1")
    (child,) = children_of(job)
    other = OwnerReference(kind="ImageListPullJob", name="set", uid="u2")
    stranger = msgspec.structs.replace(
        child, metadata=msgspec.structs.replace(child.metadata, owner_references=(other,))
    )

    assert is_child(job, child)
    assert not is_child(job, stranger)
