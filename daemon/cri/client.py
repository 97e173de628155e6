"""The calls of CRI, one thin method each. Every method raises CriError."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Final

from daemon.cri import decoding, types
from daemon.cri.channel import Channel
from daemon.cri.errors import NotFoundError
from daemon.cri.v1 import runtime_pb2 as pb
from daemon.cri.v1.runtime_grpc import ImageServiceStub, RuntimeServiceStub

CALL_TIMEOUT: Final = 30.0
"""Seconds, for calls that only look things up; some thousand containers take a runtime a few."""
MARGIN: Final = 5.0
"""Seconds that a runtime gets on top of a time it enforces itself."""
LONGEST: Final = 2**31 - 1
"""Seconds: runtimes count in nanoseconds of 64 bits, and pods may ask for more grace than fits."""


class CriClient:
    """Image and runtime service of one runtime. *timeout*: seconds, for calls that take none of their own."""

    def __init__(self, channel: Channel, *, timeout: float = CALL_TIMEOUT) -> None:
        self.channel = channel
        self._timeout = timeout
        self._images: ImageServiceStub = channel.stub(ImageServiceStub)
        self._runtime: RuntimeServiceStub = channel.stub(RuntimeServiceStub)

    async def version(self) -> types.Version:
        """Ask for name and version of the runtime."""
        request = pb.VersionRequest()
        return decoding.version(
            await self.channel.call(self._runtime.Version, request, timeout=self._timeout)
        )

    async def status(self) -> tuple[types.RuntimeCondition, ...]:
        """Ask for the runtime's conditions."""
        request = pb.StatusRequest()
        return decoding.conditions(
            await self.channel.call(self._runtime.Status, request, timeout=self._timeout)
        )

    async def image_fs_info(self) -> tuple[types.FsUsage, ...]:
        """Ask on which file systems images lie, and how much they use there."""
        request = pb.ImageFsInfoRequest()
        return decoding.image_filesystems(
            await self.channel.call(self._images.ImageFsInfo, request, timeout=self._timeout)
        )

    async def list_images(self) -> tuple[types.Image, ...]:
        """List all images on the node."""
        request = pb.ListImagesRequest()
        reply = await self.channel.call(self._images.ListImages, request, timeout=self._timeout)
        return tuple(decoding.image(image) for image in reply.images)

    async def image_status(self, ref: str) -> types.Image | None:
        """Look an image up by reference or id; None when it is not on the node."""
        request = pb.ImageStatusRequest(image=pb.ImageSpec(image=ref))
        reply = await self.channel.call(self._images.ImageStatus, request, timeout=self._timeout)
        return decoding.image(reply.image) if reply.HasField("image") else None

    async def pull_image(
        self,
        ref: str,
        *,
        timeout: float,
        auth: types.Auth | None = None,
        sandbox: types.Sandbox | None = None,
    ) -> str:
        """Pull an image and return how the runtime names it. A cancel ends the pull in the runtime, too."""
        request = pb.PullImageRequest(
            image=pb.ImageSpec(image=ref),
            auth=None if auth is None else decoding.auth_config(auth),
            sandbox_config=None if sandbox is None else decoding.sandbox_config(sandbox),
        )
        return (await self.channel.call(self._images.PullImage, request, timeout=timeout)).image_ref

    async def remove_image(self, ref: str) -> None:
        """Remove an image with all its tags; an absent one is no error."""
        request = pb.RemoveImageRequest(image=pb.ImageSpec(image=ref))
        await self.channel.call(self._images.RemoveImage, request, timeout=self._timeout)

    async def list_containers(
        self,
        *,
        container_id: str = "",
        sandbox_id: str = "",
        pod_uid: str = "",
        labels: Mapping[str, str] | None = None,
        state: types.ContainerState | None = None,
    ) -> tuple[types.Container, ...]:
        """List the containers for which all that is given holds. *pod_uid* is the kubelet's label."""
        only = pb.ContainerFilter(
            id=container_id,
            pod_sandbox_id=sandbox_id,
            label_selector=_with_pod(labels, pod_uid),
            state=None if state is None else decoding.state_value(state),
        )
        request = pb.ListContainersRequest(filter=only)
        reply = await self.channel.call(self._runtime.ListContainers, request, timeout=self._timeout)
        return tuple(decoding.container(container) for container in reply.containers)

    async def container_status(self, container_id: str, *, verbose: bool = False) -> types.ContainerStatus:
        """Ask for all about one container; *verbose* adds the runtime's own record. Raises NotFoundError."""
        request = pb.ContainerStatusRequest(container_id=container_id, verbose=verbose)
        reply = await self.channel.call(self._runtime.ContainerStatus, request, timeout=self._timeout)
        return decoding.container_status(reply)

    async def stop_container(self, container_id: str, grace: float) -> None:
        """Stop a container, by force after *grace* seconds. Idempotent, also when the container is gone."""
        request = pb.StopContainerRequest(container_id=container_id, timeout=_whole_seconds(grace))
        with contextlib.suppress(NotFoundError):  # containerd 1.6 answers it, 2.x does not
            await self.channel.call(self._runtime.StopContainer, request, timeout=request.timeout + MARGIN)

    async def exec_sync(self, container_id: str, cmd: Sequence[str], timeout: float) -> types.ExecResult:
        """Run a program inside a container. Raises TimedOutError when it takes over *timeout* seconds."""
        request = pb.ExecSyncRequest(container_id=container_id, cmd=cmd, timeout=_whole_seconds(timeout))
        reply = await self.channel.call(self._runtime.ExecSync, request, timeout=request.timeout + MARGIN)
        return types.ExecResult(reply.exit_code, reply.stdout, reply.stderr)

    async def container_stats(self, container_id: str) -> types.ContainerStats:
        """Ask what one container uses. Raises NotFoundError."""
        request = pb.ContainerStatsRequest(container_id=container_id)
        reply = await self.channel.call(self._runtime.ContainerStats, request, timeout=self._timeout)
        return decoding.container_stats(reply.stats)

    async def list_container_stats(
        self, *, sandbox_id: str = "", pod_uid: str = "", labels: Mapping[str, str] | None = None
    ) -> tuple[types.ContainerStats, ...]:
        """List what the running containers use for which all that is given holds."""
        only = pb.ContainerStatsFilter(pod_sandbox_id=sandbox_id, label_selector=_with_pod(labels, pod_uid))
        request = pb.ListContainerStatsRequest(filter=only)
        reply = await self.channel.call(self._runtime.ListContainerStats, request, timeout=self._timeout)
        return tuple(decoding.container_stats(stats) for stats in reply.stats)

    async def list_pod_sandboxes(
        self,
        *,
        sandbox_id: str = "",
        pod_uid: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> tuple[types.PodSandbox, ...]:
        """List the sandboxes, also those that stopped, for which all that is given holds."""
        only = pb.PodSandboxFilter(id=sandbox_id, label_selector=_with_pod(labels, pod_uid))
        request = pb.ListPodSandboxRequest(filter=only)
        reply = await self.channel.call(self._runtime.ListPodSandbox, request, timeout=self._timeout)
        return tuple(decoding.sandbox(sandbox) for sandbox in reply.items)

    async def pod_sandbox_status(self, sandbox_id: str, *, verbose: bool = False) -> types.PodSandboxStatus:
        """Ask for all about one sandbox. Raises NotFoundError."""
        request = pb.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id, verbose=verbose)
        reply = await self.channel.call(self._runtime.PodSandboxStatus, request, timeout=self._timeout)
        return decoding.sandbox_status(reply)

    async def update_container_resources(self, container_id: str, resources: types.Resources) -> None:
        """Change the limits of a running container. Raises NotFoundError."""
        linux = decoding.linux_resources(resources)
        request = pb.UpdateContainerResourcesRequest(container_id=container_id, linux=linux)
        await self.channel.call(self._runtime.UpdateContainerResources, request, timeout=self._timeout)


def _with_pod(labels: Mapping[str, str] | None, pod_uid: str) -> dict[str, str]:
    return {**(labels or {}), **({types.POD_UID_LABEL: pod_uid} if pod_uid else {})}


def _whole_seconds(seconds: float) -> int:
    return min(max(0, math.ceil(seconds)), LONGEST)
