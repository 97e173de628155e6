"""What an ImageListPullJob makes of its images, and what its status says."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from daemon.objects.images import (
    CompletionPolicy,
    ImageListPullJob,
    ImageListPullJobSpec,
    ImageListPullJobStatus,
    ImagePullJob,
    ImagePullJobStatus,
)
from daemon.objects.meta import ObjectMeta, condition_of
from daemon.pulljobs.lists import Create, Delete, ListObserved, ListPlan, RemoveList, plan_list
from daemon.pulljobs.lists import children_of as children_of_list

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def image_list(*images: str, generation: int = 1, **spec: object) -> ImageListPullJob:
    return ImageListPullJob(
        metadata=ObjectMeta(name="set", namespace="default", uid="u1", generation=generation),
        spec=ImageListPullJobSpec(images=images, **spec),  # type: ignore[arg-type]
    )


def planned(job: ImageListPullJob, *children: ImagePullJob, now: datetime = NOW) -> ListPlan:
    return plan_list(ListObserved(job=job, wanted=children_of_list(job), children=children, now=now))


def children_of(job: ImageListPullJob) -> list[ImagePullJob]:
    return [action.child for action in planned(job).actions if isinstance(action, Create)]


def ended(child: ImagePullJob, failed: int = 0) -> ImagePullJob:
    status = ImagePullJobStatus(completion_time=NOW, desired=1, succeeded=1 - failed, failed=failed)
    return msgspec.structs.replace(child, status=status)


def test_each_image_becomes_a_job_with_the_same_policies() -> None:
    job = image_list("a:1", "b:1", parallelism=7, pull_secrets=("creds",))

    children = children_of(job)

    assert [child.spec.image for child in children] == ["a:1", "b:1"]
    assert {child.spec.parallelism for child in children} == {7}
    assert {child.spec.pull_secrets for child in children} == {("creds",)}
    assert [child.metadata.owner_references[0].uid for child in children] == ["u1", "u1"]


def test_names_of_children_do_not_depend_on_their_order() -> None:
    forth, back = children_of(image_list("a:1", "b:1")), children_of(image_list("b:1", "a:1"))

    assert {child.metadata.name for child in forth} == {child.metadata.name for child in back}


def test_children_do_not_inherit_the_ttl_so_that_none_is_made_twice() -> None:
    job = image_list("a:1", completion_policy=CompletionPolicy(ttl_seconds_after_finished=5))

    (child,) = children_of(job)

    assert child.spec.completion_policy.ttl_seconds_after_finished is None


def test_a_child_that_is_there_is_not_made_again() -> None:
    job = image_list("a:1")

    made = planned(job, *children_of(job))

    assert made.actions == ()
    assert (made.status.desired, made.status.active) == (1, 1)


def test_an_image_that_left_the_list_takes_its_job_along() -> None:
    (gone, stays) = children_of(image_list("a:1", "b:1"))

    made = planned(image_list("b:1"), gone, stays)

    assert made.actions == (Delete(gone),)


def test_a_changed_template_replaces_all_children() -> None:
    (old,) = children_of(image_list("a:1"))

    made = planned(image_list("a:1", image_pull_policy="Always"), old)

    assert [type(action) for action in made.actions] == [Delete, Create]


def test_the_list_ends_with_its_last_image_and_names_what_failed() -> None:
    job = image_list("a:1", "b:1")
    good, bad = children_of(job)

    made = planned(job, ended(good), ended(bad, failed=1))

    assert made.status.completion_time == NOW
    assert (made.status.completed, made.status.succeeded) == (2, 1)
    assert [failure.name for failure in made.status.failed_image_statuses] == ["b:1"]
    stalled = condition_of(made.status.conditions, "Stalled")
    assert stalled is not None
    assert stalled.status == "True"


def test_a_never_list_does_not_end() -> None:
    job = image_list("a:1", completion_policy=CompletionPolicy(type="Never"))

    made = planned(job, *(ended(child) for child in children_of(job)))

    assert made.status.completion_time is None


@pytest.mark.parametrize(("age", "removed"), [(59, False), (60, True)])
def test_the_list_is_removed_when_its_ttl_has_passed(age: int, removed: bool) -> None:
    job = image_list("a:1", completion_policy=CompletionPolicy(ttl_seconds_after_finished=60))
    status = ImageListPullJobStatus(completion_time=NOW, observed_generation=1)

    made = planned(msgspec.structs.replace(job, status=status), now=NOW + timedelta(seconds=age))

    assert (made.actions == (RemoveList(),)) is removed


def test_an_ended_list_makes_no_child_again() -> None:
    status = ImageListPullJobStatus(completion_time=NOW, observed_generation=1)

    made = planned(msgspec.structs.replace(image_list("a:1"), status=status))

    assert made.actions == ()


def test_an_edited_list_runs_again() -> None:
    status = ImageListPullJobStatus(completion_time=NOW, observed_generation=1)
    job = msgspec.structs.replace(image_list("a:2", generation=2), status=status)

    made = planned(job)

    assert [action.child.spec.image for action in made.actions if isinstance(action, Create)] == ["a:2"]
    assert made.status.completion_time is None
