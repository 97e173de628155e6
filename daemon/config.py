"""Everything a process can be told from outside: checked once, then never changed.

One frozen dataclass a process; ``daemon.settings`` reads it.
"""

import dataclasses
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

LogLevel = Literal["debug", "info", "warning", "error"]
LogForm = Literal["auto", "json", "text"]

_INT32 = 2**31 - 1


def _matching(description: str, pattern: str, allowed: str) -> Meta:
    return Meta(description=description, pattern=pattern, extra={"allowed": allowed})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings that the node agent and the standalone process share."""

    node_name: Annotated[
        str,
        _matching(
            "Name of this node.",
            r"^(?=.{1,253}$)[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
            "a DNS name in lower case, at most 253 characters",
        ),
    ] = "localhost"
    runtime: Annotated[
        tuple[Annotated[str, Meta(pattern="^(unix://)?/")], ...],
        Meta(
            description="CRI sockets of the node; empty: look in the usual places.",
            extra={"allowed": "absolute paths of unix sockets, separated by commas"},
        ),
    ] = ()
    host_root: Annotated[Path, Meta(description="Where the host's root directory is seen.")] = Path("/")
    pull_workers: Annotated[int, Meta(ge=1, le=64, description="Pulls at the same time on this node.")] = 2
    pull_backoff: Annotated[
        float, Meta(gt=0, le=3600, description="Seconds before the first retry of a pull; doubles each time.")
    ] = 1.0
    pull_backoff_max: Annotated[
        float, Meta(gt=0, le=86400, description="Longest pause between two attempts, seconds.")
    ] = 300.0
    measure_images: Annotated[
        bool,
        Meta(description="Read an image's size from its registry before pulling: one more manifest request."),
    ] = True
    space_retry: Annotated[
        float, Meta(gt=0, le=3600, description="Seconds between two looks at a full disk.")
    ] = 10.0
    disk_reserve_percent: Annotated[
        float,
        Meta(
            ge=0,
            le=95,
            description="Percent of the image file system that pulls leave free; the kubelet evicts at 15.",
        ),
    ] = 15.0
    unpack_factor: Annotated[
        float,
        Meta(ge=1, le=20, description="Disk an image needs, as a multiple of its compressed missing layers."),
    ] = 2.5
    disk_floor_mib: Annotated[
        int,
        Meta(ge=0, le=_INT32, description="MiB that must be available when an image's size cannot be read."),
    ] = 1024
    registry_timeout: Annotated[
        float, Meta(gt=0, le=300, description="Seconds to read an image's size from its registry.")
    ] = 5.0
    registry_hosts_dir: Annotated[Path, Meta(description="containerd's directory of hosts.toml files.")] = (
        Path("/etc/containerd/certs.d")
    )
    docker_config: Annotated[
        Path | None, Meta(description="A docker config.json whose credentials serve every pull.")
    ] = None
    credential_provider_config: Annotated[
        Path | None, Meta(description="The kubelet's CredentialProviderConfig file.")
    ] = None
    credential_provider_bin_dir: Annotated[
        Path | None, Meta(description="Directory of the credential provider plugins.")
    ] = None
    progress_interval: Annotated[
        float, Meta(ge=0.1, le=10, description="Seconds between two looks at a running pull.")
    ] = 0.5
    status_interval: Annotated[
        float,
        Meta(ge=0.5, le=600, description="Shortest time between two progress-only status writes, seconds."),
    ] = 2.0
    listen: Annotated[
        str,
        _matching(
            "Address of metrics, probes and the status page.",
            r"^((\[[^\[\]]+\]|[^:\[\]]*):[0-9]{1,5})?$",
            "HOST:PORT, [IPV6]:PORT, or nothing for none",
        ),
    ] = "127.0.0.1:10231"
    socket: Annotated[
        str,
        Meta(
            description="Unix socket of the command line tool.",
            extra={"allowed": "a path, or nothing for none"},
        ),
    ] = "/run/inplaced/inplaced.sock"
    allowed_uids: Annotated[
        tuple[Annotated[int, Meta(ge=0, lt=2**32 - 1)], ...],
        Meta(
            description="Users that may use that socket, beside root and the agent's own: "
            "they have any image pulled, with the node's credentials.",
            extra={"allowed": "user ids, separated by commas"},
        ),
    ] = ()
    shutdown_grace: Annotated[
        float, Meta(ge=0, le=3600, description="Seconds to finish work after SIGTERM.")
    ] = 10.0
    log_level: Annotated[LogLevel, Meta(description="Least level that is logged.")] = "info"
    log_format: Annotated[
        LogForm, Meta(description="Form of the log; auto is text on a terminal, else json.")
    ] = "auto"

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other. Raises ValueError."""
        if (self.credential_provider_config is None) != (self.credential_provider_bin_dir is None):
            raise ValueError("--credential-provider-config and --credential-provider-bin-dir go together")
        if self.pull_backoff_max < self.pull_backoff:
            raise ValueError(
                f"--pull-backoff-max {self.pull_backoff_max} is below --pull-backoff {self.pull_backoff}"
            )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StandaloneConfig(Config):
    """Settings of ``inplaced standalone``."""

    manifests: Annotated[
        Path, Meta(description="Directory of job and Secret manifests (YAML or JSON), watched.")
    ]
    state: Annotated[Path, Meta(description="Directory in which status is kept.")] = Path("/var/lib/inplaced")
    node_labels: Annotated[
        Mapping[str, str],
        Meta(description="Labels of this node that selectors are matched against: a=b,c=d."),
    ] = dataclasses.field(default_factory=dict)
    default_ttl_seconds: Annotated[
        int,
        Meta(
            ge=0, le=_INT32, description="Seconds that an ended request without a TTL keeps its image pinned."
        ),
    ] = 300


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig(Config):
    """Settings of ``inplaced agent``."""

    node_name: Annotated[
        str,
        _matching(
            "Name of this node.",
            r"^(?=.{1,253}$)[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
            "a DNS name in lower case, at most 253 characters",
        ),
    ]
    kubeconfig: Annotated[
        Path | None, Meta(description="How the API server is reached; nothing: with the pod's own account.")
    ] = None
    restart_debounce: Annotated[
        float,
        Meta(
            ge=0,
            le=60,
            description="Seconds without a further change of a pod's labels and annotations,"
            " after which its containers are restarted for it.",
        ),
    ] = 0.05
    namespace: Annotated[
        str,
        _matching(
            "Namespace of the release: the agent's Lease is in it.",
            r"^(?=.{1,50}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            "a DNS label of at most 50 characters",
        ),
    ] = "inplaced"
    heartbeat_interval: Annotated[
        float,
        Meta(
            ge=1,
            le=20,
            description="Seconds between two signs of life in the Lease, which lapses after 2.5 of them.",
        ),
    ] = 20.0
    state: Annotated[
        Path | None,
        Meta(description="Directory in which the key for sealed secrets is kept; nothing: in memory only."),
    ] = None

    memory_margin_mib: Annotated[
        int,
        Meta(
            ge=0,
            le=_INT32,
            description="MiB that a lowered memory limit must lie above what its container uses.",
        ),
    ] = 16
    resize_check_interval: Annotated[
        float,
        Meta(
            ge=1,
            le=86400,
            description="Seconds between two looks whether the runtime keeps what was resized.",
        ),
    ] = 60.0

    @property
    def memory_margin_bytes(self) -> int:
        """The margin above what a container uses."""
        return self.memory_margin_mib * 1024**2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ControllerConfig:
    """Settings of ``inplaced controller``."""

    identity: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=253,
            description="Name of this candidate for leading: unlike the others'.",
        ),
    ] = dataclasses.field(default_factory=socket.gethostname)
    kubeconfig: Annotated[
        Path | None, Meta(description="How the API server is reached; nothing: with the pod's own account.")
    ] = None
    namespace: Annotated[
        str,
        _matching(
            "Namespace of the release: Leases are in it.",
            r"^(?=.{1,50}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            "a DNS label of at most 50 characters",
        ),
    ] = "inplaced"
    default_ttl_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=_INT32,
            description="Seconds that a node keeps an ended job's image pinned, without a TTL.",
        ),
    ] = 300
    restart_strategy: Annotated[
        Literal["stop", "image-alias"],
        Meta(
            description="How a container is restarted that the kubelet would hold back: stop it and wait"
            " out the back-off, or give it another reference to its own image."
        ),
    ] = "image-alias"
    restart_debounce: Annotated[
        float,
        Meta(
            ge=0,
            le=60,
            description="Seconds without a further change of a pod's labels and annotations,"
            " after which its image gets another reference.",
        ),
    ] = 0.05
    silence: Annotated[
        float,
        Meta(
            ge=25,
            le=3600,
            description="Seconds without a sign of life after which an agent counts as silent.",
        ),
    ] = 55.0
    clone_sets: Annotated[
        bool, Meta(description="Look after CloneSets; not where OpenKruise's manager does.")
    ] = True
    listen: Annotated[
        str,
        _matching(
            "Address of metrics, probes and the status page.",
            r"^((\[[^\[\]]+\]|[^:\[\]]*):[0-9]{1,5})?$",
            "HOST:PORT, [IPV6]:PORT, or nothing for none",
        ),
    ] = "127.0.0.1:10231"
    log_level: Annotated[LogLevel, Meta(description="Least level that is logged.")] = "info"
    log_format: Annotated[
        LogForm, Meta(description="Form of the log; auto is text on a terminal, else json.")
    ] = "auto"
