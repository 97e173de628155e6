"""Runs containers through CRI, as the kubelet would: the product itself never creates any."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from grpclib.client import Channel

from daemon.cri.v1 import runtime_pb2 as pb
from daemon.cri.v1.runtime_grpc import ImageServiceStub, RuntimeServiceStub
from tests.testbed.containerd import Containerd

DEADLINE = 60.0


@dataclass(frozen=True, slots=True)
class Running:
    """One started container in its sandbox."""

    container_id: str
    sandbox_id: str
    sandbox: pb.PodSandboxConfig


@dataclass(slots=True, eq=False)
class Pods:
    """Pods of one container each, on the network of the test bed: a context, which leaves them running."""

    containerd: Containerd
    started: list[Running] = field(default_factory=list)
    _channel: Channel | None = None

    async def run(
        self,
        name: str,
        image: str,
        command: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        memory: int = 0,
    ) -> Running:
        """Pull *image*, start a sandbox and one container in it; *memory* limits it to so many bytes."""
        await self._images.PullImage(pb.PullImageRequest(image=pb.ImageSpec(image=image)), timeout=DEADLINE)
        sandbox = self._sandbox(name, labels or {}, annotations or {})
        answer = await self._runtime.RunPodSandbox(pb.RunPodSandboxRequest(config=sandbox), timeout=DEADLINE)
        config = pb.ContainerConfig(
            metadata=pb.ContainerMetadata(name=name),
            image=pb.ImageSpec(image=image),
            command=command,
            envs=[pb.KeyValue(key=key, value=value) for key, value in (env or {}).items()],
            labels=labels or {},
            annotations=annotations or {},
            linux=pb.LinuxContainerConfig(resources=pb.LinuxContainerResources(memory_limit_in_bytes=memory)),
        )
        return await self.start(answer.pod_sandbox_id, sandbox, config)

    async def start(
        self, sandbox_id: str, sandbox: pb.PodSandboxConfig, config: pb.ContainerConfig
    ) -> Running:
        """Create and start one more container in a sandbox."""
        create = pb.CreateContainerRequest(pod_sandbox_id=sandbox_id, config=config, sandbox_config=sandbox)
        created = await self._runtime.CreateContainer(create, timeout=DEADLINE)
        running = Running(created.container_id, sandbox_id, sandbox)
        self.started.append(running)
        start = pb.StartContainerRequest(container_id=created.container_id)
        await self._runtime.StartContainer(start, timeout=DEADLINE)
        return running

    async def remove_all(self) -> None:
        """Stop and remove every pod that this started."""
        for sandbox_id in {running.sandbox_id for running in self.started}:
            stop = pb.StopPodSandboxRequest(pod_sandbox_id=sandbox_id)
            await self._runtime.StopPodSandbox(stop, timeout=DEADLINE)
            remove = pb.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id)
            await self._runtime.RemovePodSandbox(remove, timeout=DEADLINE)
        self.started.clear()

    async def __aenter__(self) -> Self:
        self._channel = Channel(path=str(self.containerd.socket))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._connected.close()

    @property
    def _runtime(self) -> Any:
        return RuntimeServiceStub(self._connected)

    @property
    def _images(self) -> Any:
        return ImageServiceStub(self._connected)

    @property
    def _connected(self) -> Channel:
        assert self._channel is not None
        return self._channel

    def _sandbox(
        self, name: str, labels: Mapping[str, str], annotations: Mapping[str, str]
    ) -> pb.PodSandboxConfig:
        options = pb.NamespaceOption(network=pb.NODE, pid=pb.CONTAINER)
        return pb.PodSandboxConfig(
            metadata=pb.PodSandboxMetadata(name=name, uid=f"uid-of-{name}", namespace="default"),
            labels=labels,
            annotations=annotations,
            linux=pb.LinuxPodSandboxConfig(
                cgroup_parent=self.containerd.cgroup_parent,
                security_context=pb.LinuxSandboxSecurityContext(namespace_options=options),
            ),
        )
