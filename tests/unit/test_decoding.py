"""Manifests become objects, or every reason why not."""

import copy
from typing import Any

import pytest

from daemon.objects.decoding import DecodingError, decode, identified
from daemon.objects.field_problems import FieldProblem
from daemon.objects.images import ImageListPullJob, ImagePullJob, Secret
from daemon.objects.meta import Key


def job(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps.kruise.io/v1beta1",
        "kind": "ImagePullJob",
        "metadata": {"name": "web"},
        "spec": {"image": "nginx:1", **spec},
    }


def secret(**more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "creds"}, **more}


def decoded_job(raw: Any) -> ImagePullJob:
    obj = decode(raw)
    assert isinstance(obj, ImagePullJob)
    return obj


def problems(raw: Any) -> dict[str, FieldProblem]:
    with pytest.raises(DecodingError) as caught:
        decode(raw)
    return {problem.field: problem for problem in caught.value.problems}


@pytest.mark.parametrize("version", ["v1beta1", "v1alpha1"])
def test_both_served_versions_are_read_and_kept_as_the_stored_one(version: str) -> None:
    obj = decode(job() | {"apiVersion": f"apps.kruise.io/{version}"})

    assert obj.api_version == "apps.kruise.io/v1beta1"


def test_a_job_that_says_little_has_the_defaults_of_openkruise() -> None:
    obj = decoded_job(job())

    assert obj.metadata.key == Key("default", "web")
    assert obj.spec.pull_policy.timeout_seconds == 600
    assert obj.spec.pull_policy.backoff_limit == 3
    assert obj.spec.completion_policy.type == "Always"
    assert obj.spec.image_pull_policy == "IfNotPresent"
    assert obj.spec.parallelism is None


def test_every_field_of_a_job_is_read() -> None:
    obj = decoded_job(
        job(
            pullSecrets=["a", "b"],
            selector={
                "matchLabels": {"disk": "ssd"},
                "matchExpressions": [{"key": "gpu", "operator": "Exists"}],
            },
            parallelism="10%",
            pullPolicy={"timeoutSeconds": 30, "backoffLimit": 1},
            completionPolicy={"type": "Always", "activeDeadlineSeconds": 60, "ttlSecondsAfterFinished": 5},
            sandboxConfig={"labels": {"a": "b"}, "annotations": {"c": "d"}},
            imagePullPolicy="Always",
        )
    )

    assert obj.spec.pull_secrets == ("a", "b")
    assert obj.spec.selector is not None
    assert obj.spec.selector.match_expressions[0].operator == "Exists"
    assert obj.spec.parallelism == "10%"
    assert (obj.spec.pull_policy.timeout_seconds, obj.spec.pull_policy.backoff_limit) == (30, 1)
    assert obj.spec.completion_policy.active_deadline_seconds == 60
    assert obj.spec.sandbox_config is not None
    assert obj.spec.sandbox_config.annotations == {"c": "d"}
    assert obj.spec.image_pull_policy == "Always"


def test_a_list_job_is_read() -> None:
    raw = job() | {"kind": "ImageListPullJob", "spec": {"images": ["a:1", "b:2"]}}

    obj = decode(raw)

    assert isinstance(obj, ImageListPullJob)
    assert obj.spec.images == ("a:1", "b:2")


def test_a_secret_is_read() -> None:
    obj = decode(
        secret(type="kubernetes.io/dockerconfigjson", data={".dockerconfigjson": "e30="}, immutable=True)
    )

    assert isinstance(obj, Secret)
    assert obj.data == {".dockerconfigjson": "e30="}


def test_a_timeout_that_was_not_given_is_at_most_the_deadline() -> None:
    obj = decoded_job(job(completionPolicy={"activeDeadlineSeconds": 60}))

    assert obj.spec.pull_policy.timeout_seconds == 60


def test_a_timeout_that_was_given_stays() -> None:
    obj = decoded_job(job(completionPolicy={"activeDeadlineSeconds": 60}, pullPolicy={"timeoutSeconds": 90}))

    assert obj.spec.pull_policy.timeout_seconds == 90


def test_what_kubectl_shows_can_be_used_as_a_manifest() -> None:
    raw = job() | {"status": {"desired": 1}}
    raw["metadata"] = {
        "name": "web",
        "namespace": "prod",
        "uid": "x",
        "resourceVersion": "12",
        "generation": 3,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [{"manager": "kubectl"}],
        "finalizers": ["apps.kruise.io/deletion-protection"],
        "ownerReferences": [{"kind": "CloneSet", "name": "web", "uid": "y"}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "a"},
    }

    obj = decoded_job(raw)

    assert obj.metadata.key == Key("prod", "web")
    assert (obj.metadata.uid, obj.metadata.generation, obj.metadata.owner_references) == ("", 0, ())
    assert obj.metadata.annotations == {"team": "a"}
    assert obj.status.desired == 0


def test_null_means_absent() -> None:
    obj = decoded_job(job(parallelism=None, pullPolicy=None, selector=None))

    assert obj == decode(job())


def test_an_unknown_field_is_refused_with_the_one_that_was_meant() -> None:
    found = problems(job(pullPolicy={"timeoutseconds": 5}))

    problem = found["spec.pullPolicy.timeoutseconds"]
    assert problem.message == "is not a known field: did you mean timeoutSeconds?"
    assert problem.allowed == "backoffLimit or timeoutSeconds"


