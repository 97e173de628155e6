"""What acts on pods of a node, on a fake API server and a fake runtime."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.config import AgentConfig
from daemon.cri.v1 import runtime_pb2 as pb
from daemon.engine.clock import SystemClock
from daemon.kube.access import Fixed
from daemon.kube.cache import number
from daemon.kube.client import ApiClient
from daemon.kube.decoding import decoded
from daemon.kube.events import EventRecorder
from daemon.kube.pod_reports import PodReports
from daemon.kube.resources import WHOLE_PODS
from daemon.localpods.surroundings import PodSurroundings
from daemon.metrics import Metrics
from daemon.objects.local_pods import LocalPod
from daemon.pod_side import pods_of
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.following import following, running, until
from tests.fakes.runtime import FakeRuntime, serving
from tests.functional.watched_runtimes import ready, watching

NODE = "node-7"


@dataclass(slots=True)
class PodWorld:
    """One node of a cluster, and what its features work with."""

    server: FakeApiServer
    runtime: FakeRuntime
    around: PodSurroundings

    def start_container(self, uid: str, name: str, *, attempt: int = 0) -> str:
        """Run a container as the kubelet would; return its ID as pods tell it."""
        node = self.runtime.node
        config = pb.ContainerConfig(
            metadata=pb.ContainerMetadata(name=name, attempt=attempt),
            labels={"io.kubernetes.pod.uid": uid, "io.kubernetes.container.name": name},
            annotations={"io.kubernetes.container.restartCount": str(attempt)},
        )
        made = node.CreateContainer(pb.CreateContainerRequest(pod_sandbox_id=f"s-{uid}", config=config))
        node.StartContainer(pb.StartContainerRequest(container_id=made.container_id))
        return f"containerd://{made.container_id}"

    def state_of(self, container_id: str) -> int:
        """In which state the runtime has it."""
        return int(self.runtime.node.containers[container_id.removeprefix("containerd://")].state)

    def store(self, document: dict[str, Any]) -> LocalPod:
        """Store a pod as the kubelet would; return it whole."""
        stored = self.server.store("pods", document)
        return decoded(WHOLE_PODS, json.dumps(stored).encode())

    async def seen(self, pod: LocalPod) -> None:
        """Return when the agent knows that pod as it is stored now."""
        key, version = pod.metadata.key, pod.metadata.resource_version

        def known() -> bool:
            found = self.around.pods.get(key)
            return found is not None and number(found.metadata.resource_version) >= number(version)

        await until(self.around.pods, known)

    def events(self) -> list[tuple[str, str]]:
        """Reason and note of each event that was written."""
        documents = self.server.storage.of("events").values()
        return [(each["reason"], each["note"]) for each in documents]


@asynccontextmanager
async def pod_world(path: Path) -> AsyncIterator[PodWorld]:
    """A node whose runtime is ready, whose pods are followed and whose events are written."""
    metrics, clock = Metrics(), SystemClock()
    async with (
        FakeApiServer() as server,
        ApiClient(Fixed(server.url), metrics, deadline=5.0) as client,
        serving(path / "c.sock") as runtime,
        watching(path / "c.sock") as watched,
    ):
        pods = pods_of(NODE, client, metrics)
        recorder = EventRecorder(client, metrics, clock, controller="inplaced.dev/agent", instance=NODE)
        around = PodSurroundings(
            config=AgentConfig(node_name=NODE),
            client=client,
            pods=pods,
            reports=PodReports(client, pods),
            recorder=recorder,
            runtimes=watched.runtimes,
            metrics=metrics,
            clock=clock,
        )
        await ready(watched)
        async with following(pods), running(recorder.run()):
            yield PodWorld(server, runtime, around)
