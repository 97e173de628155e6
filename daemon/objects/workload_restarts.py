"""WorkloadRestart: to have the containers of many pods started anew, in place and a few at a time."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from daemon import names
from daemon.objects.meta import Condition, LabelSelector, ObjectMeta, Wire
from daemon.objects.recreates import Seconds

Order = Literal["OldestFirst", "NewestFirst", "NameAscending", "NameDescending"]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class WorkloadReference(Wire, frozen=True):
    """What controls the pods, in the restart's namespace."""

    api_version: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"


class RestartStrategy(Wire, frozen=True):
    """How each pod is treated; passed on to its ContainerRecreateRequest."""

    termination_grace_period_seconds: Seconds | None = None
    """Instead of the pod's."""
    unready_grace_period_seconds: Seconds | None = None
    """Take the pod out of traffic, and wait so long, before a container is stopped."""
    min_started_seconds: Seconds = 0
    """So long after its start a ready container counts as restarted."""
    ordered_recreate: bool = False
    """The containers of one pod one after another."""


class WorkloadRestartSpec(Wire, frozen=True):
    """Which pods, which of their containers, and how fast."""

    workload_ref: WorkloadReference | None = None
    selector: LabelSelector | None = None
    """Instead of a workload: pods of the namespace."""
    containers: tuple[str, ...] = ()
    """All of a pod when empty, native sidecars left out."""
    max_unavailable: int | str = 1
    """Pods, or a percentage of them, that may be out of service at the same time, for whatever reason."""
    order: Order | None = None
    """By default a StatefulSet's pods from the highest ordinal down, others from the oldest on."""
    paused: bool = False
    strategy: RestartStrategy = RestartStrategy()
    active_deadline_seconds: Annotated[int, Meta(ge=3, le=2**31 - 1)] | None = None
    """From the creation on; what has not been restarted by then is not."""
    ttl_seconds_after_finished: Seconds | None = None


class PodFailure(Wire, frozen=True):
    """Why one pod was not restarted as it should."""

    pod: str
    reason: str
    message: str = ""


class WorkloadRestartStatus(Wire, frozen=True, omit_defaults=False):
    """Counts are pods."""

    start_time: datetime | None = None
    completion_time: datetime | None = None
    desired: Count = 0
    """Pods that are selected now."""
    restarted: Count = 0
    """Those of them that run what was started since, pods made since included."""
    restarting: Count = 0
    failed: Count = 0
    unavailable: Count = 0
    """Those that are not ready, for whatever reason, or about to be restarted, and those that are missing."""
    message: str = ""
    failures: tuple[PodFailure, ...] = ()
    """The first of them."""
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class WorkloadRestart(Wire, frozen=True):
    """One restart of many pods."""

    metadata: ObjectMeta
    spec: WorkloadRestartSpec
    status: WorkloadRestartStatus = WorkloadRestartStatus()
    api_version: str = names.OWN_API
    kind: str = "WorkloadRestart"


class TargetSpec(Wire, frozen=True):
    """What is read of a workload's spec, whatever its kind."""

    replicas: int | None = None
    selector: LabelSelector = LabelSelector()


class TargetStatus(Wire, frozen=True):
    """What is read of a workload's status."""

    desired_number_scheduled: int = 0
    """Of a DaemonSet."""


class Target(Wire, frozen=True):
    """A workload, as far as its pods are found by it."""

    metadata: ObjectMeta
    spec: TargetSpec = TargetSpec()
    status: TargetStatus = TargetStatus()
    api_version: str = ""
    kind: str = ""

    @property
    def wanted(self) -> int:
        """How many pods it is to have."""
        return max(self.spec.replicas or 0, self.status.desired_number_scheduled)
