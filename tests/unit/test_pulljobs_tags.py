"""How jobs share a tag of a node: versions, bounds, secrets, owners."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import names
from daemon.objects.images import (
    CompletionPolicy,
    ImageEntry,
    ImagePullJob,
    ImagePullJobSpec,
    ImageStatus,
    ImageTag,
    ImageTagStatus,
    NodeImage,
    NodeImageSpec,
    NodeImageStatus,
    PullPolicy,
    SandboxConfig,
    SecretReference,
    TagPullPolicy,
)
from daemon.objects.meta import ObjectMeta, OwnerReference
from daemon.pulljobs.tags import priority_of, status_of, tag_of, with_job, without_job

NOW = datetime(2026, 5, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
NAME = "registry.test/app"
NODE = NodeImage(metadata=ObjectMeta(name="n1"))


def job(uid: str = "u1", *, priority: str = "", **spec: Any) -> ImagePullJob:
    annotations = {names.PRIORITY_ANNOTATION: priority} if priority else {}
    metadata = ObjectMeta(name=uid, namespace="default", uid=uid, annotations=annotations)
    return ImagePullJob(metadata=metadata, spec=ImagePullJobSpec(**({"image": f"{NAME}:v1"} | spec)))


def asked(node: NodeImage, *jobs: ImagePullJob, now: datetime = NOW) -> NodeImage:
    for each in jobs:
        node = msgspec.structs.replace(node, spec=with_job(node, each, now, 300))
    return node


def told(node: NodeImage, *, version: int = 0, ended: bool = True) -> NodeImage:
    phase, end = ("Succeeded", NOW) if ended else ("Pulling", None)
    status = ImageTagStatus(tag="v1", phase=phase, version=version, completion_time=end)  # type: ignore[arg-type]
    statuses = {NAME: ImageStatus(tags=(status,))}
    return msgspec.structs.replace(node, status=NodeImageStatus(image_statuses=statuses))


def tag(node: NodeImage) -> ImageTag:
    (found,) = node.spec.images[NAME].tags
    return found


def policy(node: NodeImage) -> TagPullPolicy:
    found = tag(node).pull_policy
    assert found is not None
    return found


def owners(node: NodeImage) -> list[str]:
    return [owner.uid for owner in tag(node).owner_references]


def test_a_tag_carries_what_the_job_asks_for() -> None:
    pull = job(
        priority="7",
        image_pull_policy="Always",
        pull_policy=PullPolicy(timeout_seconds=30, backoff_limit=5),
        completion_policy=CompletionPolicy(active_deadline_seconds=900),
        pull_secrets=("creds",),
        sandbox_config=SandboxConfig(labels={"a": "b"}),
    )

    node = asked(NODE, pull)

    assert tag(node) == ImageTag(
        tag="v1",
        created_at=NOW,
        pull_policy=TagPullPolicy(
            timeout_seconds=30, backoff_limit=5, active_deadline_seconds=900, ttl_seconds_after_finished=300
        ),
        owner_references=(
            OwnerReference(
                api_version="apps.kruise.io/v1beta1",
                kind="ImagePullJob",
                namespace="default",
                name="u1",
                uid="u1",
            ),
        ),
        version=0,
        image_pull_policy="Always",
        priority=7,
    )
    assert node.spec.images[NAME].pull_secrets == (SecretReference(namespace="default", name="creds"),)
    assert node.spec.images[NAME].sandbox_config == SandboxConfig(labels={"a": "b"})


@pytest.mark.parametrize(("deadline", "timeout"), [(None, 600), (1000, 600), (60, 60)])
def test_no_attempt_lasts_longer_than_its_job(deadline: int | None, timeout: int) -> None:
    pull = job(completion_policy=CompletionPolicy(active_deadline_seconds=deadline))

    assert policy(asked(NODE, pull)).timeout_seconds == timeout


def test_a_tag_is_a_jobs_only_if_it_is_among_its_owners() -> None:
    node = told(asked(NODE, job("u1")))

    assert tag_of(node, job("u1")) == tag(node)
    assert tag_of(node, job("u2")) is None
    assert status_of(node, job("u2")) is None
    assert tag_of(node, job("u1", image="registry.test/other:v1")) is None


@pytest.mark.parametrize(("version", "speaks"), [(0, True), (1, False)])
def test_a_status_counts_for_the_version_that_is_wanted(version: int, speaks: bool) -> None:
    node = told(asked(NODE, job()), version=version)

    assert (status_of(node, job()) is not None) is speaks


def test_a_node_that_has_said_nothing_has_no_status() -> None:
    assert status_of(asked(NODE, job()), job()) is None


def test_a_pull_that_goes_on_is_shared_from_its_beginning() -> None:
    node = told(asked(NODE, job("u1")), ended=False)

    shared = asked(node, job("u2"), now=LATER)

    assert owners(shared) == ["u1", "u2"]
    assert (tag(shared).version, tag(shared).created_at) == (0, NOW)


def test_asking_twice_changes_nothing_while_the_pull_goes_on() -> None:
    once = told(asked(NODE, job("u1")), ended=False)

    assert asked(once, job("u1"), now=LATER).spec == once.spec


def test_a_pull_that_has_ended_is_asked_for_anew() -> None:
    node = told(asked(NODE, job("u1")))

    shared = asked(node, job("u2"), now=LATER)

    assert owners(shared) == ["u1", "u2"]
    assert (tag(shared).version, tag(shared).created_at) == (1, LATER)


def test_the_end_of_an_older_version_is_no_end() -> None:
    node = told(asked(told(asked(NODE, job("u1"))), job("u2")), version=0)

    shared = asked(node, job("u3"), now=LATER)

    assert (tag(shared).version, tag(shared).created_at) == (1, NOW)


@pytest.mark.parametrize(
    ("first", "second", "version", "rule"),
    [
        ("IfNotPresent", "IfNotPresent", 0, "IfNotPresent"),
        ("IfNotPresent", "Always", 1, "Always"),
        ("Always", "IfNotPresent", 0, "Always"),
        ("Always", "Always", 0, "Always"),
    ],
)
def test_a_running_pull_is_begun_again_only_for_a_stricter_rule(
    first: str, second: str, version: int, rule: str
) -> None:
    node = asked(NODE, job("u1", image_pull_policy=first), job("u2", image_pull_policy=second))

    assert (tag(node).version, tag(node).image_pull_policy) == (version, rule)


def test_what_has_ended_is_asked_for_by_the_new_rule_alone() -> None:
    node = asked(told(asked(NODE, job("u1", image_pull_policy="Always"))), job("u2"))

    assert tag(node).image_pull_policy == "IfNotPresent"


@pytest.mark.parametrize("turned", [False, True])
def test_a_shared_pull_has_the_wider_bounds_and_the_higher_priority(turned: bool) -> None:
    strict = job(
        "u1",
        priority="3",
        pull_policy=PullPolicy(timeout_seconds=10, backoff_limit=9),
        completion_policy=CompletionPolicy(active_deadline_seconds=100),
    )
    lax = job("u2", priority="1", pull_policy=PullPolicy(timeout_seconds=20, backoff_limit=1))

    node = asked(NODE, *((lax, strict) if turned else (strict, lax)))

    assert tag(node).priority == 3
    assert policy(node) == TagPullPolicy(
        timeout_seconds=20, backoff_limit=9, active_deadline_seconds=None, ttl_seconds_after_finished=300
    )


def test_what_has_ended_is_asked_for_in_the_new_bounds_alone() -> None:
    lax, strict = job("u1"), job("u2", pull_policy=PullPolicy(timeout_seconds=10, backoff_limit=0))

    node = asked(told(asked(NODE, lax)), strict)

    assert (policy(node).timeout_seconds, policy(node).backoff_limit) == (10, 0)


def test_a_tag_without_bounds_stays_without_them() -> None:
    foreign = ImageEntry(tags=(ImageTag(tag="v1"),))
    node = msgspec.structs.replace(NODE, spec=NodeImageSpec(images={NAME: foreign}))

    assert policy(asked(node, job())) == TagPullPolicy()


def test_secrets_of_all_jobs_are_kept_once_and_a_sandbox_is_not_lost() -> None:
    sandbox = SandboxConfig(labels={"a": "b"})
    first = job("u1", pull_secrets=("a", "b"), sandbox_config=sandbox)

    node = asked(NODE, first, job("u2", pull_secrets=("b", "c")))

    entry = node.spec.images[NAME]
    assert [secret.name for secret in entry.pull_secrets] == ["a", "b", "c"]
    assert entry.sandbox_config == sandbox


def test_a_new_sandbox_takes_the_place_of_the_old() -> None:
    old, new = SandboxConfig(labels={"a": "b"}), SandboxConfig(labels={"c": "d"})

    node = asked(NODE, job("u1", sandbox_config=old), job("u2", sandbox_config=new))

    assert node.spec.images[NAME].sandbox_config == new


def test_tags_of_one_repository_stand_beside_each_other() -> None:
    node = asked(NODE, job("u1"), job("u2", image=f"{NAME}:v2"), job("u1"))

    assert sorted(each.tag for each in node.spec.images[NAME].tags) == ["v1", "v2"]


def test_a_version_is_above_everything_that_was_seen() -> None:
    empty = told(NODE, version=6)

    assert tag(asked(empty, job())).version == 7


def test_without_a_job_only_its_share_is_gone() -> None:
    node = asked(NODE, job("u1"), job("u2"), job("u1", image=f"{NAME}:v2"), job("u3", image="other:1"))

    left = msgspec.structs.replace(node, spec=without_job(node, "u1"))

    assert owners(left) == ["u2"]
    assert left.spec.images["other"] == node.spec.images["other"]


def test_a_tag_that_nobody_owns_stays() -> None:
    foreign = ImageEntry(tags=(ImageTag(tag="v1"),))
    node = msgspec.structs.replace(NODE, spec=NodeImageSpec(images={NAME: foreign}))

    assert without_job(node, "u1") == node.spec


def test_the_tag_to_keep_is_spared() -> None:
    node = asked(NODE, job("u1"), job("u1", image=f"{NAME}:v2"), job("u1", image="other:v1"))

    spec = without_job(node, "u1", keep=(NAME, "v2"))

    assert {name: [each.tag for each in entry.tags] for name, entry in spec.images.items()} == {NAME: ["v2"]}


@pytest.mark.parametrize(
    ("text", "priority"),
    [
        ("", 0),
        ("5", 5),
        ("-5", -5),
        ("high", 0),
        ("1.5", 0),
        ("99999999999", 2**31 - 1),
        ("-99999999999", -(2**31)),
    ],
)
def test_a_priority_is_read_within_its_bounds(text: str, priority: int) -> None:
    assert priority_of(job(priority=text)) == priority


JOBS = st.builds(
    job,
    st.sampled_from(["u1", "u2", "u3"]),
    image=st.sampled_from([f"{NAME}:v1", f"{NAME}:v2", "other:v1", f"other@sha256:{'a' * 64}"]),
    image_pull_policy=st.sampled_from(["Always", "IfNotPresent"]),
)


@given(st.lists(JOBS, max_size=6))
def test_who_asked_is_asked_for_and_who_left_is_not(jobs: list[ImagePullJob]) -> None:
    node = asked(NODE, *jobs)

    assert all(tag_of(node, each) is not None for each in jobs)
    for uid in ("u1", "u2", "u3"):
        node = msgspec.structs.replace(node, spec=without_job(node, uid))
        assert all(tag_of(node, each) is None for each in jobs if each.metadata.uid == uid)
    assert node.spec.images == {}


@given(st.lists(JOBS, min_size=1, max_size=6))
def test_leaving_twice_is_as_good_as_once(jobs: list[ImagePullJob]) -> None:
    node = asked(NODE, *jobs)

    once = msgspec.structs.replace(node, spec=without_job(node, "u1"))

    assert without_job(once, "u1") == once.spec
