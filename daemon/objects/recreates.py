"""ContainerRecreateRequest: to have containers of one pod stopped, so that the kubelet starts them anew.

What OpenKruise's webhook writes into the spec and the labels of a request (pod UID, node, container IDs), our
controller writes into its status, for the spec is its author's. Both are read here, by the same functions.
"""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from daemon import names
from daemon.objects.meta import Condition, Key, ObjectMeta, Wire, condition_of

Seconds = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class Phase(StrEnum):
    """How far a request, or one of its containers, is. An empty one stands before all of them."""

    PENDING = "Pending"
    RECREATING = "Recreating"
    COMPLETED = "Completed"
    """Of a request: it has ended, whatever became of its containers."""
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    """Of a container."""


class StatusContext(Wire, frozen=True):
    """Which container was there when the request was made, as OpenKruise's webhook tells it."""

    container_id: str = msgspec.field(default="", name="containerID")
    restart_count: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0


class RecreateContainer(Wire, frozen=True):
    """One container to be started anew. OpenKruise's webhook fills in all but the name."""

    name: str
    pre_stop: Mapping[str, Any] = {}
    """Not read: the pod's own is."""
    ports: tuple[Mapping[str, Any], ...] = ()
    """Not read: the pod's own are."""
    status_context: StatusContext | None = None


class RecreateStrategy(Wire, frozen=True):
    """How it is done."""

    failure_policy: Literal["Fail", "Ignore"] = "Fail"
    """Whether the others go on when one failed."""
    ordered_recreate: bool = False
    """One after another, each when the one before is ready; else all at the same time."""
    force_recreate: bool = False
    """Also those that restarted by themselves since the request was made."""
    termination_grace_period_seconds: Seconds | None = None
    """Instead of the pod's."""
    unready_grace_period_seconds: Seconds | None = None
    """Take the pod out of traffic, and wait so long, before a container is stopped."""
    min_started_seconds: Seconds = 0
    """So long after its start a ready container counts as recreated."""


class RecreateSpec(Wire, frozen=True):
    """What is asked for. It never changes."""

    pod_name: str
    containers: tuple[RecreateContainer, ...]
    strategy: RecreateStrategy = RecreateStrategy()
    active_deadline_seconds: Annotated[int, Meta(ge=3, le=2**31 - 1)] | None = None
    """From the creation on; what has not been started by then is not."""
    ttl_seconds_after_finished: Seconds | None = None


class RecreateState(Wire, frozen=True):
    """How far one container is."""

    name: str
    phase: str = ""
    message: str = ""
    is_killed: bool = False
    """Whether the agent stopped it."""
    container_id: str = msgspec.field(default="", name="containerID")
    """Ours: the container that is to be stopped, or was."""


class ContainerSnapshot(Wire, frozen=True):
    """A successor, as OpenKruise's manager saw it. Not read: the agent has the pod's own status."""

    name: str
    ready: bool = False
    restart_count: int = 0
    container_id: str = msgspec.field(default="", name="containerID")


class RecreateStatus(Wire, frozen=True):
    """How far the request is."""

    phase: str = ""
    completion_time: datetime | None = None
    message: str = ""
    container_recreate_states: tuple[RecreateState, ...] = ()
    container_status_snapshot: tuple[ContainerSnapshot, ...] = ()
    conditions: tuple[Condition, ...] = ()
    observed_generation: int = 0
    pod_uid: str = msgspec.field(default="", name="podUID")
    """Ours: the pod that was meant."""
    node_name: str = ""
    """Ours: the node whose agent does it."""


class ContainerRecreateRequest(Wire, frozen=True):
    """One request for one pod."""

    metadata: ObjectMeta
    spec: RecreateSpec
    status: RecreateStatus = RecreateStatus()
    api_version: str = names.KRUISE_API
    kind: str = "ContainerRecreateRequest"

    @property
    def pod_key(self) -> Key:
        """Namespace and name of the pod."""
        return Key(self.metadata.namespace, self.spec.pod_name)

    @property
    def pod_uid(self) -> str:
        """The pod that was meant; empty until somebody looked."""
        return self.status.pod_uid or self.metadata.labels.get(names.RECREATE_POD_LABEL, "")

    @property
    def completed(self) -> bool:
        """Whether it has ended."""
        return self.status.phase == Phase.COMPLETED

    @property
    def foreign(self) -> bool:
        """Whether OpenKruise's manager looks after it: its webhook has filled it in.

        The label alone tells nothing, for anybody may write it; the rest our definition lets nobody write.
        """
        active = self.metadata.labels.get(names.RECREATE_ACTIVE_LABEL) == "true"
        return active and all(each.status_context is not None for each in self.spec.containers)

    @property
    def order(self) -> tuple[datetime, str]:
        """Requests of one pod are served by age; a second has many, which are told apart by name."""
        return _created(self), self.metadata.name

    @property
    def deadline(self) -> datetime | None:
        """When what was not started is given up."""
        seconds = self.spec.active_deadline_seconds
        return None if seconds is None else _created(self) + timedelta(seconds=seconds)


def state_of(request: ContainerRecreateRequest, container: RecreateContainer) -> RecreateState:
    """How far that container is; its ID is in the status, or in the spec if OpenKruise's webhook told it."""
    found = next(
        (each for each in request.status.container_recreate_states if each.name == container.name),
        RecreateState(name=container.name),
    )
    context = container.status_context
    if found.container_id or context is None:
        return found
    return msgspec.structs.replace(found, container_id=context.container_id)


def unready_since(request: ContainerRecreateRequest) -> datetime | None:
    """Since when the pod is out of traffic for the request's sake; None while it is not."""
    condition = condition_of(request.status.conditions, names.PRE_RECREATE_GRACE)
    if condition is not None and condition.status == "True":
        return condition.last_transition_time
    told = request.metadata.annotations.get(names.UNREADY_ACQUIRED)
    try:
        since = datetime.fromisoformat(told) if told else None
    except ValueError:
        return None
    # Anybody may write it, without a time zone too.
    return since.replace(tzinfo=UTC) if since is not None and since.tzinfo is None else since


def slim(request: ContainerRecreateRequest) -> ContainerRecreateRequest:
    """*request*, of which an agent keeps little once it has ended: nobody may ever remove it."""
    if not request.completed:
        return request
    metadata = request.metadata
    return ContainerRecreateRequest(
        metadata=ObjectMeta(
            name=metadata.name,
            namespace=sys.intern(metadata.namespace),
            uid=metadata.uid,
            resource_version=metadata.resource_version,
            creation_timestamp=metadata.creation_timestamp,
        ),
        spec=RecreateSpec(pod_name=request.spec.pod_name, containers=()),
        status=RecreateStatus(phase=str(Phase.COMPLETED)),
    )


def _created(request: ContainerRecreateRequest) -> datetime:
    created = request.metadata.creation_timestamp
    assert created is not None, "the API server gives every object one"
    return created
