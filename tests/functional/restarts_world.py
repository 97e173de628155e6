"""WorkloadRestarts on a fake API server, with somebody who does what their requests ask for."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from daemon.engine.clock import SystemClock
from daemon.kube.access import Fixed
from daemon.kube.client import ApiClient
from daemon.kube.informer import Informer
from daemon.kube.objects import KubeObjects
from daemon.kube.resources import RECREATE_REQUESTS, WHOLE_PODS, WORKLOAD_RESTARTS
from daemon.kube.selections import Selection
from daemon.metrics import Metrics
from daemon.objects.local_pods import LocalPod
from daemon.objects.parts import PodPart
from daemon.objects.workload_restarts import WorkloadRestart
from daemon.recreaterequests.reconciler import BY_POD, INDEXES
from daemon.workloadrestarts.reconciler import Surroundings, WorkloadRestarts
from daemon.workloadrestarts.targets import Targets
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.apistorage import Change
from tests.fakes.following import DEADLINE, following, running

NAMESPACE = "shop"
LONG_AGO = "2026-01-01T00:00:00Z"


def owner(of: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """A reference to the controller *of* pods, as it is stored."""
    reference = {key: of["metadata"][key] for key in ("name", "uid")}
    return {"apiVersion": "apps/v1", "kind": kind, "controller": True, **reference}


@dataclass(slots=True)
class RestartsWorld:
    """The server, and what happened on it."""

    server: FakeApiServer
    client: ApiClient
    restarts: WorkloadRestarts
    said: list[tuple[str, str, bool]] = field(default_factory=list)
    """Reason, note and whether it is a warning, of each event."""
    held: set[str] = field(default_factory=set)
    """Pods whose requests nobody serves."""
    failing: set[str] = field(default_factory=set)
    """Pods whose requests fail."""
    served: list[str] = field(default_factory=list)
    """Pods whose requests were done, in turn."""
    most: int = 0
    """Requests that were open at the same time."""
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when something is said."""

    def pod(self, name: str, *, ready: bool = True, controller: Mapping[str, Any] | None = None) -> None:
        """Store a pod that has run for long."""
        number = self.served.count(name)
        self.server.store(
            "pods",
            {
                "metadata": {
                    "name": name,
                    "namespace": NAMESPACE,
                    "labels": {"app": "web"},
                    "creationTimestamp": LONG_AGO,
                    "ownerReferences": [dict(controller)] if controller else [],
                },
                "spec": {"nodeName": "n1", "containers": [{"name": "app", "image": "a"}]},
                "status": {
                    "phase": "Running",
                    "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
                    "containerStatuses": [
                        {
                            "name": "app",
                            "containerID": f"containerd://{name}-{number}",
                            "ready": ready,
                            "restartCount": number,
                            "state": {"running": {"startedAt": LONG_AGO}},
                        }
                    ],
                },
            },
        )

    def restart(self, name: str = "r", **spec: Any) -> None:
        """Ask for a restart of all pods of the application web, unless another target is given."""
        target = {} if "workloadRef" in spec else {"selector": {"matchLabels": {"app": "web"}}}
        body = {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": {**target, **spec}}
        self.server.store("workloadrestarts", body)

    def status(self, name: str = "r") -> Mapping[str, Any]:
        """What the restart says."""
        found: Mapping[str, Any] = self.server.document("workloadrestarts", name, NAMESPACE).get("status", {})
        return found

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return when *holds* is true."""
        await self.server.until(holds)

    async def ended(self, name: str = "r") -> Mapping[str, Any]:
        """Wait for the restart's end."""
        await self.until(lambda: bool(self.status(name).get("completionTime")))
        return self.status(name)

    async def told(self, reason: str) -> None:
        """Wait for the event of that reason."""
        async with asyncio.timeout(DEADLINE):
            while reason not in {each for each, _, _ in self.said}:
                self.heard.clear()
                await self.heard.wait()

    def serve(self) -> None:
        """Do what open requests ask for, but for those of pods that are held."""
        for request in list(self.server.storage.of("containerrecreaterequests").values()):
            pod = request["spec"]["podName"]
            if not request.get("status", {}).get("completionTime") and pod not in self.held:
                self._end(request, pod)

    def _end(self, request: Mapping[str, Any], name: str) -> None:
        if name not in self.failing:
            self.served.append(name)
            before = self.server.document("pods", name, NAMESPACE)["metadata"].get("ownerReferences") or [
                None
            ]
            self.pod(name, controller=before[0])
        number = self.served.count(name) - 1
        phase = "Failed" if name in self.failing else "Succeeded"
        state = {
            "name": "app",
            "phase": phase,
            "message": "said",
            "containerID": f"containerd://{name}-{number}",
        }
        status = {
            "phase": "Completed",
            "completionTime": LONG_AGO,
            "podUID": "u",
            "containerRecreateStates": [state],
        }
        self.server.store("containerrecreaterequests", {**request, "status": status})

    def requests(self) -> list[Mapping[str, Any]]:
        """All that were made."""
        return list(self.server.storage.of("containerrecreaterequests").values())

    def on_change(self, change: Change) -> None:
        """Serve new requests a moment later."""
        if change.plural == "containerrecreaterequests" and change.before is None:
            opened = [each for each in self.requests() if not each.get("status", {}).get("completionTime")]
            self.most = max(self.most, len(opened))
            asyncio.get_running_loop().call_soon(self.serve)


@asynccontextmanager
async def restarts_world(server: FakeApiServer) -> AsyncIterator[RestartsWorld]:
    """A leader for restarts alone, until the end of the block."""
    metrics, clock = Metrics(), SystemClock()
    async with ApiClient(Fixed(server.url), metrics, deadline=5.0) as client:
        restarts = Informer(client, WORKLOAD_RESTARTS, metrics)
        requests = Informer(client, RECREATE_REQUESTS, metrics, indexes=INDEXES)
        said: list[tuple[str, str, bool]] = []
        heard = asyncio.Event()

        def announce(restart: WorkloadRestart, reason: str, note: str, *, warning: bool) -> None:
            assert restart.metadata.namespace == NAMESPACE
            said.append((reason, note, warning))
            heard.set()

        def follow(part: PodPart) -> Informer[LocalPod]:
            selection = Selection(namespace=part.namespace, labels=part.labels)
            return Informer(client, WHOLE_PODS, metrics, selection=selection)

        around = Surroundings(
            restarts=KubeObjects(client, restarts),
            requests=KubeObjects(client, requests),
            of_pod=lambda key: requests.indexed(BY_POD, str(key)),
            targets=Targets(client),
            open_pods=follow,
            announce=announce,
            metrics=metrics,
            clock=clock,
        )
        central = WorkloadRestarts(around)
        made = RestartsWorld(server, client, central, said, heard=heard)
        server.storage.listeners.append(made.on_change)
        try:
            async with following(restarts, requests):
                central.watch()
                async with running(central.controller.run(), central.pods.watches.run()):
                    yield made
        finally:
            server.storage.listeners.remove(made.on_change)
