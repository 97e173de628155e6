"""What stands on a pod of its updates: annotations in OpenKruise's exact JSON. Pure.

The types are OpenKruise's ``apis/apps/pub/inplace_update.go`` and ``UpdateSpec`` of its
``pkg/util/inplaceupdate``: a controller of either project finishes what one of the other began.
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType, field

from daemon import names
from daemon.inplace.diff import MetadataChange
from daemon.objects.local_pods import LocalPod, ResourceRequirements
from daemon.objects.meta import Wire

T = TypeVar("T")


class LastStatus(Wire, frozen=True):
    """What ran in a container before it was changed."""

    image_id: str = field(default="", name="imageID")


class RefMetadata(Wire, frozen=True, omit_defaults=False):
    """Labels and annotations that a container reads, in the form of an ObjectMeta."""

    creation_timestamp: None = None
    labels: Mapping[str, str] | UnsetType | None = UNSET
    annotations: Mapping[str, str] | UnsetType | None = UNSET


class PreCheck(Wire, frozen=True):
    """What must be before the next containers change."""

    containers_required_ready: tuple[str, ...] | None = None


class Batch(Wire, frozen=True):
    """Containers that were changed at the same time."""

    timestamp: datetime | None
    containers: tuple[str, ...] | None


class State(Wire, frozen=True):
    """``apps.kruise.io/inplace-update-state``: the update that was begun last, and how far it is."""

    revision: str
    update_timestamp: datetime | None
    last_container_statuses: Mapping[str, LastStatus] | None
    update_env_from_metadata: bool = False
    update_resources: bool = False
    update_images: bool = False
    next_container_images: Mapping[str, str] | None = None
    next_container_ref_metadata: Mapping[str, RefMetadata] | None = None
    next_container_resources: Mapping[str, ResourceRequirements] | None = None
    pre_check_before_next: PreCheck | None = None
    container_batches_record: tuple[Batch, ...] | None = None

    @property
    def has_next(self) -> bool:
        """Whether containers of lower priority are still to be changed."""
        nexts = (self.next_container_images, self.next_container_ref_metadata, self.next_container_resources)
        return any(nexts)


class Grace(Wire, frozen=True):
    """``apps.kruise.io/inplace-update-grace``: what is changed when the grace period is over."""

    revision: str
    container_images: Mapping[str, str] | None = None
    container_ref_metadata: Mapping[str, RefMetadata] | None = None
    container_resources: Mapping[str, ResourceRequirements] | None = None
    meta_data_patch: str | None = None
    """Base64 of a strategic merge patch of the pod's metadata."""
    update_env_from_metadata: bool = False
    grace_seconds: int = 0


class RestartCount(Wire, frozen=True, omit_defaults=False):
    """How often a container had restarted when the revision's update of it began."""

    revision: str = ""
    restart_count: int = 0


class _MetadataPatch(Wire, frozen=True):
    labels: Mapping[str, str | None] | None = None
    annotations: Mapping[str, str | None] | None = None


class _PodPatch(Wire, frozen=True):
    metadata: _MetadataPatch = _MetadataPatch()


class UndecodableError(Exception):
    """The annotation is not in its format: whoever changed it by hand must mend or remove it."""

    def __init__(self, annotation: str, cause: Exception) -> None:
        super().__init__(f"annotation {annotation} cannot be read: {cause}")
        self.annotation = annotation


def state_of(pod: LocalPod) -> State | None:
    """The update that was begun last. Raises UndecodableError."""
    return _read(pod, (names.STATE_ANNOTATION, names.OLD_STATE_ANNOTATION), State)


def grace_of(pod: LocalPod) -> Grace | None:
    """What waits for the end of the grace period. Raises UndecodableError."""
    return _read(pod, (names.GRACE_ANNOTATION, names.OLD_GRACE_ANNOTATION), Grace)


def restart_counts_of(pod: LocalPod) -> Mapping[str, RestartCount]:
    """The restarts before the last update by container; none where the annotation cannot be read."""
    try:
        return _read(pod, (names.RESTART_COUNTS_ANNOTATION,), dict[str, RestartCount]) or {}
    except UndecodableError:
        return {}  # it is written anew with the next update, and nothing is decided by it alone


def written(record: Any) -> str:
    """*record* as it stands in an annotation: compact JSON."""
    return msgspec.json.encode(record).decode()


def ref_metadata(change: MetadataChange) -> RefMetadata:
    """What of *change* is set, as the metadata of one container; that a key goes cannot be said like this."""
    labels, annotations = _set(change.labels), _set(change.annotations)
    return RefMetadata(labels=labels or UNSET, annotations=annotations or UNSET)


def _change_of(metadata: RefMetadata) -> MetadataChange:
    """The labels and annotations that *metadata* sets."""
    return MetadataChange(dict(metadata.labels or {}), dict(metadata.annotations or {}))


def merged_metadata(change: MetadataChange, refs: Mapping[str, RefMetadata] | None) -> MetadataChange:
    """*change* and what containers read of it, which OpenKruise keeps apart."""
    for each in (refs or {}).values():
        ref = _change_of(each)
        labels, annotations = {**change.labels, **ref.labels}, {**change.annotations, **ref.annotations}
        change = MetadataChange(labels, annotations)
    return change


def metadata_patch(change: MetadataChange) -> str | None:
    """*change* as ``metaDataPatch``, null where a key goes; None for no change."""
    if not change:
        return None
    patch = _PodPatch(metadata=_MetadataPatch(change.labels or None, change.annotations or None))
    return base64.b64encode(msgspec.json.encode(patch)).decode()


def patched_metadata(grace: Grace) -> MetadataChange:
    """What the ``metaDataPatch`` of *grace* changes. Raises UndecodableError."""
    if not grace.meta_data_patch:
        return MetadataChange()
    try:
        document = base64.b64decode(grace.meta_data_patch, validate=True)
        metadata = msgspec.json.decode(document, type=_PodPatch).metadata
    except (binascii.Error, msgspec.MsgspecError) as error:
        raise UndecodableError(names.GRACE_ANNOTATION, error) from error
    return MetadataChange(metadata.labels or {}, metadata.annotations or {})


def same_revision(one: str, other: str) -> bool:
    """Tell whether both name the same revision, in full or, as OpenKruise may, by the hash at its end."""
    return one == other or (bool(one) and one.rpartition("-")[2] == other.rpartition("-")[2])


def _set(changes: Mapping[str, str | None]) -> dict[str, str]:
    return {key: text for key, text in changes.items() if text is not None}


def _read(pod: LocalPod, keys: tuple[str, ...], type_: type[T]) -> T | None:
    for key in keys:
        text = pod.metadata.annotations.get(key)
        if text:
            try:
                return msgspec.json.decode(text, type=type_)
            except (msgspec.MsgspecError, UnicodeError) as error:
                raise UndecodableError(key, error) from error
    return None
