"""ControllerRevision, what a workload's template was at some point; PersistentVolumeClaim by its identity."""

from collections.abc import Mapping
from typing import Any

from daemon import names
from daemon.objects.meta import ObjectMeta, Wire


class ControllerRevision(Wire, frozen=True, omit_defaults=False):
    """One state of a workload. A higher ``revision`` is newer."""

    metadata: ObjectMeta
    data: Mapping[str, Any] = {}
    revision: int = 0
    api_version: str = "apps/v1"
    kind: str = "ControllerRevision"


class PersistentVolumeClaim(Wire, frozen=True):
    """A claim of a pod: to whom it belongs is all that is read."""

    metadata: ObjectMeta
    api_version: str = "v1"
    kind: str = "PersistentVolumeClaim"


def of_kruise(revision: ControllerRevision) -> ControllerRevision:
    """*revision*, without its data when it belongs to a workload that is not of OpenKruise's API group.

    What belongs to nobody may have been let go by one that is, and be adopted by its successor.
    """
    owners = revision.metadata.owner_references
    if not owners or any(owner.api_version.startswith(f"{names.KRUISE_GROUP}/") for owner in owners):
        return revision
    metadata = revision.metadata
    return ControllerRevision(
        metadata=ObjectMeta(
            name=metadata.name,
            namespace=metadata.namespace,
            uid=metadata.uid,
            resource_version=metadata.resource_version,
        )
    )
