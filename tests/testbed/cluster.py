"""A whole Kubernetes of one node: every process of it real, all of it inside the test bed's namespaces."""

import asyncio
import subprocess
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.testbed import session
from tests.testbed.addresses import Addresses
from tests.testbed.api import Api
from tests.testbed.containerd import Containerd, Flavour
from tests.testbed.control_plane import MASTERS, ControlPlane
from tests.testbed.kubelet import Kubelet, connect_pods
from tests.testbed.processes import Process, together, until
from tests.testbed.programs import kubernetes_programs
from tests.testbed.pushing import ImageMaker
from tests.testbed.registry import Registry

NODE: Final = "node-1"
START_DEADLINE: Final = 90.0
PAUSE: Final = 0.05
REGISTRY_PORT: Final = 5000


@dataclass(slots=True, eq=False)
class Cluster:
    """One cluster. *directory* must be short: sockets lie below it."""

    directory: Path
    flavour: Flavour = "1.6"
    """Of its container runtime."""
    kubelet_settings: Mapping[str, Any] = field(default_factory=dict)
    apiserver_flags: Mapping[str, str] = field(default_factory=dict)
    node: str = NODE
    control_plane: ControlPlane = field(init=False)
    registry: Registry = field(init=False)
    """Reached by runtime and pods at the same address."""
    containerd: Containerd = field(init=False)
    kubelet: Kubelet = field(init=False)
    controllers: Process = field(init=False)
    scheduler: Process = field(init=False)
    _ends: AsyncExitStack = field(init=False, default_factory=AsyncExitStack)
    """How each thing that was started is ended."""

    def __post_init__(self) -> None:
        self.control_plane = ControlPlane(self.directory / "k", exposed=True, flags=self.apiserver_flags)

    @property
    def api(self) -> Api:
        """As an administrator sees it."""
        return self.control_plane.api

    @property
    def addresses(self) -> Addresses:
        """Where it listens."""
        return self.control_plane.addresses

    @property
    def pods_cgroup(self) -> str:
        """Parent of the cgroups of all its pods."""
        return f"{session.current_session().cgroup}/{self.directory.name}-pods"

    @property
    def images(self) -> ImageMaker:
        """Makes images in its registry."""
        return ImageMaker(self.registry)

    async def start(self) -> float:
        """Start it and return when pods can be made; the answer is how many seconds that took."""
        started = time.monotonic()
        self.directory.mkdir(parents=True, exist_ok=True)
        share_mounts()
        self.control_plane.reserve_addresses()
        self.addresses.bring_up()
        self._ends.callback(self.addresses.take_down)
        try:
            await together(self._start_control_plane(), self._start_runtime())
            await self._start_node()
        except BaseException:
            await self.stop()
            raise
        return time.monotonic() - started

    async def stop(self) -> None:
        """End all of it, pods included, in reverse order. Its files stay."""
        await self._ends.aclose()

    def remove(self) -> None:
        """Remove its files. It must be stopped."""
        session.unmount_below(self.directory)
        self.control_plane.remove()
        session.put_away(self.directory)

    async def _start_control_plane(self) -> None:
        await self.control_plane.start()
        self._ends.push_async_callback(self.control_plane.stop)

    async def _start_runtime(self) -> None:
        self.registry = Registry(self.directory / "r", self.addresses.node, REGISTRY_PORT)
        pause = f"{self.registry.host}/testbed/pause:v1"
        self.containerd = Containerd(self.flavour, self.directory / "c", pause)
        self.containerd.directory.mkdir()
        await asyncio.to_thread(connect_pods, self.containerd.directory, self.addresses)
        # Processes of pods are nobody's children: they end when nothing is left that would start others.
        self._ends.callback(session.remove_cgroup, self.pods_cgroup)
        for server in (self.registry, self.containerd):
            self._ends.push_async_callback(server.stop)
            await server.start()
        await ImageMaker(self.registry, "testbed").make_runnable("pause")

    async def _start_node(self) -> None:
        await asyncio.to_thread(self._prepare_node)
        self._ends.push_async_callback(self.kubelet.stop)
        self.kubelet.start()
        for process in (self.controllers, self.scheduler):
            self._ends.push_async_callback(process.kill)
            process.start()
        async with self.api.session() as client:
            for reached, what in ((self._has_accounts, "service accounts"), (self._is_ready, "the node")):
                await until(
                    lambda: reached(client),  # noqa: B023 - awaited within this turn of the loop
                    timeout=START_DEADLINE,
                    what=what,
                    pause=PAUSE,
                )

    def _prepare_node(self) -> None:
        plane = self.control_plane
        self.kubelet = Kubelet(
            directory=self.directory / "n",
            node=self.node,
            addresses=self.addresses,
            api=plane.client(f"system:node:{self.node}", ("system:nodes",)),
            serving=plane.authority.server("kubelet", [self.addresses.node], [self.node]),
            ca=plane.authority.certificate,
            runtime=self.containerd.endpoint,
            cgroup=self.pods_cgroup,
            settings=self.kubelet_settings,
        )
        self.controllers = self._process(
            "kube-controller-manager",
            {
                "service-account-private-key-file": str(plane.authority.directory / "accounts.key"),
                "root-ca-file": str(plane.authority.certificate),
                "kube-api-qps": "200",
                "kube-api-burst": "400",
            },
        )
        self.scheduler = self._process("kube-scheduler", {})

    def _process(self, name: str, flags: Mapping[str, str]) -> Process:
        user = self.control_plane.client(f"testbed:{name}", (MASTERS,))
        every = {
            "kubeconfig": str(user.kubeconfig),
            "leader-elect": "false",
            "secure-port": "0",
            **flags,
        }
        words = [f"--{flag}={value}" for flag, value in every.items()]
        return Process([kubernetes_programs()[name], *words], self.directory / f"{name}.log")

    async def _has_accounts(self, client: aiohttp.ClientSession) -> bool:
        self._check()
        async with client.get("/api/v1/namespaces/default/serviceaccounts/default") as answer:
            return answer.status == 200

    async def _is_ready(self, client: aiohttp.ClientSession) -> bool:
        self._check()
        async with client.get(f"/api/v1/nodes/{self.node}") as answer:
            return answer.status == 200 and is_ready(await answer.json())

    def _check(self) -> None:
        processes = (self.controllers, self.scheduler, self.kubelet.process, self.control_plane.apiserver)
        for process in processes:
            if not process.running:
                raise process.failed("the cluster did not come up")


def is_ready(node: Mapping[str, Any]) -> bool:
    """Whether pods would be scheduled there."""
    conditions = {each["type"]: each["status"] for each in node["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and not node["spec"].get("taints")


def share_mounts() -> None:
    """Have containers see later mounts where they ask for that, as on any node: in this namespace only."""
    subprocess.run(["mount", "--make-rshared", "/"], check=True)
