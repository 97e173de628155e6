"""How the spec of a NodeImage is read: OpenKruise's, ours, and what is written by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.nodeimages.plans import Wanted
from daemon.nodeimages.wanting import recorded_of, wanted_of
from daemon.objects.images import (
    ImageEntry,
    ImageStatus,
    ImageTag,
    ImageTagStatus,
    NodeImage,
    NodeImageSpec,
    NodeImageStatus,
    SandboxConfig,
    SecretReference,
    TagPullPolicy,
)
from daemon.objects.meta import ObjectMeta, OwnerReference

NOW = datetime(2026, 5, 1, tzinfo=UTC)
DIGEST = f"sha256:{'a' * 64}"


def node(**images: ImageEntry) -> NodeImage:
    return NodeImage(metadata=ObjectMeta(name="n1"), spec=NodeImageSpec(images=images))


def read(name: str = "r.test/app", tag: str = "v1", **values: Any) -> Wanted:
    entry = ImageEntry(tags=(ImageTag(tag=tag, **values),))
    (found,) = wanted_of(node(**{name: entry}))
    return found


def with_policy(**values: Any) -> Wanted:
    return read(created_at=NOW, pull_policy=TagPullPolicy(**values))


@pytest.mark.parametrize(
    ("name", "tag", "ref"),
    [
        ("r.test/app", "v1", "r.test/app:v1"),
        ("r.test:5000/app", "v1", "r.test:5000/app:v1"),
        ("nginx", "1", "docker.io/library/nginx:1"),
        ("bitnami/redis", "7", "docker.io/bitnami/redis:7"),
        ("r.test/app", DIGEST, f"r.test/app@{DIGEST}"),
    ],
)
def test_a_tag_becomes_the_full_reference(name: str, tag: str, ref: str) -> None:
    found = read(name, tag)

    assert (found.ref, found.name, found.tag, found.problem) == (ref, name, tag, None)


@pytest.mark.parametrize(("name", "tag"), [("UPPER case", "v1"), ("app", "no tag"), ("app", "sha256:short")])
def test_what_is_no_reference_carries_its_problem(name: str, tag: str) -> None:
    found = read(name, tag)

    assert found.problem is not None
    assert (found.problem.reason, found.problem.final) == ("InvalidReference", True)
    assert (found.name, found.tag) == (name, tag)


@pytest.mark.parametrize(
    ("rule", "read_as"),
    [("", "IfNotPresent"), ("IfNotPresent", "IfNotPresent"), ("Always", "Always"), ("Never", "IfNotPresent")],
)
def test_only_always_pulls_what_is_present(rule: str, read_as: str) -> None:
    assert read(image_pull_policy=rule).rule == read_as


@pytest.mark.parametrize(("seconds", "timeout"), [(None, 600.0), (0, 600.0), (-1, 600.0), (30, 30.0)])
def test_a_timeout_that_is_missing_or_senseless_is_the_default(seconds: int | None, timeout: float) -> None:
    assert with_policy(timeout_seconds=seconds).timeout == timeout


@pytest.mark.parametrize(("limit", "retries"), [(None, 3), (-1, 3), (0, 0), (7, 7)])
def test_a_back_off_limit_that_is_missing_or_negative_is_the_default(limit: int | None, retries: int) -> None:
    assert with_policy(backoff_limit=limit).backoff_limit == retries


@pytest.mark.parametrize("seconds", [None, 0, -5, 2**40, 2**62])
def test_without_a_sensible_deadline_there_is_none(seconds: int | None) -> None:
    assert with_policy(active_deadline_seconds=seconds).deadline_at is None


def test_a_deadline_counts_from_the_creation_of_the_request() -> None:
    assert with_policy(active_deadline_seconds=60).deadline_at == NOW + timedelta(seconds=60)


def test_without_a_policy_the_defaults_hold() -> None:
    found = read()

    assert (found.timeout, found.backoff_limit, found.deadline_at) == (600.0, 3, None)
    assert found.created_at == datetime(1970, 1, 1, tzinfo=UTC)


def test_everything_else_is_taken_over() -> None:
    owner = OwnerReference(kind="ImagePullJob", namespace="default", name="web")
    tag = ImageTag(tag="v1", version=4, priority=-2, created_at=NOW, owner_references=(owner,))
    entry = ImageEntry(
        pull_secrets=(SecretReference(name="creds", namespace="default"),),
        tags=(tag,),
        sandbox_config=SandboxConfig(labels={"b": "2", "a": "1"}, annotations={"d": "4", "c": "3"}),
    )

    (found,) = wanted_of(node(**{"r.test/app": entry}))

    assert (found.version, found.priority, found.created_at) == (4, -2, NOW)
    assert found.owners == ("ImagePullJob/default/web",)
    assert found.secrets == entry.pull_secrets
    assert found.labels == (("a", "1"), ("b", "2"))
    assert found.annotations == (("c", "3"), ("d", "4"))


def test_the_recorded_status_is_found_by_the_reference() -> None:
    status = ImageTagStatus(tag="1", phase="Succeeded", version=3)
    image = NodeImage(
        metadata=ObjectMeta(name="n1"),
        status=NodeImageStatus(image_statuses={"nginx": ImageStatus(tags=(status,))}),
    )

    assert recorded_of(image) == {"docker.io/library/nginx:1": status}


TAGS = st.builds(
    ImageTag,
    tag=st.text(max_size=8) | st.sampled_from(["v1", DIGEST]),
    created_at=st.none() | st.just(NOW),
    version=st.integers(-(2**63), 2**63 - 1),
    priority=st.integers(-(2**31), 2**31 - 1),
    image_pull_policy=st.text(max_size=4),
    pull_policy=st.none()
    | st.builds(
        TagPullPolicy,
        timeout_seconds=st.none() | st.integers(-(2**31), 2**31 - 1),
        backoff_limit=st.none() | st.integers(-(2**31), 2**31 - 1),
        active_deadline_seconds=st.none() | st.integers(-(2**63), 2**63 - 1),
    ),
)


@given(
    st.dictionaries(st.text(max_size=10), st.builds(ImageEntry, tags=st.lists(TAGS, max_size=3).map(tuple)))
)
def test_any_spec_can_be_read(images: dict[str, ImageEntry]) -> None:
    image = NodeImage(metadata=ObjectMeta(name="n1"), spec=NodeImageSpec(images=images))

    found = wanted_of(image)

    assert len(found) == sum(len(entry.tags) for entry in images.values())
    assert all(item.timeout > 0 and item.backoff_limit >= 0 for item in found)
    assert all(item.deadline_at is None or item.deadline_at > item.created_at for item in found)
