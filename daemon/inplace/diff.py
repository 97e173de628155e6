"""Two revisions of a workload: what a pod must change to get from one to the other, or why it cannot. Pure.

Containers are matched by name. In place can change: a container's image, its cpu and memory as far as the API
server lets a running pod be resized, and labels and annotations. Everything else means another pod.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from daemon.inplace.quality import quality_of
from daemon.inplace.templates import (
    Revision,
    by_name,
    containers_of,
    image_of,
    metadata_of,
    pod_spec_of,
    references,
    requirements,
    resources_of,
    template_of,
)
from daemon.objects.container_env import MetadataField
from daemon.objects.local_pods import ResourceRequirements
from daemon.objects.pod_templates import settled
from daemon.objects.quantities import QuantityError, parse

_RESIZABLE = frozenset({"cpu", "memory"})
_IN_PLACE = frozenset({"image", "resources"})
_NO_MATTER = frozenset({"$patch", "creationTimestamp"})
_METADATA: tuple[MetadataField, ...] = ("labels", "annotations")


@dataclass(frozen=True, slots=True)
class MetadataChange:
    """Labels and annotations by key; None where the key goes."""

    labels: Mapping[str, str | None] = field(default_factory=dict)
    annotations: Mapping[str, str | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.labels or self.annotations)


@dataclass(frozen=True, slots=True)
class InPlace:
    """What changes, by container name but for ``metadata``."""

    images: Mapping[str, str] = field(default_factory=dict)
    metadata: MetadataChange = field(default_factory=MetadataChange)
    """All labels and annotations that change, whether a container reads them or not."""
    env_metadata: Mapping[str, MetadataChange] = field(default_factory=dict)
    """Those of them that are part of a container's environment: it restarts to see them."""
    resources: Mapping[str, ResourceRequirements] = field(default_factory=dict)
    """All requests and limits of the containers that are resized."""

    @property
    def restarted(self) -> frozenset[str]:
        """The containers that restart whatever their resize policy is."""
        return frozenset(self.images) | frozenset(self.env_metadata)

    def __bool__(self) -> bool:
        return bool(self.images or self.metadata or self.resources)


@dataclass(frozen=True, slots=True)
class MustRecreate:
    """Only another pod can be of the new revision. *reason* is CamelCase, *path* a JSON pointer."""

    reason: str
    path: str = ""
    message: str = ""


class _CannotChangeError(Exception):
    def __init__(self, verdict: MustRecreate) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict


def diff(old: Revision | None, new: Revision, *, ignore_claims: bool = False) -> InPlace | MustRecreate:
    """Compare two ControllerRevisions' data; *ignore_claims* leaves ``volumeClaimTemplates`` out.

    None for *old* means that what the pod was made of is not known any more.
    """
    if old is None:
        return MustRecreate("UnknownRevision", message="the revision that the pod was made of is gone")
    try:
        return _changes(old, new, ignore_claims)
    except _CannotChangeError as error:
        return error.verdict
    except msgspec.ValidationError as error:
        return MustRecreate("InvalidTemplate", "/spec/template", f"the template cannot be read: {error}")


def _changes(old: Revision, new: Revision, ignore_claims: bool) -> InPlace:
    left_out = {"template"} | ({"volumeClaimTemplates"} if ignore_claims else set())
    _refuse("/spec", old.get("spec") or {}, new.get("spec") or {}, left_out)
    old, new = _settled(old, new)
    _refuse("/spec/template", template_of(old), template_of(new), {"metadata", "spec"})
    _refuse_containers(old, new)
    kept = {*_METADATA, *_NO_MATTER}
    meta = [template_of(revision).get("metadata") or {} for revision in (old, new)]
    _refuse("/spec/template/metadata", meta[0], meta[1], kept)
    resources = dict(_resized(old, new))
    if resources and quality_of(pod_spec_of(old)) != quality_of(pod_spec_of(new)):
        words = f"the pod's QoS class would become {quality_of(pod_spec_of(new))}"
        raise _CannotChangeError(MustRecreate("QoSClassChanged", "/spec/template/spec/containers", words))
    metadata = MetadataChange(**{each: _keys(old, new, each) for each in _METADATA})
    return InPlace(dict(_images(old, new)), metadata, dict(_environments(new, metadata)), resources)


def _settled(old: Revision, new: Revision) -> tuple[Revision, Revision]:
    """Both without what their templates leave to defaults, whoever filled those in."""
    before, after = settled(template_of(old), template_of(new))
    return {"spec": {"template": before}}, {"spec": {"template": after}}


