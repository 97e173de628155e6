"""OpenKruise's rules for jobs, and Kubernetes' for names."""

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from daemon.objects.decoding import decode
from daemon.objects.identifiers import is_label_key, is_label_value, is_subdomain
from daemon.objects.images import (
    CompletionPolicy,
    ImageListPullJob,
    ImageListPullJobSpec,
    ImagePullJob,
    ImagePullJobSpec,
    NodeSelector,
    PullPolicy,
    Secret,
)
from daemon.objects.meta import LabelSelector, LabelSelectorRequirement, ObjectMeta
from daemon.objects.validation import metadata_problems, problems_of

SPEC = ImagePullJobSpec(image="nginx:1")
META = ObjectMeta(name="web", namespace="default")


def job(spec: ImagePullJobSpec = SPEC, metadata: ObjectMeta = META) -> ImagePullJob:
    return ImagePullJob(metadata=metadata, spec=spec)


def list_job(*images: str) -> ImageListPullJob:
    return ImageListPullJob(metadata=META, spec=ImageListPullJobSpec(images=images))


def secret(type_: str = "kubernetes.io/dockerconfigjson", **data: str) -> Secret:
    return Secret(metadata=META, type=type_, data={f".{key}": value for key, value in data.items()})


def fields(obj: ImagePullJob | ImageListPullJob | Secret) -> list[str]:
    return [problem.field for problem in problems_of(obj)]


def test_a_plain_job_is_right() -> None:
    assert problems_of(job()) == ()


@pytest.mark.parametrize(
    "spec",
    [
        replace(SPEC, image="registry.local:5000/team/app@sha256:" + "a" * 64),
        replace(SPEC, parallelism=0),
        replace(SPEC, parallelism=500),
        replace(SPEC, parallelism="0%"),
        replace(SPEC, parallelism="100%"),
        replace(SPEC, selector=NodeSelector()),
        replace(SPEC, selector=NodeSelector(names=("a", "b"))),
        replace(SPEC, selector=NodeSelector(match_labels={"example.com/disk": "ssd", "a": ""})),
        replace(SPEC, pod_selector=LabelSelector(match_labels={"app": "web"})),
        replace(SPEC, completion_policy=CompletionPolicy(type="Never")),
        replace(SPEC, completion_policy=CompletionPolicy(active_deadline_seconds=600)),
        replace(SPEC, pull_secrets=("a", "a.b-c")),
    ],
)
def test_what_openkruise_accepts_is_right(spec: ImagePullJobSpec) -> None:
    assert problems_of(job(spec)) == ()


def expression(operator: str, *values: str) -> LabelSelector:
    return LabelSelector(
        match_expressions=(LabelSelectorRequirement(key="a", operator=operator, values=values),)  # type: ignore[arg-type]  # the table holds valid ones
    )


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (replace(SPEC, image=""), "spec.image"),
        (replace(SPEC, image="Nginx:1"), "spec.image"),
        (replace(SPEC, image="nginx:"), "spec.image"),
        (replace(SPEC, image="nginx@sha256:12"), "spec.image"),
        (replace(SPEC, parallelism=-1), "spec.parallelism"),
        (replace(SPEC, parallelism="101%"), "spec.parallelism"),
        (replace(SPEC, parallelism="-1%"), "spec.parallelism"),
        (replace(SPEC, parallelism="5"), "spec.parallelism"),
        (replace(SPEC, parallelism="1.5%"), "spec.parallelism"),
        (replace(SPEC, selector=NodeSelector(names=("a",), match_labels={"b": "c"})), "spec.selector.names"),
        (replace(SPEC, selector=NodeSelector(names=("a", "b", "a"))), "spec.selector.names[2]"),
        (replace(SPEC, selector=NodeSelector(), pod_selector=LabelSelector()), "spec.podSelector"),
        (
            replace(SPEC, pod_selector=LabelSelector(match_labels={"a b": "c"})),
            "spec.podSelector.matchLabels[a b]",
        ),
        (replace(SPEC, pod_selector=expression("In")), "spec.podSelector.matchExpressions[0].values"),
        (replace(SPEC, pod_selector=expression("NotIn")), "spec.podSelector.matchExpressions[0].values"),
        (
            replace(SPEC, pod_selector=expression("Exists", "a")),
            "spec.podSelector.matchExpressions[0].values",
        ),
        (
            replace(SPEC, pod_selector=expression("In", "a b")),
            "spec.podSelector.matchExpressions[0].values[0]",
        ),
        (
            replace(SPEC, completion_policy=CompletionPolicy(type="Never", active_deadline_seconds=5)),
            "spec.completionPolicy.activeDeadlineSeconds",
        ),
        (
            replace(SPEC, completion_policy=CompletionPolicy(type="Never", ttl_seconds_after_finished=5)),
            "spec.completionPolicy.ttlSecondsAfterFinished",
        ),
        (
            replace(
                SPEC,
                completion_policy=CompletionPolicy(active_deadline_seconds=60),
                pull_policy=PullPolicy(timeout_seconds=61),
            ),
            "spec.pullPolicy.timeoutSeconds",
        ),
        (replace(SPEC, pull_secrets=("a", "Not_A_Name")), "spec.pullSecrets[1]"),
    ],
)
def test_what_openkruise_refuses_is_named(spec: ImagePullJobSpec, field: str) -> None:
    assert fields(job(spec)) == [field]


