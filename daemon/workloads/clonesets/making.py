"""New pods and their claims, as documents. Pure.

Names, labels and gates are OpenKruise's: a pod is called ``<set>-<id>``, its claims
``<template>-<set>-<id>``, and both carry the id as a label.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from daemon import names
from daemon.objects.local_pods import LocalPod
from daemon.objects.revisions import PersistentVolumeClaim
from daemon.objects.workloads import CloneSet
from daemon.workloads.clonesets.history import labels_for
from daemon.workloads.clonesets.settings import Settings
from daemon.workloads.clonesets.views import NORMAL, PREPARING_NORMAL

Document = dict[str, Any]

ID_LENGTH: Final = 5
ID_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
ENDING: Final = timedelta(seconds=30)
"""Beyond its grace period, which is in its deletionTimestamp, for which a pod is waited for."""


@dataclass(frozen=True, slots=True)
class NewPod:
    """One pod and what it mounts, to be stored in the other order."""

    id: str
    pod: Document
    claims: Sequence[Document] = ()
    """Those that are not there yet."""


def make(
    obj: CloneSet,
    settings: Settings,
    revision: str,
    template: Mapping[str, Any],
    id_: str,
    *,
    stored: Collection[str] = (),
) -> NewPod:
    """A pod of *template*, which is *revision*'s; *stored* are the names of claims that are there."""
    claims = {each["metadata"]["name"]: _claim(obj, each, id_) for each in obj.spec.volume_claim_templates}
    spec = dict(_mapping(template.get("spec")))
    spec["readinessGates"] = _gates(spec.get("readinessGates"), settings)
    if claims:
        spec["volumes"] = _volumes(spec.get("volumes"), claims)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(obj, settings, revision, template, id_),
        "spec": spec,
    }
    new = [claim for claim in claims.values() if claim["metadata"]["name"] not in stored]
    return NewPod(id_, pod, new)


def reusable(claims: Sequence[PersistentVolumeClaim], used: Collection[str]) -> list[str]:
    """The ids of *claims* whose pods are gone."""
    free = [
        each.metadata.labels.get(names.INSTANCE_ID_LABEL, "")
        for each in claims
        if each.metadata.deletion_timestamp is None
    ]
    return sorted({each for each in free if each} - set(used))


def returning(
    claims: Sequence[PersistentVolumeClaim], pods: Sequence[LocalPod], now: datetime
) -> frozenset[str]:
    """The ids of pods that are ending and leave *claims* behind, for their successors to mount.

    A pod that does not end, on a node that is lost, is not waited for any longer than ENDING.
    """
    ending = {
        pod.metadata.labels.get(names.INSTANCE_ID_LABEL, "")
        for pod in pods
        if pod.metadata.deletion_timestamp is not None and now < pod.metadata.deletion_timestamp + ENDING
    }
    return frozenset(reusable(claims, ())) & ending


def owner(obj: CloneSet) -> Document:
    """How what belongs to the set names it."""
    return {
        "apiVersion": names.KRUISE_API,
        "kind": obj.kind,
        "name": obj.metadata.name,
        "uid": obj.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _metadata(
    obj: CloneSet, settings: Settings, revision: str, template: Mapping[str, Any], id_: str
) -> Document:
    given = _mapping(template.get("metadata"))
    state = PREPARING_NORMAL if settings.hooks.pre_normal.holds else NORMAL
    labels = {
        **_mapping(given.get("labels")),
        **labels_for(revision),
        names.INSTANCE_ID_LABEL: id_,
        names.LIFECYCLE_STATE_LABEL: state,
    }
    kept = {key: given[key] for key in ("annotations", "finalizers") if given.get(key)}
    return {
        **kept,
        "name": f"{obj.metadata.name}-{id_}",
        "namespace": obj.metadata.namespace,
        "labels": labels,
        "ownerReferences": [owner(obj)],
    }


def _gates(given: Any, settings: Settings) -> list[Document]:
    """The template's, and OpenKruise's: out of traffic while the pod changes, and when somebody says so."""
    wanted = [names.KRUISE_POD_READY, *([names.IN_PLACE_UPDATE_READY] if settings.in_place else ())]
    gates = [each for each in given or () if isinstance(each, Mapping)]
    there = {each.get("conditionType") for each in gates}
    return [*map(dict, gates), *({"conditionType": each} for each in wanted if each not in there)]


def _volumes(given: Any, claims: Mapping[str, Document]) -> list[Document]:
    """The template's, of which those named like a claim template are replaced."""
    kept = [
        dict(each) for each in given or () if isinstance(each, Mapping) and each.get("name") not in claims
    ]
    mounted = [
        {"name": name, "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}
        for name, claim in claims.items()
    ]
    return [*mounted, *kept]


def _claim(obj: CloneSet, template: Mapping[str, Any], id_: str) -> Document:
    given = _mapping(template.get("metadata"))
    labels = {
        **_mapping(given.get("labels")),
        **obj.spec.selector.match_labels,
        names.INSTANCE_ID_LABEL: id_,
    }
    kept = {"annotations": given["annotations"]} if given.get("annotations") else {}
    metadata = {
        **kept,
        "name": f"{given.get('name')}-{obj.metadata.name}-{id_}",
        "namespace": obj.metadata.namespace,
        "labels": labels,
        "ownerReferences": [owner(obj)],
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": dict(_mapping(template.get("spec"))),
    }


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
