"""Pod, as far as it is read. A cluster has thousands of them: what is not read is not kept."""

import functools
import sys
from collections.abc import Mapping
from datetime import datetime

from daemon import names
from daemon.objects.meta import ObjectMeta, OwnerReference, Wire


class OurAnnotations(dict[str, str]):
    """The annotations of a pod that we read; all others are left out when a pod is decoded."""

    __slots__ = ()


def ours(annotations: Mapping[str, str]) -> OurAnnotations:
    """Those of *annotations* that are part of our contract or of OpenKruise's."""
    return OurAnnotations({key: text for key, text in annotations.items() if _is_ours(key)})


def _is_ours(key: str) -> bool:
    group = key.partition("/")[0]
    return group in {names.PREFIX[:-1], names.KRUISE_GROUP} or group.endswith(f".{names.KRUISE_GROUP}")


class PodMeta(ObjectMeta, frozen=True):
    """Identity of a pod."""

    annotations: OurAnnotations = OurAnnotations()


class PodCondition(Wire, frozen=True):
    """One aspect of a pod's state."""

    type: str
    status: str
    reason: str = ""
    last_transition_time: datetime | None = None


class PodSpec(Wire, frozen=True):
    """What was decided about the pod."""

    node_name: str = ""


class PodStatus(Wire, frozen=True):
    """What the kubelet says of the pod."""

    phase: str = ""
    conditions: tuple[PodCondition, ...] = ()


class Pod(Wire, frozen=True):
    """One pod."""

    metadata: PodMeta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()
    api_version: str = "v1"
    kind: str = "Pod"


_READ = frozenset({"PodScheduled", "Ready"})
"""Conditions by which pods are put in order."""


def slim(pod: Pod) -> Pod:
    """*pod*, less what is not read; what it has in common with others exists once."""
    metadata, status = pod.metadata, pod.status
    return Pod(
        metadata=PodMeta(
            name=metadata.name,
            namespace=sys.intern(metadata.namespace),
            uid=metadata.uid,
            generation=metadata.generation,
            resource_version=metadata.resource_version,
            creation_timestamp=metadata.creation_timestamp,
            deletion_timestamp=metadata.deletion_timestamp,
            annotations=metadata.annotations,
            owner_references=tuple(_owner(each) for each in metadata.owner_references),
        ),
        spec=PodSpec(node_name=sys.intern(pod.spec.node_name)),
        status=PodStatus(
            phase=sys.intern(status.phase),
            conditions=tuple(_condition(each) for each in status.conditions if each.type in _READ),
        ),
    )


@functools.lru_cache(maxsize=4096)
def _owner(owner: OwnerReference) -> OwnerReference:
    """The owner, the same object for all its pods."""
    return owner


def _condition(condition: PodCondition) -> PodCondition:
    return PodCondition(
        type=sys.intern(condition.type),
        status=sys.intern(condition.status),
        reason=sys.intern(condition.reason),
        last_transition_time=condition.last_transition_time,
    )
