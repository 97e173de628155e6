"""Pods on a fake API server, their updates carried out over it, and a kubelet and an agent beside them."""

import copy
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from daemon.inplace.targets import Progress, Target
from daemon.inplace.updates import PodUpdates
from daemon.kube.access import Fixed
from daemon.kube.client import ApiClient
from daemon.kube.events import Level
from daemon.kube.informer import Informer
from daemon.kube.resources import CLUSTER_PODS
from daemon.metrics import Metrics
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.clock import FakeClock
from tests.unit.inplace_world import BEGIN, SimulatedPod


@dataclass
class UpdateWorld:
    """A server with pods, and what one controller needs to update them."""

    server: FakeApiServer
    client: ApiClient
    pods: Informer[LocalPod]
    metrics: Metrics = field(default_factory=Metrics)
    told: list[tuple[str, str]] = field(default_factory=list)
    """Reason and type of each event."""
    alive: bool = True
    clock: FakeClock = field(default_factory=lambda: FakeClock(BEGIN))

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Have another controller take over: it knows nothing."""
        self.updates = PodUpdates(
            self.client,
            self.pods,
            self.metrics,
            self.clock,
            record=self._record,
            agent_alive=lambda _node: self.alive,
        )

    def make(self, revision: Mapping[str, Any], name: str = "web-1") -> SimulatedPod:
        """Store a pod, and return what acts on it as its node would."""
        simulated = SimulatedPod(revision, name=name)
        self.store(simulated)
        return simulated

    def store(self, simulated: SimulatedPod) -> None:
        """Store what the node did."""
        document = simulated.document
        kept = {key: each for key, each in document["metadata"].items() if key not in _SERVERS_OWN}
        self.server.store("pods", {**document, "metadata": kept})
        self.load(simulated)

    def load(self, simulated: SimulatedPod) -> SimulatedPod:
        """Have the node see what is stored."""
        simulated.document = copy.deepcopy(dict(self.server.document("pods", simulated.name, "default")))
        return simulated

    def node_acts(self, simulated: SimulatedPod) -> None:
        """Kubelet and agent do what is stored."""
        self.load(simulated)
        simulated.kubelet()
        simulated.agent()
        self.store(simulated)

    async def advance(self, target: Target, name: str = "web-1") -> Progress:
        """Take the steps of the pod as it is stored now."""
        pod = await self.client.get(CLUSTER_PODS, Key("default", name))
        return await self.updates.advance(pod, target)

    def _record(self, pod: LocalPod, reason: str, note: str, *, action: str, type_: Level = "Normal") -> None:
        assert all((pod.metadata.name, note, action))
        self.told.append((reason, type_))


_SERVERS_OWN = {"uid", "resourceVersion", "generation", "creationTimestamp"}


@asynccontextmanager
async def update_world() -> AsyncIterator[UpdateWorld]:
    """A world without pods."""
    metrics = Metrics()
    async with FakeApiServer() as server, ApiClient(Fixed(server.url), metrics, deadline=2.0) as client:
        yield UpdateWorld(server, client, Informer(client, CLUSTER_PODS, metrics), metrics)
