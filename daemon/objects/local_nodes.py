"""Node, as the agent of that node reads its own: what pods may take of it in all."""

from collections.abc import Mapping

from daemon.objects.meta import ObjectMeta, Wire


class LocalNodeStatus(Wire, frozen=True):
    """What the kubelet says of the node."""

    allocatable: Mapping[str, str] = {}
    """Quantities by resource: capacity less what is reserved for the system."""


class LocalNode(Wire, frozen=True):
    """The agent's own machine."""

    metadata: ObjectMeta
    status: LocalNodeStatus = LocalNodeStatus()
    api_version: str = "v1"
    kind: str = "Node"
