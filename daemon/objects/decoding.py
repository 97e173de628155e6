"""Reads one manifest, already parsed to plain mappings and lists, into an object of the API.

Strict, as ``kubectl apply --validate=strict``: a field that nobody would read is refused, because the person
who wrote it expects an effect. What the API server owns (``status``, uid, managedFields …) is left out, so
that the output of ``kubectl get -o yaml`` can be used as it is. All problems are told, not only the first.
What the types allow is read from the types themselves; what goes beyond them is in ``validation``.
"""

import functools
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import inspect

from daemon import names
from daemon.objects.field_problems import FieldProblem, Path, listed, shown
from daemon.objects.images import ImageListPullJob, ImagePullJob, PullPolicy, Secret
from daemon.objects.meta import ObjectMeta

Manifest = ImagePullJob | ImageListPullJob | Secret
"""The kinds that people write."""

KRUISE_APIS = tuple(f"{names.KRUISE_GROUP}/{version}" for version in names.KRUISE_VERSIONS)
APIS: Mapping[str, tuple[type[Manifest], tuple[str, ...]]] = {
    "ImagePullJob": (ImagePullJob, KRUISE_APIS),
    "ImageListPullJob": (ImageListPullJob, KRUISE_APIS),
    "Secret": (Secret, ("v1",)),
}
"""By kind: the type, and the apiVersions in which it is read."""