def test_an_unknown_field_like_no_other_has_no_suggestion() -> None:
    found = problems(job(colour="red"))

    assert found["spec.colour"].message == "is not a known field"


def test_all_problems_are_told_at_once() -> None:
    raw = job(parallelism=1.5, pullSecrets="a", completionPolicy={"type": "Sometimes"})
    del raw["spec"]["image"]

    found = problems(raw)

    assert found.keys() == {
        "spec.parallelism",
        "spec.pullSecrets",
        "spec.completionPolicy.type",
        "spec.image",
    }


@pytest.mark.parametrize(
    ("spec", "field", "message", "value", "allowed"),
    [
        (
            {"pullPolicy": {"timeoutSeconds": "ten"}},
            "spec.pullPolicy.timeoutSeconds",
            "has the wrong type",
            '"ten"',
            "an integer from 1 to 2147483647",
        ),
        (
            {"pullPolicy": {"timeoutSeconds": "600"}},
            "spec.pullPolicy.timeoutSeconds",
            "must not be put in quotes, since it is a number",
            '"600"',
            "an integer from 1 to 2147483647",
        ),
        (
            {"pullPolicy": {"timeoutSeconds": 0}},
            "spec.pullPolicy.timeoutSeconds",
            "is out of range",
            "0",
            "an integer from 1 to 2147483647",
        ),
        (
            {"pullPolicy": {"backoffLimit": True}},
            "spec.pullPolicy.backoffLimit",
            "has the wrong type",
            "true",
            "an integer from 0 to 2147483647",
        ),
        ({"image": 1.5}, "spec.image", "must be put in quotes, since it is text", "1.5", "text"),
        ({"image": ["a"]}, "spec.image", "has the wrong type", "a list", "text"),
        (
            {"pullSecrets": ["a", 1]},
            "spec.pullSecrets[1]",
            "must be put in quotes, since it is text",
            "1",
            "text",
        ),
        ({"selector": []}, "spec.selector", "has the wrong type", "a list", "a mapping"),
        (
            {"imagePullPolicy": "always"},
            "spec.imagePullPolicy",
            "is not allowed",
            '"always"',
            "Always or IfNotPresent",
        ),
        (
            {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}},
            "spec.podSelector.matchExpressions[0].operator",
            "is not allowed",
            '"Near"',
            "DoesNotExist, Exists, In or NotIn",
        ),
    ],
)
def test_a_wrong_value_is_told_with_field_value_and_what_is_allowed(
    spec: dict[str, Any], field: str, message: str, value: str, allowed: str
) -> None:
    found = problems(job(**spec))

    problem = found[field]
    assert (problem.message, problem.value, problem.allowed) == (message, value, allowed)


def test_an_unusual_key_stands_in_brackets() -> None:
    raw = job()
    raw["metadata"]["labels"] = {"example.com/on": True}

    assert problems(raw).keys() == {"metadata.labels[example.com/on]"}


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    found = problems(job() | {"kind": "ImagePullJobs"})

    assert found["kind"].message == "is not known: did you mean ImagePullJob?"
    assert found["kind"].allowed == "ImagePullJob, ImageListPullJob or Secret"


def test_what_the_agent_itself_writes_is_no_manifest() -> None:
    found = problems(job() | {"kind": "NodeImage"})

    assert found["kind"].value == '"NodeImage"'


@pytest.mark.parametrize("field", ["kind", "apiVersion", "metadata", "spec"])
def test_a_missing_part_is_named(field: str) -> None:
    raw = job()
    del raw[field]

    assert problems(raw)[field].message == "is missing"


def test_a_version_of_another_kind_is_refused() -> None:
    found = problems(job() | {"apiVersion": "v1"})

    assert found["apiVersion"].message == "is not known for ImagePullJob"
    assert found["apiVersion"].allowed == "apps.kruise.io/v1beta1 or apps.kruise.io/v1alpha1"


@pytest.mark.parametrize("raw", [None, [], "text", 5, [{"kind": "ImagePullJob"}]])
def test_what_is_no_mapping_is_refused(raw: Any) -> None:
    found = problems(raw)

    assert found[""].message == "must be a mapping with apiVersion and kind"


@pytest.mark.parametrize(
    "more",
    [
        {"data": {".dockerconfigjson": 12345678}},
        {"data": "hunter2"},
        {"hunter": "hunter2"},
        {"stringData": {"a": ["hunter2"]}},
        {"metadata": {"name": "creds", "annotations": {"a": 12345678}}},
    ],
)
def test_a_problem_of_a_secret_does_not_show_its_value(more: dict[str, Any]) -> None:
    found = problems(secret() | more)

    assert found
    told = " ".join(map(str, found.values()))
    assert "hunter2" not in told
    assert "12345678" not in told


def test_the_raw_document_stays_as_it_was() -> None:
    raw = job(pullPolicy=None, completionPolicy={"activeDeadlineSeconds": 5})
    before = copy.deepcopy(raw)

    decode(raw)

    assert raw == before


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (job(), "ImagePullJob default/web"),
        (job() | {"metadata": {"name": "a", "namespace": "b"}}, "ImagePullJob b/a"),
        (job() | {"metadata": None}, "ImagePullJob"),
        ({"kind": 5}, ""),
        (None, ""),
    ],
)
def test_a_document_is_named_as_far_as_it_can_be(raw: Any, name: str) -> None:
    assert identified(raw) == name
