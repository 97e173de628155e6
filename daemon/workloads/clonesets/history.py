"""The revisions of a CloneSet: which one its template is, how a new one is called, which are forgotten. Pure.

Names and contents are OpenKruise's, byte by byte, so that what its manager recorded is found again, and its
manager finds again what was recorded here: either would roll out anew what it does not find.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from daemon import names
from daemon.kube.encoding import encoded
from daemon.objects.meta import ObjectMeta, OwnerReference
from daemon.objects.pod_templates import as_go_writes, settled, telling
from daemon.objects.revisions import ControllerRevision
from daemon.objects.workloads import CloneSet
from daemon.workloads.clonesets.views import same_revision

HASH_LABEL: Final = "controller.kubernetes.io/hash"
_SAFE: Final = "bcdfghjklmnpqrstvwxz2456789"
"""Characters of hashes in names: without vowels no words come about (k8s.io/apimachinery/pkg/util/rand)."""
_LONGEST_LABEL: Final = 63
_LONGEST_PREFIX: Final = 223
"""Characters of the set's name in that of a revision (k8s.io/kubernetes/pkg/controller/history)."""
_CLAIMS_HASH: Final = "kruise.io/cloneset-volumeclaimtemplate-hash"
"""An annotation of every revision that OpenKruise's manager has made."""


@dataclass(frozen=True, slots=True)
class Found:
    """The revision of the template among those that are stored."""

    update: ControllerRevision
    newest: bool
    """Whether no other is newer: otherwise the set was rolled back to it."""


def find(revisions: Sequence[ControllerRevision], obj: CloneSet) -> Found | None:
    """The newest of *revisions* that holds the set's template, if one does."""
    ordered = by_age(revisions)
    for revision in reversed(ordered):
        if holds(revision, obj):
            return Found(revision, newest=revision is ordered[-1])
    return None


def holds(revision: ControllerRevision, obj: CloneSet) -> bool:
    """Whether pods of *revision* are those of the set's template, whoever filled in its defaults."""
    rest = {key: each for key, each in _spec_of(revision).items() if key != "template"}
    template = _spec_of(revision).get("template")
    if rest or not isinstance(template, Mapping):
        return False
    if _CLAIMS_HASH in revision.metadata.annotations:
        one, other = settled(template, obj.spec.template)
        return one == other
    return telling(template) == telling(obj.spec.template)


def _spec_of(revision: ControllerRevision) -> Mapping[str, Any]:
    spec = revision.data.get("spec")
    return spec if isinstance(spec, Mapping) else {}


def by_age(revisions: Iterable[ControllerRevision]) -> list[ControllerRevision]:
    """*revisions*, the newest last."""
    return sorted(revisions, key=lambda each: (each.revision, each.metadata.name))


def data_of(obj: CloneSet) -> dict[str, Any]:
    """What a revision records of the set, keys in order."""
    return {"spec": {"template": {"$patch": "replace", **as_go_writes(obj.spec.template)}}}


def next_revision(
    obj: CloneSet, revisions: Iterable[ControllerRevision], collisions: int
) -> ControllerRevision:
    """The revision that records the set's template now, as it is to be stored."""
    data = data_of(obj)
    short = hash_of(data, collisions)
    labels = {**_template_labels(obj), HASH_LABEL: short}
    number = max((each.revision for each in revisions), default=0) + 1
    metadata = ObjectMeta(
        name=_name(obj, short),
        namespace=obj.metadata.namespace,
        labels=labels,
        owner_references=(owner_of(obj),),
    )
    return ControllerRevision(metadata=metadata, data=data, revision=number)


def is_named_for(revision: ControllerRevision, obj: CloneSet) -> bool:
    """Whether *revision* is called as one that was made for a set of the name of *obj*."""
    short = revision.metadata.labels.get(HASH_LABEL, "")
    return bool(short) and revision.metadata.name == _name(obj, short)


def _name(obj: CloneSet, short: str) -> str:
    return f"{obj.metadata.name[:_LONGEST_PREFIX]}-{short}"


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
    """The end of the name of a revision that holds *data*; another one after each collision."""
    number = 0x811C9DC5  # FNV-1 of 32 bits, as in k8s.io/kubernetes/pkg/controller/history
    for byte in encoded(data) + str(collisions).encode():
        number = number * 0x01000193 & 0xFFFFFFFF ^ byte
    return "".join(_SAFE[ord(digit) % len(_SAFE)] for digit in str(number))


def _template_labels(obj: CloneSet) -> dict[str, str]:
    metadata = obj.spec.template.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    return {str(key): str(text) for key, text in labels.items()} if isinstance(labels, Mapping) else {}
