"""The project itself as its users get it: its image, built as the Dockerfile says, and its Helm chart."""

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.testbed.api import Api, run
from tests.testbed.cluster import Cluster
from tests.testbed.images import Build, configured
from tests.testbed.imaging import CHECKOUT, Builder
from tests.testbed.layers import directory_layer
from tests.testbed.processes import until
from tests.testbed.programs import helm_binary
from tests.testbed.pushing import Image, ImageMaker
from tests.testbed.session import TestbedError, current_session

CHART: Final = CHECKOUT / "charts" / "inplaced"
RELEASE: Final = "inplaced"
NAMESPACE: Final = "inplaced"
WORKLOADS: Final = ("daemonset/inplaced-agent", "deployment/inplaced-controller")
READY_DEADLINE: Final = 120.0


def product_build() -> Build:
    """The project's image as it is in the checkout. Raises TestbedError."""
    stage, made = Builder().build()
    settings = {
        "Entrypoint": list(stage.entrypoint),
        "User": stage.user,
        "Env": [f"{name}={value}" for name, value in stage.env.items()],
        "Labels": dict(stage.labels),
    }
    return configured([directory_layer(files) for files in made.layers], settings)


@dataclass(frozen=True, slots=True)
class Helm:
    """Helm with all its files in *directory*, on the cluster of *api* or, without one, on none."""

    directory: Path
    api: Api | None = None

    async def __call__(self, *arguments: str, timeout: float = READY_DEADLINE) -> str:
        """Run it and return what it printed. Raises TestbedError with its errors."""
        program = await asyncio.to_thread(helm_binary)
        homes = {
            f"HELM_{name}_HOME": str(self.directory / name.lower()) for name in ("CACHE", "CONFIG", "DATA")
        }
        environ = os.environ | homes
        access = ["--kubeconfig", str(self.api.kubeconfig)] if self.api else []
        return await run([str(program), *access, *arguments], timeout=timeout, environ=environ)


async def push_product(cluster: Cluster) -> Image:
    """Build the image, if need be, and put it where the cluster pulls from."""
    build = await asyncio.to_thread(product_build)
    return await ImageMaker(cluster.registry, "testbed").store("inplaced", build)


@dataclass(frozen=True, slots=True)
class Installation:
    """A release of the chart in a cluster of the test bed."""

    cluster: Cluster
    image: Image
    namespace: str = NAMESPACE

    @property
    def helm(self) -> Helm:
        """On this cluster."""
        return Helm(self.cluster.directory / "helm", self.cluster.api)

    async def install(self, values: Mapping[str, Any] | None = None) -> None:
        """Install the chart, or change what is installed, and return when all its pods are ready."""
        await self.helm(
            *("upgrade", "--install", RELEASE, str(CHART), "--namespace", self.namespace),
            *("--create-namespace", "--values", str(self._write(self.values())), *self._given(values)),
        )
        await self.ready()

    async def ready(self) -> None:
        """Wait until every pod of the release is ready, in its newest version."""
        limit = f"--timeout={READY_DEADLINE:.0f}s"
        for workload in WORKLOADS:
            try:
                await self._kubectl("rollout", "status", workload, limit)
            except TestbedError as error:
                raise TestbedError(f"{error}\n{await self._symptoms()}") from error

    async def uninstall(self) -> None:
        """Remove the release and wait until its pods are gone."""
        await self.helm("uninstall", RELEASE, "--namespace", self.namespace, "--wait")
        pods = f"/api/v1/namespaces/{self.namespace}/pods"

        async def are_gone() -> bool:
            return not (await self.cluster.api.get(pods))["items"]

        # Helm waits for what it made, not for the pods that a DaemonSet made.
        await until(are_gone, timeout=READY_DEADLINE, what="the end of all pods", pause=0.1)

    def values(self) -> dict[str, Any]:
        """What the chart must be told of this cluster: its image, and what its node has elsewhere."""
        containerd = self.cluster.containerd
        snapshots = containerd.root / "io.containerd.snapshotter.v1.overlayfs"
        return {
            "image": {"repository": self.image.name, "digest": self.image.digest},
            "agent": {
                "runtime": {
                    "directories": [str(containerd.socket.parent)],
                    "sockets": [str(containerd.socket)],
                    "imageDirectories": [str(snapshots)],
                },
                "registryHostsDirectory": str(current_session().certificates),
            },
        }

    async def _symptoms(self) -> str:
        """What a person would look at first."""
        pods = await self._kubectl("get", "pods", "--output=wide")
        names = (await self._kubectl("get", "pods", "--output=name")).split()
        return "\n".join([pods, *[await self._log(name) for name in names]])

    async def _log(self, pod: str) -> str:
        try:
            return f"--- {pod}\n{await self._kubectl('logs', pod, '--tail=20')}"
        except TestbedError as error:  # It has not run.
            return f"--- {pod}\n{error}"

    async def _kubectl(self, *words: str) -> str:
        return await self.cluster.api.kubectl(
            *words, "--namespace", self.namespace, timeout=READY_DEADLINE + 10.0
        )

    def _given(self, values: Mapping[str, Any] | None) -> list[str]:
        return ["--values", str(self._write(values, "given.json"))] if values else []

    def _write(self, values: Mapping[str, Any], name: str = "values.json") -> Path:
        path = self.cluster.directory / name
        path.write_text(json.dumps(values))
        return path
