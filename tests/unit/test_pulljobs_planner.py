"""What an ImagePullJob asks of nodes, and what its status says of them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from daemon.objects.images import (
    CompletionPolicy,
    ImagePullJob,
    ImagePullJobSpec,
    ImagePullJobStatus,
    ImageStatus,
    ImageTagStatus,
    NodeImage,
    NodeImageStatus,
    NodeSelector,
)
from daemon.objects.meta import LabelSelector, ObjectMeta, condition_of
from daemon.pulljobs.index import ShareIndex
from daemon.pulljobs.planner import Ask, Drop, Observed, Plan, Remove, plan
from daemon.pulljobs.tags import tag_of, with_job, without_job

NOW = datetime(2026, 5, 1, tzinfo=UTC)
IMAGE = "registry.test/app:v1"
NAME = "registry.test/app"


def job(uid: str = "u1", generation: int = 1, **spec: object) -> ImagePullJob:
    fields: dict[str, object] = {"image": IMAGE} | spec
    return ImagePullJob(
        metadata=ObjectMeta(name=uid, namespace="default", uid=uid, generation=generation),
        spec=ImagePullJobSpec(**fields),  # type: ignore[arg-type]
    )


def node(name: str = "n1", **labels: str) -> NodeImage:
    return NodeImage(metadata=ObjectMeta(name=name, labels=labels))


def asked(image: NodeImage, for_job: ImagePullJob, ttl: int = 300) -> NodeImage:
    return msgspec.structs.replace(image, spec=with_job(image, for_job, NOW, ttl))


def told(image: NodeImage, phase: str, message: str = "", reason: str = "") -> NodeImage:
    """The node after it ended every wanted tag in *phase*."""
    statuses = {
        name: ImageStatus(
            tags=tuple(
                ImageTagStatus(
                    tag=tag.tag,
                    phase=phase,  # type: ignore[arg-type]
                    version=tag.version,
                    completion_time=NOW if phase in ("Succeeded", "Failed") else None,
                    message=message,
                    reason=reason,
                )
                for tag in entry.tags
            )
        )
        for name, entry in image.spec.images.items()
    }
    return msgspec.structs.replace(image, status=NodeImageStatus(image_statuses=statuses))


def planned(for_job: ImagePullJob, nodes: Sequence[NodeImage], now: datetime = NOW) -> Plan:
    index = ShareIndex(default_ttl=300)
    for each in nodes:
        index.take_node(each, NOW)
    return plan(Observed(job=for_job, shares=index.shares_of(for_job, now), now=now, default_ttl=300))


def test_as_many_nodes_are_asked_as_parallelism_allows() -> None:
    made = planned(job(parallelism=2), [node("n3"), node("n1"), node("n2")])

    assert made.actions == (Ask("n1"), Ask("n2"))
    assert (made.status.desired, made.status.active) == (3, 2)


def test_parallelism_zero_pauses_and_says_so() -> None:
    made = planned(job(parallelism=0), [node()])

    assert made.actions == ()
    reconciling = condition_of(made.status.conditions, "Reconciling")
    assert reconciling is not None
    assert (reconciling.status, reconciling.reason) == ("False", "Paused")


def test_a_percentage_of_nodes_is_rounded_up() -> None:
    made = planned(job(parallelism="30%"), [node(f"n{number}") for number in range(4)])

    assert made.actions == (Ask("n0"), Ask("n1"))


def test_nodes_at_work_count_against_parallelism() -> None:
    pull = job(parallelism=1)

    made = planned(pull, [told(asked(node("n1"), pull), "Pulling"), node("n2")])

    assert made.actions == ()
    assert made.status.message == "job is running, progress 0.0%"


@pytest.mark.parametrize(
    "selector",
    [NodeSelector(names=("n1",)), NodeSelector(match_labels={"pool": "gpu"})],
    ids=["by name", "by label"],
)
def test_only_selected_nodes_are_asked(selector: NodeSelector) -> None:
    made = planned(job(selector=selector, parallelism=5), [node("n1", pool="gpu"), node("n2")])

    assert made.actions == (Ask("n1"),)


def test_a_job_ends_when_every_node_has_ended() -> None:
    pull = job()

    made = planned(pull, [told(asked(node(), pull), "Succeeded")])

    assert made.status.completion_time == NOW
    assert (made.status.desired, made.status.succeeded, made.status.failed) == (1, 1, 0)
    assert made.status.message == "job has completed"
    ready = condition_of(made.status.conditions, "Ready")
    assert ready is not None
    assert ready.status == "True"


def test_a_failed_node_is_named_with_its_reason() -> None:
    pull = job()

    made = planned(pull, [told(asked(node(), pull), "Failed", "no such tag", "ImageNotFound")])

    assert made.status.failed_nodes == ("n1",)
    stalled = condition_of(made.status.conditions, "Stalled")
    assert stalled is not None
    assert (stalled.status, stalled.reason) == ("True", "ImageNotFound")
    assert stalled.message == "1 of 1 nodes failed; n1: no such tag"


def test_a_never_job_does_not_end_and_serves_a_new_node() -> None:
    pull = job(completion_policy=CompletionPolicy(type="Never"))

    made = planned(pull, [told(asked(node("n1"), pull), "Succeeded"), node("n2")])

    assert made.status.completion_time is None
    assert made.actions == (Ask("n2"),)


def test_a_job_that_selects_no_node_says_so() -> None:
    made = planned(job(selector=NodeSelector(names=("elsewhere",))), [node()])

    ready = condition_of(made.status.conditions, "Ready")
    assert ready is not None
    assert ready.reason == "NoNodes"


def test_a_deadline_ends_the_job_and_what_the_nodes_do_for_it() -> None:
    pull = job(completion_policy=CompletionPolicy(active_deadline_seconds=60))
    pull = msgspec.structs.replace(pull, status=ImagePullJobStatus(start_time=NOW, observed_generation=1))

    made = planned(pull, [told(asked(node(), pull), "Pulling")], NOW + timedelta(seconds=60))

    assert made.actions == (Drop("n1"),)
    assert made.status.failed == 1
    assert made.status.message == "job exceeds activeDeadlineSeconds"


def test_the_plan_wakes_up_for_the_deadline() -> None:
    pull = job(completion_policy=CompletionPolicy(active_deadline_seconds=60))
    pull = msgspec.structs.replace(pull, status=ImagePullJobStatus(start_time=NOW, observed_generation=1))

    made = planned(pull, [node()], NOW + timedelta(seconds=20))

    assert made.wake_in == pytest.approx(40.0)


def ended(ttl: int | None, generation: int = 1) -> ImagePullJob:
    pull = job(completion_policy=CompletionPolicy(ttl_seconds_after_finished=ttl), generation=generation)
    status = ImagePullJobStatus(completion_time=NOW, observed_generation=1, succeeded=1, desired=1)
    return msgspec.structs.replace(pull, status=status)


def test_an_ended_job_keeps_its_share_until_its_ttl_has_passed() -> None:
    pull = ended(ttl=60)
    image = told(asked(node(), pull), "Succeeded")

    before = planned(pull, [image], NOW + timedelta(seconds=59))
    after = planned(pull, [image], NOW + timedelta(seconds=60))

    assert before.actions == ()
    assert before.wake_in == pytest.approx(1.0)
    assert after.actions == (Drop("n1"), Remove())


def test_an_ended_job_without_ttl_stays_but_gives_its_share_up() -> None:
    pull = ended(ttl=None)

    made = planned(pull, [told(asked(node(), pull), "Succeeded")], NOW + timedelta(seconds=300))

    assert made.actions == (Drop("n1"),)


def test_an_ended_job_asks_no_further_node() -> None:
    made = planned(ended(ttl=None), [node()])

    assert made.actions == ()


def test_an_edited_job_starts_anew() -> None:
    pull = ended(ttl=None, generation=2)

    made = planned(pull, [told(asked(node(), pull), "Succeeded")])

    assert made.actions == (Drop("n1"),)
    assert made.status.completion_time is None
    assert made.status.observed_generation == 2


def test_an_edited_image_of_a_running_job_replaces_the_old_share() -> None:
    old = job()
    image = told(asked(node(), old), "Pulling")

    made = planned(job(image="registry.test/app:v2", generation=2), [image])

    assert made.actions == (Drop("n1"), Ask("n1"))


def test_a_digest_stands_in_the_place_of_the_tag() -> None:
    digest = "sha256:" + "a" * 64
    pull = job(image=f"{NAME}:v1@{digest}")

    image = asked(node(), pull)

    assert [tag.tag for tag in image.spec.images[NAME].tags] == [digest]


def test_a_second_job_shares_what_is_still_being_pulled() -> None:
    first, second = job("u1"), job("u2")
    image = told(asked(node(), first), "Pulling")

    shared = asked(image, second).spec.images[NAME].tags

    assert [(tag.version, [owner.uid for owner in tag.owner_references]) for tag in shared] == [
        (0, ["u1", "u2"])
    ]


def test_a_second_job_gets_an_answer_of_its_own_when_the_first_has_ended() -> None:
    image = told(asked(node(), job("u1")), "Succeeded")

    tag = tag_of(asked(image, job("u2")), job("u2"))

    assert tag is not None
    assert tag.version == 1


def test_shared_bounds_are_the_wider_ones() -> None:
    first = job("u1", completion_policy=CompletionPolicy(active_deadline_seconds=1000))
    second = job("u2", completion_policy=CompletionPolicy(active_deadline_seconds=2000))

    tag = tag_of(asked(asked(node(), first), second), second)

    assert tag is not None
    assert tag.pull_policy is not None
    assert tag.pull_policy.active_deadline_seconds == 2000


def test_always_is_not_answered_by_a_pull_that_was_content_with_what_is_there() -> None:
    image = told(asked(node(), job("u1")), "Pulling")

    tag = tag_of(asked(image, job("u2", image_pull_policy="Always")), job("u2"))

    assert tag is not None
    assert (tag.version, tag.image_pull_policy) == (1, "Always")


def test_a_tag_goes_with_its_last_owner() -> None:
    image = asked(asked(node(), job("u1")), job("u2"))

    one_left = without_job(image, "u1")
    none_left = without_job(msgspec.structs.replace(image, spec=one_left), "u2")

    assert [owner.uid for owner in one_left.images[NAME].tags[0].owner_references] == ["u2"]
    assert none_left.images == {}


def test_a_tag_that_comes_back_has_a_version_above_the_last_status() -> None:
    image = told(asked(node(), job("u1")), "Succeeded")
    emptied = msgspec.structs.replace(image, spec=without_job(image, "u1"))

    tag = tag_of(asked(emptied, job("u2")), job("u2"))

    assert tag is not None
    assert tag.version == 1


def test_a_pod_selector_selects_nothing_where_there_are_no_pods() -> None:
    made = planned(job(pod_selector=LabelSelector(match_labels={"app": "web"})), [node()])

    assert made.status.desired == 0