def _refuse_containers(old: Revision, new: Revision) -> None:
    """Raise if anything but what can change in place differs in the pod spec."""
    path = "/spec/template/spec"
    _refuse(path, pod_spec_of(old), pod_spec_of(new), {"containers", *_NO_MATTER})
    before, after = containers_of(old), containers_of(new)
    for name in before.keys() ^ after.keys():
        words = f"container {name} is {'added' if name in after else 'removed'}"
        raise _CannotChangeError(MustRecreate("ContainersChanged", f"{path}/containers", words))
    for name, container in after.items():
        _refuse(f"{path}/containers/{name}", before[name], container, _IN_PLACE)


def _refuse(path: str, old: Mapping[str, Any], new: Mapping[str, Any], allowed: Any) -> None:
    for key in sorted({*old, *new} - {*allowed, *_NO_MATTER}):
        if _plain(old.get(key)) != _plain(new.get(key)):
            words = f"{path}/{key} cannot change in a running pod"
            raise _CannotChangeError(MustRecreate("FieldChanged", f"{path}/{key}", words))


def _plain(value: Any) -> Any:
    """*value* without what means the same as nothing: nulls, and empty maps and lists."""
    if isinstance(value, Mapping):
        members = {key: _plain(item) for key, item in value.items()}
        return {key: item for key, item in members.items() if item is not None} or None
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value] or None
    return value


def _images(old: Revision, new: Revision) -> Iterator[tuple[str, str]]:
    for name in containers_of(new):
        image = image_of(new, name)
        if image != image_of(old, name):
            yield name, image


def _resized(old: Revision, new: Revision) -> Iterator[tuple[str, ResourceRequirements]]:
    before = containers_of(old)
    for name, container in containers_of(new).items():
        path = f"/spec/template/spec/containers/{name}/resources"
        raw_old, raw_new = before[name].get("resources") or {}, container.get("resources") or {}
        _refuse(path, raw_old, raw_new, {"requests", "limits"})
        was, wanted = requirements(raw_old), resources_of(new, name)
        changed = [_compare(f"{path}/requests", was.requests, wanted.requests)]
        changed.append(_compare(f"{path}/limits", was.limits, wanted.limits))
        if any(changed):
            yield name, wanted


def _compare(path: str, old: Mapping[str, str], new: Mapping[str, str]) -> bool:
    """Tell whether quantities differ. The API server lets one be added to a running pod, never be removed."""
    changed = False
    for name in sorted({*old, *new}):
        if name in old and name in new and _equal(f"{path}/{name}", old[name], new[name]):
            continue
        if name not in _RESIZABLE:
            words = f"{name} cannot be resized in a running pod, only cpu and memory can"
            raise _CannotChangeError(MustRecreate("FieldChanged", f"{path}/{name}", words))
        if name not in new:
            words = "a request or limit cannot be removed from a running pod"
            raise _CannotChangeError(MustRecreate("ResourceRemoved", f"{path}/{name}", words))
        changed = True
    return changed


def _equal(path: str, old: str, new: str) -> bool:
    if old == new:
        return True
    try:
        return parse(old) == parse(new)
    except QuantityError as error:
        raise _CannotChangeError(MustRecreate("InvalidQuantity", path, str(error))) from error


def _keys(old: Revision, new: Revision, field_: MetadataField) -> dict[str, str | None]:
    before, after = metadata_of(old, field_), metadata_of(new, field_)
    changed: dict[str, str | None] = {key: text for key, text in after.items() if before.get(key) != text}
    return changed | {key: None for key in before if key not in after}


def _environments(new: Revision, changed: MetadataChange) -> Iterator[tuple[str, MetadataChange]]:
    """What of *changed* each container reads. A sidecar among the init containers restarts as well."""
    sidecars = by_name(pod_spec_of(new).get("initContainers"))
    restartable = {name: each for name, each in sidecars.items() if each.get("restartPolicy") == "Always"}
    for name, container in {**restartable, **containers_of(new)}.items():
        read = _part_of(changed, references(container))
        if read:
            yield name, read


def _part_of(changed: MetadataChange, keys: Collection[tuple[MetadataField, str]]) -> MetadataChange:
    """Those of *changed* that are among *keys*."""
    wanted = set(keys)
    parts = {
        each: {key: text for key, text in getattr(changed, each).items() if (each, key) in wanted}
        for each in _METADATA
    }
    return MetadataChange(**parts)