def test_an_image_is_refused_with_the_part_that_is_wrong() -> None:
    (problem,) = problems_of(job(replace(SPEC, image="nginx:a b")))

    assert problem.message == "is not an image reference: wrong tag"
    assert problem.value == '"nginx:a b"'


def test_a_deadline_below_the_default_timeout_is_accepted() -> None:
    obj = decode(
        {
            "apiVersion": "apps.kruise.io/v1beta1",
            "kind": "ImagePullJob",
            "metadata": {"name": "web"},
            "spec": {"image": "nginx", "completionPolicy": {"activeDeadlineSeconds": 5}},
        }
    )

    assert problems_of(obj) == ()


def test_all_problems_are_told_in_the_order_of_the_fields() -> None:
    obj = job(replace(SPEC, image="", parallelism=-1), ObjectMeta(name="Web", namespace="default"))

    assert fields(obj) == ["metadata.name", "spec.image", "spec.parallelism"]


@pytest.mark.parametrize(
    ("images", "field"), [((), "spec.images"), (("a",) * 2, "spec.images[1]"), (("a", ""), "spec.images[1]")]
)
def test_a_list_needs_images_that_differ(images: tuple[str, ...], field: str) -> None:
    assert fields(list_job(*images)) == [field]


def test_a_list_holds_at_most_255_images() -> None:
    assert fields(list_job(*(f"a:{i}" for i in range(255)))) == []
    assert fields(list_job(*(f"a:{i}" for i in range(256)))) == ["spec.images"]


def test_a_list_may_have_a_timeout_above_its_deadline() -> None:
    spec = ImageListPullJobSpec(
        images=("a",),
        completion_policy=CompletionPolicy(active_deadline_seconds=60),
        pull_policy=PullPolicy(timeout_seconds=61),
    )

    assert fields(ImageListPullJob(metadata=META, spec=spec)) == []


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        (ObjectMeta(name="", namespace="default"), "metadata.name"),
        (ObjectMeta(name="../etc", namespace="default"), "metadata.name"),
        (ObjectMeta(name="a" * 254, namespace="default"), "metadata.name"),
        (ObjectMeta(name="a..b", namespace="default"), "metadata.name"),
        (ObjectMeta(name="a", namespace="a.b"), "metadata.namespace"),
        (ObjectMeta(name="a", namespace=".."), "metadata.namespace"),
        (ObjectMeta(name="a", namespace=""), "metadata.namespace"),
        (ObjectMeta(name="a", namespace="default", labels={"-": "b"}), "metadata.labels[-]"),
        (ObjectMeta(name="a", namespace="default", labels={"b": "-"}), "metadata.labels.b"),
        (ObjectMeta(name="a", namespace="default", annotations={"/b": ""}), "metadata.annotations[/b]"),
    ],
)
def test_a_wrong_name_is_refused(metadata: ObjectMeta, field: str) -> None:
    assert fields(job(metadata=metadata)) == [field]


def test_a_kind_without_namespaces_has_none() -> None:
    assert metadata_problems(ObjectMeta(name="node-1"), namespaced=False) == ()
    assert len(metadata_problems(META, namespaced=False)) == 1


@pytest.mark.parametrize(
    ("text", "right"), [("5", True), ("-5", True), ("", False), ("high", False), ("2147483648", False)]
)
def test_a_priority_is_an_integer(text: str, right: bool) -> None:
    found = fields(job(metadata=replace(META, annotations={"inplaced.dev/priority": text})))

    assert found == ([] if right else ["metadata.annotations[inplaced.dev/priority]"])


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


CONFIG = json.dumps({"auths": {"registry.local": {"auth": "aHVudGVyMg=="}}})


@pytest.mark.parametrize(
    "right",
    [
        secret(dockerconfigjson=encoded(CONFIG)),
        secret("kubernetes.io/dockercfg", dockercfg=encoded("{}")),
        secret(dockerconfigjson="\n".join(encoded(CONFIG)[i : i + 20] for i in range(0, 200, 20))),
        Secret(
            metadata=META, type="kubernetes.io/dockerconfigjson", string_data={".dockerconfigjson": CONFIG}
        ),
    ],
)
def test_a_docker_config_secret_is_right(right: Secret) -> None:
    assert problems_of(right) == ()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (secret("Opaque", dockerconfigjson=encoded(CONFIG)), "type"),
        (secret(dockercfg=encoded(CONFIG)), "data[.dockerconfigjson]"),
        (secret(dockerconfigjson="hunter2!"), "data[.dockerconfigjson]"),
        (secret(dockerconfigjson=encoded("hunter2")), "data[.dockerconfigjson]"),
        (secret(dockerconfigjson=encoded("[" * 100_000)), "data[.dockerconfigjson]"),
        (secret(dockerconfigjson=base64.b64encode(b"\xff").decode()), "data[.dockerconfigjson]"),
    ],
)
def test_another_secret_is_refused_without_its_value(wrong: Secret, field: str) -> None:
    (problem,) = problems_of(wrong)

    assert problem.field == field
    assert "hunter2" not in str(problem)
    assert encoded(CONFIG) not in str(problem)


@settings(deadline=None)  # The machine does other work, too.
@given(st.text(st.sampled_from("aZ0-./_ "), max_size=8))
def test_a_label_key_is_a_label_value_with_an_optional_domain(text: str) -> None:
    prefix, slash, name = text.rpartition("/")

    expected = bool(name) and is_label_value(name) and (not slash or is_subdomain(prefix))

    assert is_label_key(text) == expected
