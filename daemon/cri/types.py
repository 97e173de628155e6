"""What the client of a container runtime takes and gives: frozen data, free of protobuf. Sizes are bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import msgspec

POD_UID_LABEL = "io.kubernetes.pod.uid"
"""The kubelet's label on sandboxes and containers."""


class Version(msgspec.Struct, frozen=True):
    """Which runtime answers."""

    runtime_name: str
    """What stands before ``://`` in a pod's containerID."""
    runtime_version: str
    api_version: str


class RuntimeCondition(msgspec.Struct, frozen=True):
    """One aspect of a runtime's health."""

    type: str
    ok: bool
    reason: str = ""
    message: str = ""


class FsUsage(msgspec.Struct, frozen=True):
    """How much of a file system one store of the runtime uses. None where the runtime does not know (yet)."""

    mountpoint: str
    used_bytes: int | None
    inodes_used: int | None


class Image(msgspec.Struct, frozen=True):
    """An image that is on the node."""

    id: str
    repo_tags: tuple[str, ...]
    repo_digests: tuple[str, ...]
    size: int
    pinned: bool
    spec_image: str
    """The reference it was listed under, where the runtime says so."""


@dataclass(frozen=True, slots=True)
class Auth:
    """Credentials of one pull. Shows nothing of itself."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    auth: str = field(default="", repr=False)
    """Base64 of ``username:password``."""
    server_address: str = field(default="", repr=False)
    """Where set, runtimes use the rest for this host only."""
    identity_token: str = field(default="", repr=False)
    """OAuth2 refresh token."""
    registry_token: str = field(default="", repr=False)
    """Bearer token for the registry itself."""


class Sandbox(msgspec.Struct, frozen=True):
    """For whom an image is pulled. Snapshotters and mirrors may look at it."""

    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


class ContainerState(StrEnum):
    """In which state a container is."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    UNKNOWN = "unknown"


class Container(msgspec.Struct, frozen=True):
    """One line of the list of containers."""

    id: str
    name: str
    attempt: int
    sandbox_id: str
    image: str
    """As it was asked for."""
    image_ref: str
    """As the runtime resolved it."""
    state: ContainerState
    created_at: datetime | None
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


class Resources(msgspec.Struct, frozen=True):
    """Limits of a container on Linux. In an update, 0 and "" leave a value as it is."""

    cpu_period: int = 0
    """Microseconds."""
    cpu_quota: int = 0
    """Microseconds a period; -1 is no limit."""
    cpu_shares: int = 0
    memory_limit: int = 0
    memory_swap_limit: int = 0
    oom_score_adj: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    unified: Mapping[str, str] = {}
    """Files of cgroup v2 by name."""


class ContainerStatus(msgspec.Struct, frozen=True):
    """All that the runtime says of one container."""

    id: str
    name: str
    attempt: int
    state: ContainerState
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    exit_code: int
    image: str
    image_ref: str
    reason: str
    message: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    log_path: str
    resources: Resources | None
    """None in runtimes that do not report them."""
    info: Mapping[str, str]
    """Empty unless asked for verbosely; the key ``info`` is JSON with pid and runtime spec."""


class ExecResult(msgspec.Struct, frozen=True):
    """What a program that ran inside a container left."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class ContainerStats(msgspec.Struct, frozen=True):
    """What a container uses. None where the runtime does not know (yet)."""

    id: str
    name: str
    labels: Mapping[str, str]
    cpu_nanoseconds: int | None
    """CPU time since the container started."""
    memory_working_set: int | None
    memory_usage: int | None
    memory_rss: int | None
    writable_layer: FsUsage | None


class PodSandbox(msgspec.Struct, frozen=True):
    """One line of the list of pod sandboxes."""

    id: str
    name: str
    namespace: str
    uid: str
    attempt: int
    ready: bool
    created_at: datetime | None
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


class PodSandboxStatus(msgspec.Struct, frozen=True):
    """All that the runtime says of one sandbox."""

    sandbox: PodSandbox
    ips: tuple[str, ...]
    """Empty with the node's network."""
    info: Mapping[str, str]
    """Empty unless asked for verbosely."""
