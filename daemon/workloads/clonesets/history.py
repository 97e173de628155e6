"""The revisions of a CloneSet: which one its template is, how a new one is called, which are forgotten. Pure.

Names and contents are OpenKruise's, so that what its manager recorded is found again.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from daemon import names
from daemon.objects.meta import ObjectMeta, OwnerReference
from daemon.objects.revisions import ControllerRevision
from daemon.objects.workloads import CloneSet
from daemon.workloads.clonesets.views import same_revision

HASH_LABEL: Final = "controller.kubernetes.io/hash"
_SAFE: Final = "bcdfghjklmnpqrstvwxz2456789"
"""Characters of hashes in names: without vowels no words come about (k8s.io/apimachinery/pkg/util/rand)."""
_LONGEST_LABEL: Final = 63


@dataclass(frozen=True, slots=True)
class Found:
    """The revision of the template among those that are stored."""

    update: ControllerRevision
    newest: bool
    """Whether no other is newer: otherwise the set was rolled back to it."""


def find(revisions: Sequence[ControllerRevision], obj: CloneSet) -> Found | None:
    """The newest of *revisions* that holds the set's template, if one does."""
    wanted = plain(data_of(obj))
    ordered = by_age(revisions)
    for revision in reversed(ordered):
        if plain(revision.data) == wanted:
            return Found(revision, newest=revision is ordered[-1])
    return None


def by_age(revisions: Iterable[ControllerRevision]) -> list[ControllerRevision]:
    """*revisions*, the newest last."""
    return sorted(revisions, key=lambda each: (each.revision, each.metadata.name))


def data_of(obj: CloneSet) -> dict[str, Any]:
    """What a revision records of the set."""
    return {"spec": {"template": {**obj.spec.template, "$patch": "replace"}}}


def next_revision(
    obj: CloneSet, revisions: Iterable[ControllerRevision], collisions: int
) -> ControllerRevision:
    """The revision that records the set's template now, as it is to be stored."""
    data = data_of(obj)
    short = hash_of(data, collisions)
    labels = {**_template_labels(obj), HASH_LABEL: short}
    number = max((each.revision for each in revisions), default=0) + 1
    metadata = ObjectMeta(
        name=f"{obj.metadata.name}-{short}",
        namespace=obj.metadata.namespace,
        labels=labels,
        owner_references=(owner_of(obj),),
    )
    return ControllerRevision(metadata=metadata, data=data, revision=number)


def owner_of(obj: CloneSet) -> OwnerReference:
    """How what belongs to the set names it."""
    metadata = obj.metadata
    return OwnerReference(
        kind=obj.kind, name=metadata.name, uid=metadata.uid, api_version=names.KRUISE_API, controller=True
    )


def labels_for(revision: str) -> dict[str, str]:
    """The labels that tell a pod's revision."""
    short = revision.rpartition("-")[2]
    return {
        names.TEMPLATE_HASH_LABEL: revision if len(revision) <= _LONGEST_LABEL else short,
        names.SHORT_HASH_LABEL: short,
    }


def named(revisions: Iterable[ControllerRevision], name: str) -> ControllerRevision | None:
    """The revision that a pod's label means."""
    return next((each for each in revisions if same_revision(each.metadata.name, name)), None)


def superfluous(
    revisions: Sequence[ControllerRevision], in_use: Collection[str], limit: int
) -> list[ControllerRevision]:
    """The oldest of those that nothing uses, as far as there are more than *limit*."""
    hashes = {each.rpartition("-")[2] for each in in_use}
    unused = [each for each in by_age(revisions) if each.metadata.name.rpartition("-")[2] not in hashes]
    return unused[: max(len(unused) - limit, 0)]


def hash_of(data: Mapping[str, Any], collisions: int) -> str:
    """A name for *data*, the same for all that means the same; another one after each collision."""
    text = json.dumps(plain(data), sort_keys=True, separators=(",", ":")) + str(collisions or "")
    number = 0x811C9DC5  # FNV-1a of 32 bits, as Kubernetes uses for the same purpose
    for byte in text.encode():
        number = (number ^ byte) * 0x01000193 & 0xFFFFFFFF
    return "".join(_SAFE[ord(digit) % len(_SAFE)] for digit in str(number))


def plain(value: Any) -> Any:
    """*value* without what means nothing: nulls, empty maps and lists, marks of patches."""
    if isinstance(value, Mapping):
        members = {key: plain(item) for key, item in value.items() if key != "$patch"}
        return {key: item for key, item in members.items() if item is not None} or None
    if isinstance(value, list | tuple):
        return [plain(item) for item in value] or None
    return value


def _template_labels(obj: CloneSet) -> dict[str, str]:
    metadata = obj.spec.template.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    return {str(key): str(text) for key, text in labels.items()} if isinstance(labels, Mapping) else {}
