"""Pod, as the agent of its node reads it: what its containers ask for, and what the kubelet says of them."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from daemon.objects.meta import ObjectMeta, Wire

RESIZE_PENDING = "PodResizePending"
RESIZE_IN_PROGRESS = "PodResizeInProgress"
"""The kubelet's conditions of a resize (KEP-1287)."""


class FieldRef(Wire, frozen=True):
    """A field of the pod, as the source of a variable."""

    field_path: str
    api_version: str = ""


class KeyRef(Wire, frozen=True):
    """A key of a ConfigMap, as the source of a variable."""

    key: str = ""


class EnvSource(Wire, frozen=True):
    """Where the value of a variable comes from. Only ``fieldRef`` is resolved."""

    field_ref: FieldRef | None = None
    config_map_key_ref: KeyRef | None = None
    """Read for OpenKruise's barriers, whose key tells a container's priority."""


class EnvFrom(Wire, frozen=True):
    """A ConfigMap or Secret all of whose keys become variables: that there is one is all that is read."""

    prefix: str = ""


class EnvVar(Wire, frozen=True):
    """One environment variable as the pod asks for it."""

    name: str
    value: str = ""
    value_from: EnvSource | None = None


class ResourceRequirements(Wire, frozen=True):
    """Quantities by resource, as text."""

    requests: Mapping[str, str] = {}
    limits: Mapping[str, str] = {}


class ContainerPort(Wire, frozen=True):
    """A port that a handler may name."""

    container_port: int
    name: str = ""


class ExecAction(Wire, frozen=True):
    """A command run in the container."""

    command: tuple[str, ...] = ()


class HttpHeader(Wire, frozen=True):
    """One header of a request."""

    name: str
    value: str = ""


class HttpGetAction(Wire, frozen=True):
    """A request to the container. The port is a number or the name of one of its ports."""

    port: int | str
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"
    http_headers: tuple[HttpHeader, ...] = ()


class TcpSocketAction(Wire, frozen=True):
    """A connection, opened and closed."""

    port: int | str
    host: str = ""


class SleepAction(Wire, frozen=True):
    """A pause."""

    seconds: int


class LifecycleHandler(Wire, frozen=True):
    """What is done before a container stops: one of them."""

    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(Wire, frozen=True):
    """Handlers of the container's life, as far as the agent runs them."""

    pre_stop: LifecycleHandler | None = None


class ResizePolicy(Wire, frozen=True):
    """What becomes of the container when that resource is resized: NotRequired or RestartContainer."""

    resource_name: str
    restart_policy: str = ""


class Container(Wire, frozen=True):
    """What a pod asks of one container."""

    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    resize_policy: tuple[ResizePolicy, ...] = ()
    restart_policy: str = ""
    """Of an init container: Always makes it a sidecar."""
    lifecycle: Lifecycle = Lifecycle()


class Readiness(Wire, frozen=True):
    """A condition that the pod must have to be ready."""

    condition_type: str


class SecretName(Wire, frozen=True):
    """A Secret of the pod's namespace."""

    name: str = ""


class PodOS(Wire, frozen=True):
    """The operating system that the pod needs."""

    name: str = ""


class LocalPodSpec(Wire, frozen=True):
    """What the pod asks for."""

    node_name: str = ""
    image_pull_secrets: tuple[SecretName, ...] = ()
    """Its ServiceAccount's, too: they are written into the pod when it is made, if it names none."""
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    readiness_gates: tuple[Readiness, ...] = ()
    termination_grace_period_seconds: int = 30
    restart_policy: str = "Always"
    priority: int = 0
    priority_class_name: str = ""
    host_network: bool = False
    resources: ResourceRequirements = ResourceRequirements()
    """Of the pod as a whole, where the cluster serves it."""
    overhead: Mapping[str, str] = {}
    os: PodOS = PodOS()


class Running(Wire, frozen=True):
    """Since when a container runs."""

    started_at: datetime | None = None


class Waiting(Wire, frozen=True):
    """Why a container does not run."""

    reason: str = ""
    message: str = ""


class Terminated(Wire, frozen=True):
    """How a container ended."""

    exit_code: int = 0
    reason: str = ""
    container_id: str = msgspec.field(default="", name="containerID")
    finished_at: datetime | None = None


class ContainerState(Wire, frozen=True):
    """One of the three is set."""

    running: Running | None = None
    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(Wire, frozen=True):
    """What the kubelet says of one container."""

    name: str
    container_id: str = msgspec.field(default="", name="containerID")
    """``containerd://…`` or ``cri-o://…``."""
    image: str = ""
    image_id: str = msgspec.field(default="", name="imageID")
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()
    resources: ResourceRequirements | None = None
    allocated_resources: Mapping[str, str] = {}


class LocalPodCondition(Wire, frozen=True, omit_defaults=False):
    """One aspect of the pod's state."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None
    observed_generation: int = 0


class LocalPodStatus(Wire, frozen=True):
    """What the kubelet, and we, say of the pod."""

    phase: str = ""
    qos_class: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    host_ip: str = msgspec.field(default="", name="hostIP")
    start_time: datetime | None = None
    observed_generation: int = 0
    resize: str = ""
    """Before 1.33: Proposed, InProgress, Deferred or Infeasible."""
    conditions: tuple[LocalPodCondition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    resources: ResourceRequirements | None = None
    allocated_resources: Mapping[str, str] = {}

    def of(self, container: str) -> ContainerStatus | None:
        """What the kubelet says of that container, be it one of the pod's own or an init container."""
        every = (*self.container_statuses, *self.init_container_statuses)
        return next((each for each in every if each.name == container), None)


class LocalPod(Wire, frozen=True):
    """One pod of the agent's own node."""

    metadata: ObjectMeta
    spec: LocalPodSpec = LocalPodSpec()
    status: LocalPodStatus = LocalPodStatus()
    api_version: str = "v1"
    kind: str = "Pod"
