"""What a fake runtime knows: images, containers and sandboxes, with containerd's answers. No server."""

import hashlib
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from google.protobuf.json_format import MessageToDict
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from daemon.cri.v1 import runtime_pb2 as pb


def digest_of(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@dataclass(slots=True, eq=False)
class FakeHoldings:
    """One method a call of CRI, named like it: request in, reply out, GRPCError when it fails."""

    name: str = "containerd"
    version: str = "2.3.7"
    ready: bool | None = True
    """None leaves the condition out."""
    offered: dict[str, pb.Image] = field(default_factory=dict)
    """What the registries have, by reference."""
    images: dict[str, pb.Image] = field(default_factory=dict)
    """What is on the node, by id."""
    containers: dict[str, pb.ContainerStatus] = field(default_factory=dict)
    working_sets: dict[str, int] = field(default_factory=dict)
    """By container, the bytes that it uses, where it is not the usual."""
    sandbox_of: dict[str, str] = field(default_factory=dict)
    configs: dict[str, pb.ContainerConfig] = field(default_factory=dict)
    """As containers were made, by id."""
    sandboxes: dict[str, pb.PodSandbox] = field(default_factory=dict)
    mountpoint: str = "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs"
    exit_codes: dict[str, int] = field(default_factory=dict)
    """How commands end that do not succeed, by their first word."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def offer(self, ref: str, size: int = 1000) -> pb.Image:
        """Put an image into its registry: ``host/name:tag``, to be found by its digest too."""
        repository = ref.rpartition(":")[0]
        by_digest = f"{repository}@{digest_of('manifest of ' + ref)}"
        image = pb.Image(
            id=digest_of("config of " + ref), repo_tags=[ref], repo_digests=[by_digest], size=size
        )
        self.offered[ref] = self.offered[by_digest] = image
        return image

    def Version(self, request: pb.VersionRequest) -> pb.VersionResponse:
        return pb.VersionResponse(
            version="0.1.0",
            runtime_name=self.name,
            runtime_version=self.version,
            runtime_api_version="v1",
        )

    def Status(self, request: pb.StatusRequest) -> pb.StatusResponse:
        conditions = [pb.RuntimeCondition(type="NetworkReady", reason="NetworkPluginNotReady")]
        if self.ready:
            conditions.append(pb.RuntimeCondition(type="RuntimeReady", status=True))
        elif self.ready is not None:
            told = pb.RuntimeCondition(type="RuntimeReady", reason="RuntimeDown", message="told to")
            conditions.append(told)
        return pb.StatusResponse(status=pb.RuntimeStatus(conditions=conditions))

    def ImageFsInfo(self, request: pb.ImageFsInfoRequest) -> pb.ImageFsInfoResponse:
        usage = pb.FilesystemUsage(
            timestamp=time.time_ns(),
            fs_id=pb.FilesystemIdentifier(mountpoint=self.mountpoint),
            used_bytes=pb.UInt64Value(value=sum(image.size for image in self.images.values())),
            inodes_used=pb.UInt64Value(value=len(self.images)),
        )
        return pb.ImageFsInfoResponse(image_filesystems=[usage])

    def ListImages(self, request: pb.ListImagesRequest) -> pb.ListImagesResponse:
        return pb.ListImagesResponse(images=self.images.values())

    def ImageStatus(self, request: pb.ImageStatusRequest) -> pb.ImageStatusResponse:
        return pb.ImageStatusResponse(image=self._image(request.image.image))

    def PullImage(self, request: pb.PullImageRequest) -> pb.PullImageResponse:
        ref = request.image.image
        image = self.offered.get(ref)
        if image is None:
            raise GRPCError(Status.NOT_FOUND, f'failed to resolve reference "{ref}": {ref}: not found')
        known = self.images.setdefault(image.id, pb.Image(id=image.id, size=image.size))
        known.repo_digests[:] = sorted({*known.repo_digests, *image.repo_digests})
        if "@" not in ref:
            known.repo_tags[:] = sorted({*known.repo_tags, ref})
        return pb.PullImageResponse(image_ref=image.id)

    def RemoveImage(self, request: pb.RemoveImageRequest) -> pb.RemoveImageResponse:
        image = self._image(request.image.image)
        if image is not None:
            del self.images[image.id]
        return pb.RemoveImageResponse()

    def RunPodSandbox(self, request: pb.RunPodSandboxRequest) -> pb.RunPodSandboxResponse:
        config = request.config
        new = digest_of(f"sandbox {next(self._numbers)}").removeprefix("sha256:")
        self.sandboxes[new] = pb.PodSandbox(
            id=new,
            metadata=config.metadata,
            created_at=time.time_ns(),
            labels=config.labels,
            annotations=config.annotations,
        )
        return pb.RunPodSandboxResponse(pod_sandbox_id=new)

    def StopPodSandbox(self, request: pb.StopPodSandboxRequest) -> pb.StopPodSandboxResponse:
        sandbox = self.sandboxes.get(request.pod_sandbox_id)
        if sandbox is not None:
            sandbox.state = pb.SANDBOX_NOTREADY
        for container_id, sandbox_id in self.sandbox_of.items():
            if sandbox_id == request.pod_sandbox_id:
                self._end(self.containers[container_id])
        return pb.StopPodSandboxResponse()

    def RemovePodSandbox(self, request: pb.RemovePodSandboxRequest) -> pb.RemovePodSandboxResponse:
        self.sandboxes.pop(request.pod_sandbox_id, None)
        inside = [each for each, sandbox in self.sandbox_of.items() if sandbox == request.pod_sandbox_id]
        for container_id in inside:
            del self.containers[container_id], self.sandbox_of[container_id]
        return pb.RemovePodSandboxResponse()

    def ListPodSandbox(self, request: pb.ListPodSandboxRequest) -> pb.ListPodSandboxResponse:
        only = request.filter
        wanted = only.label_selector.items()
        return pb.ListPodSandboxResponse(
            items=[
                sandbox
                for sandbox in self.sandboxes.values()
                if only.id in {"", sandbox.id} and wanted <= sandbox.labels.items()
            ]
        )

    def PodSandboxStatus(self, request: pb.PodSandboxStatusRequest) -> pb.PodSandboxStatusResponse:
        sandbox = self.sandboxes.get(request.pod_sandbox_id)
        if sandbox is None:
            raise GRPCError(Status.NOT_FOUND, f'sandbox "{request.pod_sandbox_id}": not found')
        status = pb.PodSandboxStatus(
            id=sandbox.id,
            metadata=sandbox.metadata,
            state=sandbox.state,
            created_at=sandbox.created_at,
            network=pb.PodSandboxNetworkStatus(),
            labels=sandbox.labels,
            annotations=sandbox.annotations,
        )
        return pb.PodSandboxStatusResponse(status=status, info=_info(request.verbose, {"pid": 1}))

    def CreateContainer(self, request: pb.CreateContainerRequest) -> pb.CreateContainerResponse:
        config = request.config
        new = digest_of(f"container {next(self._numbers)}").removeprefix("sha256:")
        image = self._image(config.image.image)
        self.configs[new] = config
        self.containers[new] = pb.ContainerStatus(
            id=new,
            metadata=config.metadata,
            created_at=time.time_ns(),
            image=config.image,
            image_ref=image.id if image else "",
            labels=config.labels,
            annotations=config.annotations,
            resources=pb.ContainerResources(linux=config.linux.resources),
        )
        self.sandbox_of[new] = request.pod_sandbox_id
        return pb.CreateContainerResponse(container_id=new)

    def StartContainer(self, request: pb.StartContainerRequest) -> pb.StartContainerResponse:
        status = self._container(request.container_id)
        status.state, status.started_at = pb.CONTAINER_RUNNING, time.time_ns()
        return pb.StartContainerResponse()

    def StopContainer(self, request: pb.StopContainerRequest) -> pb.StopContainerResponse:
        status = self.containers.get(request.container_id)
        if status is not None:
            self._end(status)
        return pb.StopContainerResponse()

    def RemoveContainer(self, request: pb.RemoveContainerRequest) -> pb.RemoveContainerResponse:
        self.containers.pop(request.container_id, None)
        self.sandbox_of.pop(request.container_id, None)
        return pb.RemoveContainerResponse()

    def ListContainers(self, request: pb.ListContainersRequest) -> pb.ListContainersResponse:
        return pb.ListContainersResponse(
            containers=[
                pb.Container(
                    id=status.id,
                    pod_sandbox_id=self.sandbox_of.get(status.id, ""),
                    metadata=status.metadata,
                    image=status.image,
                    image_ref=status.image_ref,
                    state=status.state,
                    created_at=status.created_at,
                    labels=status.labels,
                    annotations=status.annotations,
                )
                for status in self.containers.values()
                if self._chosen(status, request.filter)
            ]
        )

    def ContainerStatus(self, request: pb.ContainerStatusRequest) -> pb.ContainerStatusResponse:
        status = self._container(request.container_id)
        info = _record(self.configs.get(request.container_id, pb.ContainerConfig()))
        return pb.ContainerStatusResponse(status=status, info=_info(request.verbose, info))

    def UpdateContainerResources(
        self, request: pb.UpdateContainerResourcesRequest
    ) -> pb.UpdateContainerResourcesResponse:
        status = self._container(request.container_id)
        status.resources.linux.MergeFrom(request.linux)  # Merging leaves what is 0, as runtimes do.
        return pb.UpdateContainerResourcesResponse()

    def ExecSync(self, request: pb.ExecSyncRequest) -> pb.ExecSyncResponse:
        self._container(request.container_id)
        code = self.exit_codes.get(request.cmd[0], 0) if request.cmd else 0
        return pb.ExecSyncResponse(stdout=" ".join(request.cmd).encode(), exit_code=code)

    def ContainerStats(self, request: pb.ContainerStatsRequest) -> pb.ContainerStatsResponse:
        return pb.ContainerStatsResponse(stats=self._stats(self._container(request.container_id)))

    def ListContainerStats(self, request: pb.ListContainerStatsRequest) -> pb.ListContainerStatsResponse:
        only = pb.ContainerFilter(
            pod_sandbox_id=request.filter.pod_sandbox_id, label_selector=request.filter.label_selector
        )
        chosen = [status for status in self.containers.values() if self._chosen(status, only)]
        running = [status for status in chosen if status.state == pb.CONTAINER_RUNNING]
        return pb.ListContainerStatsResponse(stats=[self._stats(status) for status in running])

    def _image(self, ref: str) -> pb.Image | None:
        for image in self.images.values():
            if ref in {image.id, *image.repo_tags, *image.repo_digests}:
                return image
        return None

    def _container(self, container_id: str) -> pb.ContainerStatus:
        status = self.containers.get(container_id)
        if status is None:
            text = f'an error occurred when try to find container "{container_id}": not found'
            raise GRPCError(Status.NOT_FOUND, text)
        return status

    def _chosen(self, status: pb.ContainerStatus, only: pb.ContainerFilter) -> bool:
        return (
            only.id in {"", status.id}
            and only.pod_sandbox_id in {"", self.sandbox_of.get(status.id, "")}
            and (not only.HasField("state") or only.state.state == status.state)
            and only.label_selector.items() <= status.labels.items()
        )

    def _stats(self, status: pb.ContainerStatus) -> pb.ContainerStats:
        attributes = pb.ContainerAttributes(id=status.id, metadata=status.metadata, labels=status.labels)
        used = self.working_sets.get(status.id, 2_000_000)
        return pb.ContainerStats(
            attributes=attributes,
            cpu=pb.CpuUsage(usage_core_nano_seconds=pb.UInt64Value(value=1_000_000)),
            memory=pb.MemoryUsage(working_set_bytes=pb.UInt64Value(value=used)),
        )

    def _end(self, status: pb.ContainerStatus) -> None:
        if status.state == pb.CONTAINER_RUNNING:
            status.state, status.finished_at = pb.CONTAINER_EXITED, time.time_ns()
            status.exit_code, status.reason = 137, "Error"


def _record(config: pb.ContainerConfig) -> dict[str, object]:
    """What containerd keeps of a container: what was asked for, and the OCI spec that came of it."""
    variables = [f"{each.key}={each.value}" for each in config.envs]
    return {
        "pid": 1,
        "config": MessageToDict(config, preserving_proto_field_name=True),
        "runtimeSpec": {"process": {"args": [*config.command, *config.args], "env": variables}},
    }


def _info(verbose: bool, info: object) -> dict[str, str]:
    return {"info": json.dumps(info)} if verbose else {}