DEFAULT_NAMESPACE = "default"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl's copy of the whole manifest, a Secret's values included."""

LEFT_OUT: Mapping[type, frozenset[str]] = {
    ImagePullJob: frozenset({"status"}),
    ImageListPullJob: frozenset({"status"}),
    Secret: frozenset({"immutable"}),
    ObjectMeta: frozenset(
        {
            *("uid", "generation", "resourceVersion", "creationTimestamp", "deletionTimestamp"),
            *("deletionGracePeriodSeconds", "ownerReferences", "managedFields", "finalizers"),
            *("selfLink", "generateName"),
        }
    ),
}
"""Fields that Kubernetes has and that a manifest cannot set here."""


class DecodingError(Exception):
    """The document is not one of our objects. Nothing to retry: its author must mend it."""

    def __init__(self, problems: tuple[FieldProblem, ...]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


def decode(raw: Any) -> Manifest:
    """Read *raw* into its kind, defaults filled in. Raises DecodingError with everything that is wrong."""
    if not isinstance(raw, dict):
        raise DecodingError((FieldProblem((), "must be a mapping with apiVersion and kind", shown(raw)),))
    kind = _type_of(raw)
    problems: list[FieldProblem] = []
    clean = _read(raw, _schema(kind), (), problems)
    if problems:
        raise DecodingError(tuple(map(_discreet, problems)) if kind is Secret else tuple(problems))
    return _with_defaults(msgspec.convert(clean, kind), clean)


@functools.cache
def _schema(kind: type[Manifest]) -> inspect.Type:
    return inspect.type_info(kind)


def identified(raw: Any) -> str:
    """Kind, namespace and name of a document, as far as they can be told; empty when nothing can."""
    if not isinstance(raw, dict) or not isinstance(raw.get("kind"), str):
        return ""
    metadata = raw.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name, str):
        return str(raw["kind"])
    return f"{raw['kind']} {metadata.get('namespace') or DEFAULT_NAMESPACE}/{name}"


def _type_of(raw: Mapping[str, Any]) -> type[Manifest]:
    kind, version = raw.get("kind"), raw.get("apiVersion")
    if not isinstance(kind, str) or kind not in APIS:
        raise DecodingError((_unexpected("kind", kind, tuple(APIS)),))
    type_, versions = APIS[kind]
    if version not in versions:
        raise DecodingError((_unexpected("apiVersion", version, versions, f" for {kind}"),))
    return type_


def _unexpected(field: str, value: Any, allowed: tuple[str, ...], context: str = "") -> FieldProblem:
    if value is None:
        return FieldProblem((field,), "is missing", "", listed(allowed))
    guess = _did_you_mean(value, allowed) if isinstance(value, str) else ""
    return FieldProblem((field,), f"is not known{context}{guess}", shown(value), listed(allowed))


def _with_defaults(obj: Manifest, raw: Mapping[str, Any]) -> Manifest:
    """Fill in what no single field's default can say.

    OpenKruise defaults timeoutSeconds to 600 and then refuses a job whose activeDeadlineSeconds is smaller.
    Here a timeout that was not given is at most the deadline, so that such a job works; one that was given is
    judged by ``validation``.
    """
    metadata = obj.metadata
    annotations = {key: text for key, text in metadata.annotations.items() if key != LAST_APPLIED}
    metadata = msgspec.structs.replace(
        metadata, namespace=metadata.namespace or DEFAULT_NAMESPACE, annotations=annotations
    )
    if isinstance(obj, Secret):
        return msgspec.structs.replace(obj, metadata=metadata)
    policy = obj.spec.pull_policy
    if "timeoutSeconds" not in raw["spec"].get("pullPolicy", {}):
        policy = _within(policy, obj.spec.completion_policy.active_deadline_seconds)
    # The two served versions are read alike, and kept as the stored one.
    spec = msgspec.structs.replace(obj.spec, pull_policy=policy)
    return msgspec.structs.replace(obj, metadata=metadata, spec=spec, api_version=names.KRUISE_API)


def _within(policy: PullPolicy, deadline: int | None) -> PullPolicy:
    timeout = policy.timeout_seconds if deadline is None else min(policy.timeout_seconds, deadline)
    return msgspec.structs.replace(policy, timeout_seconds=timeout)


def _discreet(problem: FieldProblem) -> FieldProblem:
    """The problem of a Secret without its value, unless that names the object."""
    if problem.path in {("metadata", "name"), ("metadata", "namespace"), ("type",)}:
        return problem
    return FieldProblem(problem.path, problem.message, "", problem.allowed)


def _read(value: Any, type_: inspect.Type, at: Path, problems: list[FieldProblem]) -> Any:
    """Copy *value* without what is left out, and collect where it differs from *type_*."""
    match type_:
        case inspect.StructType() if isinstance(value, dict):
            return _read_struct(value, type_, at, problems)
        case inspect.DictType() if isinstance(value, dict):
            return {key: _read(item, type_.value_type, (*at, key), problems) for key, item in value.items()}
        case inspect.VarTupleType() if isinstance(value, list):
            return [_read(item, type_.item_type, (*at, i), problems) for i, item in enumerate(value)]
        case inspect.UnionType():
            return _read(value, _member(value, type_), at, problems)
    if not _fits(value, type_):
        problems.append(_mismatch(value, type_, at))
    return value


def _read_struct(
    value: Mapping[str, Any], type_: inspect.StructType, at: Path, problems: list[FieldProblem]
) -> dict[str, Any]:
    fields = {field.encode_name: field for field in type_.fields}
    left_out = LEFT_OUT.get(type_.cls, frozenset())
    clean = {}
    for key, item in value.items():
        if key in left_out or item is None:  # Kubernetes takes null for absent.
            continue
        if key in fields:
            clean[key] = _read(item, fields[key].type, (*at, key), problems)
        else:
            problems.append(_unknown(key, at, tuple(fields)))
    for name, field in fields.items():
        if field.required and name not in clean:
            problems.append(FieldProblem((*at, name), "is missing", "", _expected(field.type)))
    return clean


def _unknown(key: str, at: Path, known: tuple[str, ...]) -> FieldProblem:
    return FieldProblem(
        (*at, key), f"is not a known field{_did_you_mean(key, known)}", "", listed(sorted(known))
    )


def _did_you_mean(text: str, known: tuple[str, ...]) -> str:
    import difflib  # Only mistakes pay for it.

    by_case = {name.lower(): name for name in known}
    close = difflib.get_close_matches(text.lower()[:100], by_case, n=1, cutoff=0.7)
    return f": did you mean {by_case[close[0]]}?" if close else ""


def _member(value: Any, union: inspect.UnionType) -> inspect.Type:
    """The member of *union* to judge *value* by: the one that it fits, else the first that is not None."""
    fitting = (member for member in union.types if _fits(value, member))
    return next(fitting, next(member for member in union.types if not isinstance(member, inspect.NoneType)))


def _fits(value: Any, type_: inspect.Type) -> bool:
    match type_:
        case inspect.IntType():
            return type(value) is int and _in_range(value, type_)
        case inspect.StrType():
            return isinstance(value, str)
        case inspect.LiteralType():
            return isinstance(value, str) and value in type_.values
        case _:
            return False  # Containers are looked into by _read; our kinds have no other leaves.


def _in_range(value: int, type_: inspect.IntType) -> bool:
    return (type_.ge is None or value >= type_.ge) and (type_.le is None or value <= type_.le)


def _mismatch(value: Any, type_: inspect.Type, at: Path) -> FieldProblem:
    if isinstance(type_, inspect.IntType) and type(value) is int:
        return FieldProblem(at, "is out of range", shown(value), _expected(type_))
    if isinstance(type_, inspect.LiteralType):
        return FieldProblem(at, "is not allowed", shown(value), _expected(type_))
    return FieldProblem(at, _type_advice(value, type_), shown(value), _expected(type_))


def _type_advice(value: Any, type_: inspect.Type) -> str:
    if isinstance(type_, inspect.StrType) and isinstance(value, (bool, int, float)):
        return "must be put in quotes, since it is text"
    if isinstance(type_, inspect.IntType) and isinstance(value, str) and value.isdecimal():
        return "must not be put in quotes, since it is a number"
    return "has the wrong type"


def _expected(type_: inspect.Type) -> str:
    match type_:
        case inspect.IntType():
            return "an integer" + ("" if type_.ge is None else f" from {type_.ge} to {type_.le}")
        case inspect.StrType():
            return "text"
        case inspect.LiteralType():
            return listed(sorted(map(str, type_.values)))
        case inspect.VarTupleType():
            return "a list"
        case inspect.UnionType():
            return listed(_expected(each) for each in type_.types if not isinstance(each, inspect.NoneType))
        case _:
            return "a mapping"
