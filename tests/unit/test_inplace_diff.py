"""What can change in a running pod, and what means another pod."""

from typing import Any

import pytest

from daemon.inplace.diff import InPlace, MetadataChange, MustRecreate, diff
from daemon.objects.local_pods import ResourceRequirements
from tests.unit.revisions import container, env_of, revision

APP = container("app", "repo/app:v1")
BURSTABLE = {"requests": {"cpu": "100m"}, "limits": {"memory": "64Mi"}}


def _resized(old: dict[str, Any], new: dict[str, Any]) -> InPlace | MustRecreate:
    side = container("side", "repo/side:v1", resources={"requests": {"cpu": "1"}})
    return diff(
        revision(side, container("app", "a", resources=old)),
        revision(side, container("app", "a", resources=new)),
    )


def test_equal_revisions_change_nothing() -> None:
    assert diff(revision(APP), revision(APP)) == InPlace()


def test_an_image_changes_by_the_containers_name_whatever_its_place() -> None:
    side = container("side", "registry:5000/side")
    old = revision(APP, side)
    new = revision(container("side", "registry:5000/side:v2"), APP)

    assert diff(old, new) == InPlace(images={"side": "registry:5000/side:v2"})


def test_labels_and_annotations_change_without_a_restart() -> None:
    old = revision(APP, labels={"tier": "a", "gone": "x"})
    new = revision(APP, labels={"tier": "b"}, annotations={"note": "n"})

    change = diff(old, new)

    assert change == InPlace(metadata=MetadataChange({"tier": "b", "gone": None}, {"note": "n"}))
    assert isinstance(change, InPlace)
    assert not change.restarted


@pytest.mark.parametrize("after", ["new", None])
def test_a_changed_or_removed_annotation_that_an_env_reads_restarts_its_container(after: str | None) -> None:
    reader = container("app", "a", env=[env_of("CONFIG", "metadata.annotations['app-config']")])
    other = container("other", "b", env=[env_of("CONFIG", "metadata.labels['app-config']")])
    old = revision(reader, other, annotations={"app-config": "old"})
    new = revision(reader, other, annotations={"app-config": after} if after is not None else {})

    change = diff(old, new)

    assert isinstance(change, InPlace)
    assert change.env_metadata == {"app": MetadataChange(annotations={"app-config": after})}
    assert change.restarted == {"app"}


def test_a_sidecar_among_the_init_containers_reads_metadata_as_well() -> None:
    sidecar = container("mesh", "m", restartPolicy="Always", env=[env_of("ZONE", "metadata.labels['zone']")])
    once = container("setup", "m", env=[env_of("ZONE", "metadata.labels['zone']")])
    old = revision(APP, labels={"zone": "a"}, initContainers=[sidecar, once])
    new = revision(APP, labels={"zone": "b"}, initContainers=[sidecar, once])

    change = diff(old, new)

    assert isinstance(change, InPlace)
    assert change.restarted == {"mesh"}


def test_a_variable_with_a_value_of_its_own_reads_nothing() -> None:
    literal = {**env_of("CONFIG", "metadata.annotations['c']"), "value": "fixed"}
    reader = container("app", "a", env=[literal])

    change = diff(revision(reader, annotations={"c": "1"}), revision(reader, annotations={"c": "2"}))

    assert isinstance(change, InPlace)
    assert not change.env_metadata


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (BURSTABLE, {"requests": {"cpu": "200m"}, "limits": {"memory": "64Mi"}}),
        (BURSTABLE, {**BURSTABLE, "limits": {"memory": "64Mi", "cpu": "1"}}),
        ({}, {"requests": {"cpu": 1}}),
    ],
    ids=["changed", "added", "first"],
)
def test_cpu_and_memory_are_resized(old: dict[str, Any], new: dict[str, Any]) -> None:
    change = _resized(old, new)

    assert isinstance(change, InPlace)
    wanted = {key: {name: str(each) for name, each in part.items()} for key, part in new.items()}
    assert change.resources == {"app": ResourceRequirements(**wanted)}


def test_another_spelling_of_a_quantity_is_no_change() -> None:
    spelt = {"requests": {"cpu": "0.1"}, "limits": {"memory": "67108864"}}

    assert _resized(BURSTABLE, spelt) == InPlace()


@pytest.mark.parametrize(
    ("old", "new", "reason", "path"),
    [
        (BURSTABLE, {"requests": {"cpu": "100m"}}, "ResourceRemoved", "limits/memory"),
        (
            BURSTABLE,
            {**BURSTABLE, "requests": {"cpu": "100m", "example.com/gpu": "1"}},
            "FieldChanged",
            "requests/example.com/gpu",
        ),
        (BURSTABLE, {**BURSTABLE, "claims": [{"name": "gpu"}]}, "FieldChanged", "claims"),
        (BURSTABLE, {**BURSTABLE, "requests": {"cpu": "much"}}, "InvalidQuantity", "requests/cpu"),
    ],
)
def test_what_the_api_forbids_to_resize_means_another_pod(
    old: dict[str, Any], new: dict[str, Any], reason: str, path: str
) -> None:
    verdict = _resized(old, new)

    assert isinstance(verdict, MustRecreate)
    assert verdict.reason == reason
    assert verdict.path == f"/spec/template/spec/containers/app/resources/{path}"


def test_another_qos_class_means_another_pod() -> None:
    old = revision(container("app", "a", resources=BURSTABLE))
    new = revision(container("app", "a", resources={"limits": {"cpu": "1", "memory": "64Mi"}}))
    burst = {"requests": {"cpu": "1", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}}

    verdict = diff(old, revision(container("app", "a", resources={**BURSTABLE, **burst})))

    assert isinstance(diff(old, new), MustRecreate)
    assert isinstance(verdict, MustRecreate)
    assert verdict.reason == "QoSClassChanged"
    assert "Guaranteed" in verdict.message


@pytest.mark.parametrize(
    ("new", "path"),
    [
        (revision(APP, hostNetwork=True), "/spec/template/spec/hostNetwork"),
        (revision(APP, initContainers=[container("i", "b")]), "/spec/template/spec/initContainers"),
        (revision(APP, container("b", "b")), "/spec/template/spec/containers"),
        (
            revision(container("app", "repo/app:v1", ports=[{"containerPort": 80}])),
            "/spec/template/spec/containers/app/ports",
        ),
        (
            {"spec": {**revision(APP)["spec"], "volumeClaimTemplates": [{"a": 1}]}},
            "/spec/volumeClaimTemplates",
        ),
    ],
)
def test_every_other_field_means_another_pod(new: dict[str, Any], path: str) -> None:
    verdict = diff(revision(APP), new)

    assert isinstance(verdict, MustRecreate)
    assert verdict.path == path


def test_claims_may_be_left_out_of_the_comparison() -> None:
    claimed = {"spec": {**revision(APP)["spec"], "volumeClaimTemplates": [{"a": 1}]}}

    assert diff(revision(APP), claimed, ignore_claims=True) == InPlace()


def test_what_means_nothing_is_no_change() -> None:
    bare = revision({**APP, "env": [], "securityContext": None}, nodeSelector={})

    assert diff(revision(APP), bare) == InPlace()


def test_a_pod_of_an_unknown_revision_is_replaced() -> None:
    verdict = diff(None, revision(APP))

    assert isinstance(verdict, MustRecreate)
    assert verdict.reason == "UnknownRevision"
