"""Turns messages of CRI into this project's data and back. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Protocol

from daemon.cri import types
from daemon.cri.v1 import runtime_pb2 as pb

_STATES: Final = {
    pb.CONTAINER_CREATED: types.ContainerState.CREATED,
    pb.CONTAINER_RUNNING: types.ContainerState.RUNNING,
    pb.CONTAINER_EXITED: types.ContainerState.EXITED,
}
_STATE_NUMBERS: Final = {
    **{state: number for number, state in _STATES.items()},
    types.ContainerState.UNKNOWN: pb.CONTAINER_UNKNOWN,
}


class _Sandbox(Protocol):
    """What a listed sandbox and the status of one have in common."""

    @property
    def id(self) -> str: ...
    @property
    def metadata(self) -> pb.PodSandboxMetadata: ...
    @property
    def state(self) -> pb.PodSandboxState: ...
    @property
    def created_at(self) -> int: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def annotations(self) -> Mapping[str, str]: ...


def moment(nanoseconds: int) -> datetime | None:
    """The time that CRI writes as nanoseconds since 1970; None for 0, which says that it did not happen."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC) if nanoseconds > 0 else None


def version(reply: pb.VersionResponse) -> types.Version:
    """Which runtime answers."""
    return types.Version(reply.runtime_name, reply.runtime_version, reply.runtime_api_version)


def conditions(reply: pb.StatusResponse) -> tuple[types.RuntimeCondition, ...]:
    """The runtime's conditions."""
    return tuple(
        types.RuntimeCondition(each.type, each.status, each.reason, each.message)
        for each in reply.status.conditions
    )


def image(message: pb.Image) -> types.Image:
    """An image on the node."""
    return types.Image(
        id=message.id,
        repo_tags=tuple(message.repo_tags),
        repo_digests=tuple(message.repo_digests),
        size=message.size,
        pinned=message.pinned,
        spec_image=message.spec.image,
    )


def image_filesystems(reply: pb.ImageFsInfoResponse) -> tuple[types.FsUsage, ...]:
    """The file systems of the images."""
    return tuple(_fs_usage(message) for message in reply.image_filesystems)


def container(message: pb.Container) -> types.Container:
    """One line of the list of containers."""
    return types.Container(
        id=message.id,
        name=message.metadata.name,
        attempt=message.metadata.attempt,
        sandbox_id=message.pod_sandbox_id,
        image=message.image.image,
        image_ref=message.image_ref,
        state=_STATES.get(message.state, types.ContainerState.UNKNOWN),
        created_at=moment(message.created_at),
        labels=dict(message.labels),
        annotations=dict(message.annotations),
    )


def container_status(reply: pb.ContainerStatusResponse) -> types.ContainerStatus:
    """All that the runtime says of one container."""
    status = reply.status
    return types.ContainerStatus(
        id=status.id,
        name=status.metadata.name,
        attempt=status.metadata.attempt,
        state=_STATES.get(status.state, types.ContainerState.UNKNOWN),
        created_at=moment(status.created_at),
        started_at=moment(status.started_at),
        finished_at=moment(status.finished_at),
        exit_code=status.exit_code,
        image=status.image.image,
        image_ref=status.image_ref,
        reason=status.reason,
        message=status.message,
        labels=dict(status.labels),
        annotations=dict(status.annotations),
        log_path=status.log_path,
        resources=_resources(status.resources.linux) if status.resources.HasField("linux") else None,
        info=dict(reply.info),
    )


def container_stats(message: pb.ContainerStats) -> types.ContainerStats:
    """What a container uses."""
    memory = message.memory
    return types.ContainerStats(
        id=message.attributes.id,
        name=message.attributes.metadata.name,
        labels=dict(message.attributes.labels),
        cpu_nanoseconds=_number(message.cpu, "usage_core_nano_seconds"),
        memory_working_set=_number(memory, "working_set_bytes"),
        memory_usage=_number(memory, "usage_bytes"),
        memory_rss=_number(memory, "rss_bytes"),
        writable_layer=_fs_usage(message.writable_layer) if message.HasField("writable_layer") else None,
    )


def sandbox(message: _Sandbox) -> types.PodSandbox:
    """One pod sandbox."""
    return types.PodSandbox(
        id=message.id,
        name=message.metadata.name,
        namespace=message.metadata.namespace,
        uid=message.metadata.uid,
        attempt=message.metadata.attempt,
        ready=message.state == pb.SANDBOX_READY,
        created_at=moment(message.created_at),
        labels=dict(message.labels),
        annotations=dict(message.annotations),
    )


def sandbox_status(reply: pb.PodSandboxStatusResponse) -> types.PodSandboxStatus:
    """All that the runtime says of one sandbox."""
    network = reply.status.network
    ips = (network.ip, *(each.ip for each in network.additional_ips))
    return types.PodSandboxStatus(sandbox(reply.status), tuple(ip for ip in ips if ip), dict(reply.info))


def auth_config(auth: types.Auth) -> pb.AuthConfig:
    """Credentials as CRI takes them."""
    return pb.AuthConfig(
        username=auth.username,
        password=auth.password,
        auth=auth.auth,
        server_address=auth.server_address,
        identity_token=auth.identity_token,
        registry_token=auth.registry_token,
    )


def sandbox_config(sandbox: types.Sandbox) -> pb.PodSandboxConfig:
    """The pod of a pull as CRI takes it."""
    return pb.PodSandboxConfig(labels=sandbox.labels, annotations=sandbox.annotations)


def linux_resources(resources: types.Resources) -> pb.LinuxContainerResources:
    """Limits as CRI takes them."""
    return pb.LinuxContainerResources(
        cpu_period=resources.cpu_period,
        cpu_quota=resources.cpu_quota,
        cpu_shares=resources.cpu_shares,
        memory_limit_in_bytes=resources.memory_limit,
        memory_swap_limit_in_bytes=resources.memory_swap_limit,
        oom_score_adj=resources.oom_score_adj,
        cpuset_cpus=resources.cpuset_cpus,
        cpuset_mems=resources.cpuset_mems,
        unified=resources.unified,
    )


def state_value(state: types.ContainerState) -> pb.ContainerStateValue:
    """A state as filters take it."""
    return pb.ContainerStateValue(state=_STATE_NUMBERS[state])


def _resources(message: pb.LinuxContainerResources) -> types.Resources:
    return types.Resources(
        cpu_period=message.cpu_period,
        cpu_quota=message.cpu_quota,
        cpu_shares=message.cpu_shares,
        memory_limit=message.memory_limit_in_bytes,
        memory_swap_limit=message.memory_swap_limit_in_bytes,
        oom_score_adj=message.oom_score_adj,
        cpuset_cpus=message.cpuset_cpus,
        cpuset_mems=message.cpuset_mems,
        unified=dict(message.unified),
    )


def _fs_usage(message: pb.FilesystemUsage) -> types.FsUsage:
    return types.FsUsage(
        message.fs_id.mountpoint, _number(message, "used_bytes"), _number(message, "inodes_used")
    )


def _number(message: pb.FilesystemUsage | pb.MemoryUsage | pb.CpuUsage, field: str) -> int | None:
    value: pb.UInt64Value = getattr(message, field)
    return value.value if message.HasField(field) else None
