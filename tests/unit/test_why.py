"""What a job or a node waits for, said so that a person knows what to do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from daemon.cli.contexts import namespace_of
from daemon.cli.shares import Tracked, result_of, shares_by_job, track
from daemon.cli.why import Scene, why_job, why_list, why_node
from daemon.objects.images import (
    AgentStatus,
    CompletionPolicy,
    FailedImageStatus,
    ImageEntry,
    ImageListPullJob,
    ImageListPullJobSpec,
    ImageListPullJobStatus,
    ImagePullJob,
    ImagePullJobSpec,
    ImagePullJobStatus,
    ImageStatus,
    ImageTag,
    ImageTagStatus,
    NodeImage,
    NodeImageSpec,
    NodeImageStatus,
)
from daemon.objects.meta import Condition, ObjectMeta, OwnerReference

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
OWNER = OwnerReference(kind="ImagePullJob", name="web", namespace="shop", uid="u1")


def job(parallelism: int | None = 2, age: float = 5, **status: Any) -> ImagePullJob:
    return ImagePullJob(
        metadata=ObjectMeta(
            name="web", namespace="shop", uid="u1", creation_timestamp=NOW - timedelta(seconds=age)
        ),
        spec=ImagePullJobSpec(image="app:v1", parallelism=parallelism),
        status=ImagePullJobStatus(**({"start_time": NOW} | status if status else {})),
    )


def never(made: ImagePullJob) -> ImagePullJob:
    return replace(made, spec=replace(made.spec, completion_policy=CompletionPolicy(type="Never")))


def node(name: str, *, version: int = 0, **status: Any) -> NodeImage:
    told = (ImageTagStatus(tag="v1", version=version, **status),) if status else ()
    tag = ImageTag(tag="v1", owner_references=(OWNER,))
    return NodeImage(
        metadata=ObjectMeta(name=name),
        spec=NodeImageSpec(images={"app": ImageEntry(tags=(tag,))}),
        status=NodeImageStatus(
            image_statuses={"app": ImageStatus(tags=told)}, agent=AgentStatus(version="1")
        ),
    )


def scene(*nodes: NodeImage, silent: float = 0) -> Scene:
    renewed = {each.metadata.name: NOW - timedelta(seconds=silent) for each in nodes}
    return Scene(NOW, {each.metadata.name: each for each in nodes}, renewed)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (job(), "was just made"),
        (job(age=40), "nobody has taken it up for 40s; is the controller running?"),
        (job(0, desired=3), "is paused: spec.parallelism is 0"),
        (job(desired=0), "no node matches it"),
        (
            job(desired=3, succeeded=3, completion_time=NOW, message="job has completed"),
            "is over. 3 of 3 nodes have the image",
        ),
        (job(desired=3, succeeded=1, failed=1, message="x"), "1 of 3 nodes have the image, 1 failed (x)"),
        (
            job(desired=2, succeeded=1, message="job is running, progress 50.0%"),
            "1 of 2 nodes have the image",
        ),
        (
            never(job(desired=2, succeeded=2)),
            "2 of 2 nodes have the image; it goes on with nodes that come, as completionPolicy.type is Never",
        ),
        (
            job(desired=1, conditions=(Condition(type="Stalled", status="True", reason="R", message="m"),)),
            "is stalled, R: m",
        ),
    ],
)
def test_the_headline_says_what_keeps_the_whole_job(made: ImagePullJob, said: str) -> None:
    headline, *_ = why_job(made, scene())

    assert headline.startswith(f"imagepulljob/web: {said}")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({}, "was told, and has not answered yet"),
        ({"phase": "Waiting"}, "waits for its turn"),
        (
            {"phase": "Pulling", "progress": 42, "start_time": NOW - timedelta(seconds=9)},
            "pulling for 9s, 42 %",
        ),
        (
            {"phase": "Waiting", "reason": "NoSpace", "message": "needs 1 GiB"},
            "waits: NoSpace: needs 1 GiB. Free",
        ),
        (
            {"phase": "Waiting", "reason": "TimedOut", "message": "late", "failures": 2},
            "attempt 2 failed, is tried again: TimedOut: late",
        ),
        (
            {"phase": "Failed", "reason": "ImageNotFound", "message": "gone", "completion_time": NOW},
            "failed. ImageNotFound: gone. ",
        ),
        ({"phase": "Succeeded", "version": 7, "completion_time": NOW}, "was told, and has not answered yet"),
    ],
)
def test_each_node_that_is_not_done_says_what_it_waits_for(status: dict[str, Any], said: str) -> None:
    _, line = why_job(job(desired=1), scene(node("n1", **status)))

    assert line.startswith(f"  n1: {said}")


def test_a_failure_that_is_listed_is_not_told_in_the_headline_too() -> None:
    message = "1 of 1 nodes failed; n1: gone"
    stalled = Condition(type="Stalled", status="True", reason="ImageNotFound", message=message)
    failed = node("n1", phase="Failed", reason="ImageNotFound", message="gone", completion_time=NOW)

    headline, line = why_job(job(desired=1, failed=1, conditions=(stalled,)), scene(failed))

    assert headline == "imagepulljob/web: is stalled, ImageNotFound: 1 of 1 nodes failed"
    assert line.startswith("  n1: failed. ImageNotFound: gone")


def test_a_failure_that_the_node_forgot_is_told_by_the_job() -> None:
    ready = Condition(type="Ready", status="False", reason="Denied", message="1 of 1 nodes failed; n1: no")
    over = job(desired=1, failed=1, failed_nodes=("n1",), completion_time=NOW, conditions=(ready,))

    assert list(why_job(over, scene()))[1:] == ["  n1: failed", "  1 of 1 nodes failed; n1: no"]


def a_list(*, images: int = 2, **status: Any) -> ImageListPullJob:
    return ImageListPullJob(
        metadata=ObjectMeta(name="list", namespace="shop", uid="u2"),
        spec=ImageListPullJobSpec(
            images=tuple(f"app:v{number}" for number in range(images)),
            completion_policy=CompletionPolicy(type="Never"),
        ),
        status=ImageListPullJobStatus(desired=images, **status),
    )


def test_a_list_that_never_ends_counts_what_is_everywhere_and_names_only_what_is_not() -> None:
    done, waiting = never(job(desired=1, succeeded=1)), never(job(desired=1))

    headline, line, *_ = why_list(a_list(), [done, waiting], scene())

    assert headline == "imagelistpulljob/list: 1 of 2 images are on all their nodes"
    assert line == "  imagepulljob/web: 0 of 1 nodes have the image"
    (alone,) = why_list(a_list(images=1), [done], scene())
    assert alone == (
        "imagelistpulljob/list: 1 of 1 images are on all their nodes;"
        " it goes on with nodes that come, as completionPolicy.type is Never"
    )


def test_a_list_with_failures_counts_them_and_leaves_their_reasons_to_its_jobs() -> None:
    failed = FailedImageStatus(image_pull_job="web", name="app:v1", message="n1: gone")

    headline, *_ = why_list(a_list(failed_image_statuses=(failed,)), [job(desired=1, failed=1)], scene())

    assert headline.startswith("imagelistpulljob/list: 0 of 2 images are on all their nodes, 1 failed")


def test_a_list_that_cannot_be_carried_out_says_why() -> None:
    stalled = Condition(type="Stalled", status="True", reason="Invalid", message="spec.images: none")

    (said,) = why_list(a_list(conditions=(stalled,)), [], scene())

    assert said == "imagelistpulljob/list: is stalled, Invalid: spec.images: none"


def test_a_node_whose_agent_is_silent_is_said_to_be() -> None:
    _, line = why_job(job(desired=1), scene(node("n1", phase="Waiting"), silent=300))

    assert line == "  n1: waiting; its agent has been silent for 5m"


def test_nodes_that_have_not_been_told_wait_for_their_turn() -> None:
    lines = list(why_job(job(desired=5), scene(node("n1", phase="Pulling"), node("n2", phase="Pulling"))))

    assert lines[1] == "  3 more nodes wait for their turn: 2 are at work, spec.parallelism is 2"


def test_many_nodes_are_not_all_listed() -> None:
    lines = list(why_job(job(desired=50), scene(*(node(f"n{at:02}", phase="Pulling") for at in range(50)))))

    assert lines[-1] == "  and 30 more"


def test_a_node_says_for_whom_it_waits() -> None:
    headline, line = why_node("n1", scene(node("n1", phase="Waiting")))

    assert headline == "node/n1: 0 of 1 images are there"
    assert line == "  app:v1: waits for its turn (for shop/web)"


def test_a_node_without_an_object_is_explained() -> None:
    (line,) = why_node("n1", scene())

    assert line.startswith("node/n1: has no NodeImage.")


def test_a_failure_that_was_seen_is_kept_after_its_share_is_gone() -> None:
    failed = scene(node("n1", phase="Failed", reason="Denied", message="no", completion_time=NOW))
    seen = Tracked("app:v1", job(desired=1))
    seen = track(seen, job(desired=1), shares_by_job(failed.node_images.values(), ["u1"])["u1"], 1.0)
    ended = track(seen, job(desired=1, failed=1, failed_nodes=("n1",), completion_time=NOW), (), 2.0)
    later = track(ended, None, (), 3.0)

    assert [failure.reason for failure in result_of(ended).failures] == ["Denied"]
    assert later is ended
    assert not ended.succeeded


def test_the_namespace_is_that_of_the_context(tmp_path: Any) -> None:
    path = tmp_path / "config"
    path.write_text(
        "current-context: a\ncontexts: [{name: a, context: {namespace: shop}}, {name: b, context: {}}]\n"
    )

    assert namespace_of(path, "", {}) == "shop"
    assert namespace_of(None, "b", {"KUBECONFIG": f"/nowhere:{path}"}) == "default"
    assert namespace_of(tmp_path / "none", "", {}) == "default"
