"""Patches: applied to what is stored they make what was meant, and touch nothing else."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from daemon.kube.patches import (
    Operation,
    at_version,
    changes,
    json_patch,
    merge_patch,
    plain,
    rooted,
    same_spec,
    status_changes,
)
from daemon.objects.images import (
    ImageEntry,
    ImagePullJob,
    ImagePullJobSpec,
    ImagePullJobStatus,
    ImageStatus,
    ImageTag,
    ImageTagStatus,
    NodeImage,
    NodeImageSpec,
    NodeImageStatus,
    NodeSelector,
    PullPolicy,
    SandboxConfig,
    Secret,
)
from daemon.objects.meta import Condition, ObjectMeta
from tests.fakes.apipatches import PatchError, operated

META = ObjectMeta(name="n", uid="u1", generation=3, resource_version="10")
names = st.sampled_from(["a", "b", "c", "d/e", "f~g"])
tags = st.builds(
    ImageTag,
    tag=names,
    version=st.integers(0, 3),
    priority=st.integers(0, 2),
    image_pull_policy=st.sampled_from(["", "Always"]),
)
entries = st.builds(
    ImageEntry,
    tags=st.lists(tags, max_size=4, unique_by=lambda tag: tag.tag).map(tuple),
    sandbox_config=st.none() | st.builds(SandboxConfig, labels=st.dictionaries(names, names, max_size=2)),
)
nodes = st.builds(
    lambda images, labels: NodeImage(
        metadata=replace(META, labels=labels), spec=NodeImageSpec(images=images)
    ),
    st.dictionaries(names, entries, max_size=4),
    st.dictionaries(names, names, max_size=3),
)
statuses = st.builds(
    NodeImageStatus,
    desired=st.integers(0, 3),
    image_statuses=st.dictionaries(
        names,
        st.builds(
            ImageStatus,
            tags=st.lists(
                st.builds(ImageTagStatus, tag=names, phase=st.just("Pulling"), progress=st.integers(0, 100)),
                max_size=3,
            ).map(tuple),
        ),
        max_size=4,
    ),
)


def stored(obj: Any) -> dict[str, Any]:
    """The document of *obj*, as the API server has it: with fields that we do not know at every level."""
    document: dict[str, Any] = plain(obj)
    document.setdefault("spec", {}).setdefault("images", {})
    for entry in document["spec"]["images"].values():
        entry["unknown"] = 1
        entry.setdefault("tags", [])
        for tag in entry["tags"]:
            tag["unknown"] = tag["tag"]
    return document | {"unknown": True}


def read(document: dict[str, Any]) -> NodeImage:
    return msgspec.convert(document, NodeImage)


@given(nodes, nodes)
def test_a_patched_document_reads_as_what_was_meant(old: NodeImage, new: NodeImage) -> None:
    document = stored(old)

    patched = operated(document, rooted(changes(old, new), document))

    assert read(patched) == new


@given(nodes, nodes)
def test_what_we_do_not_know_stays_with_what_stays(old: NodeImage, new: NodeImage) -> None:
    document = stored(old)

    patched = operated(document, rooted(changes(old, new), document))

    assert patched["unknown"] is True
    for name, entry in patched["spec"].get("images", {}).items():
        if name in old.spec.images:
            assert entry["unknown"] == 1


@given(nodes)
def test_nothing_changed_is_nothing_to_send(node: NodeImage) -> None:
    again = msgspec.convert(msgspec.to_builtins(node), NodeImage)

    assert changes(node, again) == []
    assert status_changes(node.status, again.status) == []


@given(statuses, statuses)
def test_a_patched_status_reads_as_what_was_meant(old: NodeImageStatus, new: NodeImageStatus) -> None:
    document = {"status": plain(old)} if old != NodeImageStatus() else {}

    patched = operated(document, status_changes(old, new))

    assert msgspec.convert(patched.get("status", {}), NodeImageStatus) == new


@given(statuses, statuses, statuses)
def test_a_status_patch_on_something_else_leaves_no_mixed_list(
    old: NodeImageStatus, new: NodeImageStatus, actual: NodeImageStatus
) -> None:
    document = {"status": plain(actual)}
    try:
        patched = operated(document, rooted(status_changes(old, new), document))
    except PatchError:
        return

    for name, status in patched["status"].get("imageStatuses", {}).items():
        known = [each.image_statuses.get(name) for each in (new, actual)]
        assert status in [plain(each) for each in known if each is not None]


def job(**spec: Any) -> ImagePullJob:
    return ImagePullJob(metadata=META, spec=ImagePullJobSpec(image="nginx:1", **spec))


def ops(old: Any, new: Any) -> list[Operation]:
    return changes(old, new)


def test_one_field_is_one_operation() -> None:
    assert ops(job(), job(parallelism=3)) == [{"op": "add", "path": "/spec/parallelism", "value": 3}]
    assert ops(job(parallelism=3), job()) == [{"op": "remove", "path": "/spec/parallelism"}]


def test_a_struct_is_changed_field_by_field() -> None:
    one, other = (
        job(pull_policy=PullPolicy(timeout_seconds=5)),
        job(pull_policy=PullPolicy(timeout_seconds=7)),
    )

    assert ops(one, other) == [{"op": "add", "path": "/spec/pullPolicy/timeoutSeconds", "value": 7}]


def test_a_field_that_has_its_default_again_is_said_so() -> None:
    one, other = job(pull_policy=PullPolicy(backoff_limit=5)), job(pull_policy=PullPolicy(backoff_limit=3))

    assert ops(one, other) == [{"op": "add", "path": "/spec/pullPolicy/backoffLimit", "value": 3}]


def test_items_are_known_by_their_names() -> None:
    def node(*tags: ImageTag) -> NodeImage:
        return NodeImage(metadata=META, spec=NodeImageSpec(images={"a/b": ImageEntry(tags=tags)}))

    one = node(ImageTag(tag="1"), ImageTag(tag="2"), ImageTag(tag="3"))
    other = node(ImageTag(tag="1"), ImageTag(tag="3", version=2), ImageTag(tag="4"))

    assert ops(one, other) == [
        {"op": "add", "path": "/spec/images/a~1b/tags/2/version", "value": 2},
        {"op": "remove", "path": "/spec/images/a~1b/tags/1"},
        {"op": "add", "path": "/spec/images/a~1b/tags/2", "value": {"tag": "4"}},
    ]


def test_another_order_is_another_list() -> None:
    one, other = job(pull_secrets=("a", "b")), job(pull_secrets=("b", "a"))

    assert ops(one, other) == [{"op": "add", "path": "/spec/pullSecrets", "value": ["b", "a"]}]


def test_labels_are_changed_one_by_one_and_dropped_whole() -> None:
    one = replace(job(), metadata=replace(META, labels={"a": "1", "b/c": "2"}))

    assert ops(one, replace(one, metadata=replace(META, labels={"a": "2"}))) == [
        {"op": "remove", "path": "/metadata/labels/b~1c"},
        {"op": "add", "path": "/metadata/labels/a", "value": "2"},
    ]
    assert ops(one, job()) == [{"op": "remove", "path": "/metadata/labels"}]


def test_the_server_s_own_metadata_is_never_sent() -> None:
    other = replace(job(), metadata=replace(META, generation=9, resource_version="99"))

    assert ops(job(), other) == []


def test_no_null_is_sent_inside_of_lists() -> None:
    condition = Condition(type="Ready", status="True", reason="Done")
    new = ImagePullJobStatus(desired=1, conditions=(condition,))

    sent = status_changes(ImagePullJobStatus(), new)

    assert "null" not in msgspec.json.encode(sent).decode()


def test_a_first_status_is_sent_whole() -> None:
    sent = status_changes(ImagePullJobStatus(), ImagePullJobStatus(desired=1))

    assert [each["path"] for each in sent] == ["/status"]
    assert sent[0]["value"]["failed"] == 0


def test_a_time_that_is_taken_back_is_removed() -> None:
    one = msgspec.convert({"startTime": "2026-01-01T00:00:00Z"}, ImagePullJobStatus)

    assert status_changes(one, ImagePullJobStatus()) == [{"op": "remove", "path": "/status/startTime"}]


@pytest.mark.parametrize(
    ("obj", "field", "value"),
    [
        (job(), "generation", 3),
        (Secret(metadata=replace(META, generation=0)), "resourceVersion", "10"),
    ],
)
def test_a_spec_is_bound_to_uid_and_generation_or_version(obj: Any, field: str, value: object) -> None:
    assert same_spec(obj) == [
        {"op": "test", "path": "/metadata/uid", "value": "u1"},
        {"op": "test", "path": f"/metadata/{field}", "value": value},
    ]


def test_no_version_binds_to_none() -> None:
    assert at_version("") == []
    assert at_version("7") == [{"op": "add", "path": "/metadata/resourceVersion", "value": "7"}]


def test_members_that_are_missing_are_made_first() -> None:
    new = job(selector=NodeSelector(names=("a",)), sandbox_config=SandboxConfig(labels={"a": "b"}))
    old = job(selector=NodeSelector(), sandbox_config=SandboxConfig())

    made = rooted(changes(old, new), {"spec": {}})

    assert operated({"spec": {}}, made) == {
        "spec": {"selector": {"names": ["a"]}, "sandboxConfig": {"labels": {"a": "b"}}}
    }


def test_what_is_missing_already_is_not_removed() -> None:
    assert rooted([{"op": "remove", "path": "/spec/a"}], {"spec": {}}) == []


def test_patches_do_not_show_what_is_in_them() -> None:
    patch = merge_patch({"data": {"password": "hunter2"}})

    assert "hunter2" not in repr(patch)
    assert json_patch([]).content_type == "application/json-patch+json"
