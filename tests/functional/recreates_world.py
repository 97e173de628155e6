"""The centre's half of requests to start containers anew, on a fake API server."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from daemon import names
from daemon.engine.clock import SystemClock
from daemon.kube.access import Fixed
from daemon.kube.client import ApiClient
from daemon.kube.events import EventRecorder
from daemon.kube.informer import Informer
from daemon.kube.pod_readiness import PodReadiness
from daemon.kube.resources import CLUSTER_PODS, RECREATE_REQUESTS
from daemon.metrics import Metrics
from daemon.recreaterequests.gates import PodGates
from daemon.recreaterequests.reconciler import INDEXES, RecreateRequests, Surroundings
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.following import following, running

PLURAL = RECREATE_REQUESTS.plural
NODE = "node-7"


@dataclass(slots=True)
class RecreatesWorld:
    """What is stored, and who looks after it."""

    server: FakeApiServer
    centre: RecreateRequests

    def pod(self, name: str = "web", *, gate: bool = False, **more: Any) -> Mapping[str, Any]:
        """A pod that runs one container."""
        gates = {"readinessGates": [{"conditionType": names.KRUISE_POD_READY}]} if gate else {}
        document = {
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"nodeName": NODE, "containers": [{"name": "app"}], **gates},
            "status": {
                "phase": "Running",
                "containerStatuses": [{"name": "app", "containerID": "containerd://c1", "ready": True}],
            },
            **more,
        }
        return self.server.store("pods", document)

    def ask(self, name: str = "again", **more: Any) -> None:
        """Have somebody post a request for it."""
        metadata = {"name": name, "namespace": "shop", **more.pop("metadata", {})}
        spec = {"podName": "web", "containers": [{"name": "app"}], **more}
        self.server.store(PLURAL, {"metadata": metadata, "spec": spec})

    def tell(self, name: str = "again", **status: Any) -> None:
        """Have the agent say so."""
        now = self.request(name)
        told = {**now.get("status", {}), **status}
        self.server.store(PLURAL, {"metadata": now["metadata"], "spec": now["spec"], "status": told})

    def request(self, name: str = "again") -> Mapping[str, Any]:
        """The request as it is stored."""
        return self.server.document(PLURAL, name, "shop")

    def phase(self, name: str = "again") -> str:
        """How far it is said to be."""
        return str(self.request(name).get("status", {}).get("phase", ""))

    async def reached(self, phase: str, name: str = "again") -> Mapping[str, Any]:
        """The status, once the request is so far."""
        await self.server.until(lambda: self.phase(name) == phase)
        status: Mapping[str, Any] = self.request(name)["status"]
        return status

    def traffic(self) -> tuple[str, str]:
        """Status and message of the pod's readiness gate."""
        conditions = self.server.document("pods", "web", "shop")["status"].get("conditions", ())
        found = [each for each in conditions if each["type"] == names.KRUISE_POD_READY]
        return (found[0]["status"], found[0]["message"]) if found else ("", "")


@asynccontextmanager
async def centre_of(server: FakeApiServer, *, alone: bool = False) -> AsyncIterator[RecreateRequests]:
    """One leader's half until the end of the block, beside OpenKruise's manager unless it is *alone*."""
    metrics, clock = Metrics(), SystemClock()
    async with ApiClient(Fixed(server.url), metrics, deadline=5.0) as client:
        requests = Informer(client, RECREATE_REQUESTS, metrics, indexes=INDEXES)
        pods = Informer(client, CLUSTER_PODS, metrics)
        recorder = EventRecorder(client, metrics, clock, controller="inplaced.dev/controller", instance="one")
        around = Surroundings(client, requests, pods, recorder, metrics, clock, alone=alone)
        centre = RecreateRequests(around)
        gates = PodGates(pods, PodReadiness(client, clock), metrics)
        async with following(requests, pods):
            centre.watch()
            gates.watch()
            async with running(centre.controller.run(), gates.controller.run(), recorder.run()):
                yield centre


@asynccontextmanager
async def recreates_world(*, alone: bool = False) -> AsyncIterator[RecreatesWorld]:
    """A server with a leader that looks after it."""
    async with FakeApiServer() as server, centre_of(server, alone=alone) as centre:
        yield RecreatesWorld(server, centre)
