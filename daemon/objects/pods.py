"""Pod, as far as it is read. A node has hundreds of them: what is not read is not kept."""

from collections.abc import Mapping
from datetime import datetime

from daemon import names
from daemon.objects.meta import ObjectMeta, Wire


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
