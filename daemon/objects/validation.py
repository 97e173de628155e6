"""What is wrong with an object beyond its fields' types: OpenKruise's rules for jobs, Kubernetes' for names.

Everything that OpenKruise accepts is accepted, and in two places more: ``parallelism`` may be a percentage of
the nodes, and a job whose ``timeoutSeconds`` was not given may have any ``activeDeadlineSeconds`` (see
``decoding``). As in OpenKruise, a timeout above the deadline is refused for ImagePullJob alone.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping

from daemon import names
from daemon.objects import references
from daemon.objects.field_problems import FieldProblem, Path, listed, shown
from daemon.objects.identifiers import (
    LABEL,
    LABEL_KEY,
    LABEL_VALUE,
    SUBDOMAIN,
    is_label,
    is_label_key,
    is_label_value,
    is_subdomain,
)
from daemon.objects.images import (
    ImageListPullJob,
    ImageListPullJobSpec,
    ImagePullJob,
    ImagePullJobSpec,
    NodeSelector,
    Secret,
)
from daemon.objects.meta import LabelSelector, LabelSelectorRequirement, ObjectMeta

MAX_IMAGES = 255
"""Of one list job, as in OpenKruise."""

SECRET_KEYS: Mapping[str, str] = {
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
    "kubernetes.io/dockercfg": ".dockercfg",
}
"""By type of Secret: the key that holds the docker config."""

PARALLELISM = "an integer from 0, or a percentage from 0% to 100%"

_PERCENTAGE = re.compile(r"(100|[0-9]{1,2})%")
_INT32 = range(-(2**31), 2**31)

Spec = ImagePullJobSpec | ImageListPullJobSpec


def problems_of(obj: ImagePullJob | ImageListPullJob | Secret) -> tuple[FieldProblem, ...]:
    """Everything for which *obj* is refused, in the order of its fields; empty when it is right."""
    match obj:
        case ImagePullJob(metadata=metadata, spec=spec):
            own: Iterable[FieldProblem] = (*_image(("spec", "image"), spec.image), *_bounds(spec))
            return (*metadata_problems(metadata), *_priority(metadata), *own, *_template(spec))
        case ImageListPullJob(metadata=metadata, spec=spec):
            return (
                *metadata_problems(metadata),
                *_priority(metadata),
                *_images(spec.images),
                *_template(spec),
            )
        case Secret():
            return (*metadata_problems(obj.metadata), *_secret(obj))


def hindrances_of(job: ImagePullJob) -> tuple[FieldProblem, ...]:
    """What makes it impossible to carry *job* out: its image, selectors or parallelism.

    Not what can be carried out all the same, however it got past the schema.
    """
    spec = job.spec
    # A number written as text is refused in manifests, but its meaning is clear.
    plain = isinstance(spec.parallelism, str) and spec.parallelism.isdecimal()
    parallelism = () if plain else tuple(_parallelism(spec.parallelism))
    return (*_image(("spec", "image"), spec.image), *_selectors(spec), *parallelism)


def metadata_problems(metadata: ObjectMeta, *, namespaced: bool = True) -> tuple[FieldProblem, ...]:
    """What is wrong with the name, namespace, labels and annotation keys of any object."""
    return tuple(_identity(metadata, namespaced)) + tuple(_tags(metadata))


def _identity(metadata: ObjectMeta, namespaced: bool) -> Iterator[FieldProblem]:
    if not is_subdomain(metadata.name):
        yield FieldProblem(("metadata", "name"), "is not a valid name", shown(metadata.name), SUBDOMAIN)
    right = is_label(metadata.namespace) if namespaced else metadata.namespace == ""
    if not right:
        allowed = LABEL if namespaced else "nothing, for this kind has no namespace"
        yield FieldProblem(("metadata", "namespace"), "is not valid", shown(metadata.namespace), allowed)


def _tags(metadata: ObjectMeta) -> Iterator[FieldProblem]:
    yield from _labels(("metadata", "labels"), metadata.labels)
    for key in metadata.annotations:
        if not is_label_key(key):
            yield FieldProblem(("metadata", "annotations", key), "is not a valid key", "", LABEL_KEY)


def _labels(at: Path, labels: Mapping[str, str]) -> Iterator[FieldProblem]:
    for key, value in labels.items():
        if not is_label_key(key):
            yield FieldProblem((*at, key), "is not a valid key", "", LABEL_KEY)
        if not is_label_value(value):
            yield FieldProblem((*at, key), "is not a valid label value", shown(value), LABEL_VALUE)


def _priority(metadata: ObjectMeta) -> Iterator[FieldProblem]:
    text = metadata.annotations.get(names.PRIORITY_ANNOTATION, "0")
    if re.fullmatch(r"[-+]?[0-9]{1,10}", text) is None or int(text) not in _INT32:
        at = ("metadata", "annotations", names.PRIORITY_ANNOTATION)
        yield FieldProblem(at, "is not an integer", shown(text), f"{_INT32.start} to {_INT32.stop - 1}")


def _image(at: Path, image: str) -> Iterator[FieldProblem]:
    if not image:
        yield FieldProblem(at, "is empty", "", "an image reference such as nginx:1.27")
        return
    try:
        references.parse(image)
    except references.InvalidReferenceError as error:
        yield FieldProblem(at, f"is not an image reference: wrong {error.part}", shown(image), error.allowed)


def _images(images: tuple[str, ...]) -> Iterator[FieldProblem]:
    at = ("spec", "images")
    if not 0 < len(images) <= MAX_IMAGES:
        yield FieldProblem(at, "has the wrong length", str(len(images)), f"1 to {MAX_IMAGES} images")
    yield from _duplicates(at, images)
    for i, image in enumerate(images):
        yield from _image((*at, i), image)


def _duplicates(at: Path, values: tuple[str, ...]) -> Iterator[FieldProblem]:
    seen = set()
    for i, value in enumerate(values):
        if value in seen:
            yield FieldProblem((*at, i), "is there twice", shown(value), "each only once")
        seen.add(value)


def _template(spec: Spec) -> Iterator[FieldProblem]:
    for i, name in enumerate(spec.pull_secrets):
        if not is_subdomain(name):
            yield FieldProblem(("spec", "pullSecrets", i), "is not a valid name", shown(name), SUBDOMAIN)
    yield from _selectors(spec)
    yield from _parallelism(spec.parallelism)
    yield from _completion(spec)


def _selectors(spec: Spec) -> Iterator[FieldProblem]:
    if spec.selector is not None and spec.pod_selector is not None:
        yield FieldProblem(("spec", "podSelector"), "is there beside selector", "", "one of the two")
    if spec.selector is not None:
        yield from _node_selector(spec.selector)
    if spec.pod_selector is not None:
        yield from _label_selector(("spec", "podSelector"), spec.pod_selector)


def _node_selector(selector: NodeSelector) -> Iterator[FieldProblem]:
    at = ("spec", "selector")
    if selector.names and (selector.match_labels or selector.match_expressions):
        yield FieldProblem((*at, "names"), "is there beside labels", "", "names or labels, not both")
    yield from _duplicates((*at, "names"), selector.names)
    yield from _label_selector(at, selector)


def _label_selector(at: Path, selector: LabelSelector) -> Iterator[FieldProblem]:
    yield from _labels((*at, "matchLabels"), selector.match_labels)
    for i, expression in enumerate(selector.match_expressions):
        yield from _expression((*at, "matchExpressions", i), expression)


def _expression(at: Path, expression: LabelSelectorRequirement) -> Iterator[FieldProblem]:
    if not is_label_key(expression.key):
        yield FieldProblem((*at, "key"), "is not a valid key", shown(expression.key), LABEL_KEY)
    needs_values = expression.operator in {"In", "NotIn"}
    if needs_values != bool(expression.values):
        allowed = "one value or more" if needs_values else "no values"
        yield FieldProblem((*at, "values"), f"does not go with {expression.operator}", "", allowed)
    for i, value in enumerate(expression.values):
        if not is_label_value(value):
            yield FieldProblem((*at, "values", i), "is not a valid label value", shown(value), LABEL_VALUE)


def _parallelism(parallelism: int | str | None) -> Iterator[FieldProblem]:
    at = ("spec", "parallelism")
    if isinstance(parallelism, str) and _PERCENTAGE.fullmatch(parallelism) is None:
        yield FieldProblem(at, "is not a percentage", shown(parallelism), PARALLELISM)
    elif isinstance(parallelism, int) and parallelism < 0:
        yield FieldProblem(at, "is negative", str(parallelism), PARALLELISM)


def _completion(spec: Spec) -> Iterator[FieldProblem]:
    policy, at = spec.completion_policy, ("spec", "completionPolicy")
    if policy.type != "Never":
        return
    for field, value in (
        ("activeDeadlineSeconds", policy.active_deadline_seconds),
        ("ttlSecondsAfterFinished", policy.ttl_seconds_after_finished),
    ):
        if value is not None:
            yield FieldProblem((*at, field), "does not go with type Never", str(value), "type Always")


def _bounds(spec: ImagePullJobSpec) -> Iterator[FieldProblem]:
    timeout, deadline = spec.pull_policy.timeout_seconds, spec.completion_policy.active_deadline_seconds
    if spec.completion_policy.type == "Always" and deadline is not None and timeout > deadline:
        at = ("spec", "pullPolicy", "timeoutSeconds")
        yield FieldProblem(
            at, "exceeds completionPolicy.activeDeadlineSeconds", str(timeout), f"1 to {deadline}"
        )


def _secret(secret: Secret) -> Iterator[FieldProblem]:
    if secret.type not in SECRET_KEYS:
        yield FieldProblem(("type",), "cannot be used for pulls", shown(secret.type), listed(SECRET_KEYS))
        return
    key = SECRET_KEYS[secret.type]
    if key in secret.string_data:
        yield from _docker_config(("stringData", key), secret.string_data[key])
    elif key in secret.data:
        yield from _encoded_docker_config(("data", key), secret.data[key])
    else:
        yield FieldProblem(("data", key), "is missing", "", "a docker config in base64")


def _encoded_docker_config(at: Path, encoded: str) -> Iterator[FieldProblem]:
    try:
        text = base64.b64decode(re.sub(r"[\r\n]", "", encoded), validate=True).decode()
    except (binascii.Error, ValueError):
        yield FieldProblem(at, "is not text in base64", "", "a docker config in base64")
        return
    yield from _docker_config(at, text)


def _docker_config(at: Path, text: str) -> Iterator[FieldProblem]:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        yield FieldProblem(at, "does not hold a docker config", "", "a JSON object")
