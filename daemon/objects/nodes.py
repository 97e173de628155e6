"""Node, as far as it is read: its labels, whether it is ready, and whether pods may run on it."""

from datetime import datetime

from daemon.objects.meta import ObjectMeta, Wire


class NodeCondition(Wire, frozen=True):
    """One aspect of a node's state, such as ``Ready``. Heartbeat times are not read."""

    type: str
    status: str
    reason: str = ""
    last_transition_time: datetime | None = None


class Taint(Wire, frozen=True):
    """Keeps pods away that do not tolerate it."""

    key: str
    value: str = ""
    effect: str = ""


class NodeSpec(Wire, frozen=True):
    """What was decided about the node."""

    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class NodeStatus(Wire, frozen=True):
    """What the node says of itself."""

    conditions: tuple[NodeCondition, ...] = ()


class Node(Wire, frozen=True):
    """One machine of the cluster."""

    metadata: ObjectMeta
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()
    api_version: str = "v1"
    kind: str = "Node"
