"""How the centre's copy of all pods is indexed. Pure."""

from collections.abc import Mapping
from typing import Final

from daemon import names
from daemon.kube.cache import Indexer
from daemon.objects.local_pods import LocalPod

BY_CONTROLLER: Final = "controller"
"""By UID of the workload that controls the pod."""
BY_NODE: Final = "node"
"""By name of the node that the pod is bound to."""
ORPHANS: Final = "orphans"
"""Pods that a CloneSet made and nobody controls, by namespace."""


def _controllers(pod: LocalPod) -> list[str]:
    return [owner.uid for owner in pod.metadata.owner_references if owner.controller]


def orphans_of(pod: LocalPod) -> list[str]:
    """The pod's namespace, if a CloneSet made it and nobody controls it."""
    lost = names.INSTANCE_ID_LABEL in pod.metadata.labels and not _controllers(pod)
    return [pod.metadata.namespace] if lost else []


def _nodes(pod: LocalPod) -> list[str]:
    return [pod.spec.node_name] if pod.spec.node_name else []


POD_INDEXES: Final[Mapping[str, Indexer[LocalPod]]] = {
    BY_CONTROLLER: _controllers,
    BY_NODE: _nodes,
    ORPHANS: orphans_of,
}
