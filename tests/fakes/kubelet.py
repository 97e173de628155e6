"""Scheduler and kubelet of a simulated cluster, over the API server's socket: pods are bound, run, change.

What a kubelet does to pods, as measured on a real one: a container whose image changed is started anew with
one more restart and another ID, readiness follows the containers and the readiness gates.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from daemon.engine.reconciling import Controller
from daemon.kube.client import ApiClient
from daemon.kube.informer import Informer
from daemon.kube.patches import strategic_merge_patch
from daemon.kube.resources import WHOLE_PODS
from daemon.metrics import Metrics
from daemon.objects.local_pods import ContainerStatus, LocalPod
from daemon.objects.meta import Key
from tests.fakes.following import following, running

NODES = ("node-1", "node-2", "node-3")


@dataclass(eq=False)
class SimulatedKubelet:
    """Use ``playing``. *broken* are images whose containers never become ready."""

    client: ApiClient
    restart_seconds: float = 0.0
    """How long a container takes to be there again."""
    broken: set[str] = field(default_factory=set)
    manual: bool = False
    """While true, nothing is done."""
    nodes: tuple[str, ...] = NODES

    def __post_init__(self) -> None:
        metrics = Metrics()
        self.pods = Informer(self.client, WHOLE_PODS, metrics)
        self.controller: Controller[Key] = Controller("kubelet", self._sync, metrics, workers=32)
        self._ids = itertools.count(1)
        self._turn = itertools.cycle(self.nodes)
        self._due: dict[str, float] = {}

    @asynccontextmanager
    async def playing(self) -> AsyncIterator["SimulatedKubelet"]:
        """Look after pods until the end of the block."""
        async with following(self.pods):
            self.pods.subscribe(self.controller.queue.add)
            self.resume()
            async with running(self.controller.run()):
                yield self

    def resume(self) -> None:
        """Do what was left."""
        self.manual = False
        for pod in self.pods.list():
            self.controller.queue.add(pod.metadata.key)

    async def _sync(self, key: Key) -> float | None:
        pod = self.pods.get(key)
        if pod is None or self.manual or pod.metadata.deletion_timestamp is not None:
            return None
        if not pod.spec.node_name:
            await self._patch(pod, {"spec": {"nodeName": next(self._turn)}})
            return None
        statuses = {each.name: each for each in pod.status.container_statuses}
        late = self._late(pod, statuses)
        if late > 0:
            return late
        containers = [self._container(pod, each.name, each.image, statuses) for each in pod.spec.containers]
        conditions = self._conditions(pod, all(each["ready"] for each in containers))
        wanted = {"phase": "Running", "containerStatuses": containers, "conditions": conditions}
        if not self._says(pod, wanted):
            await self._patch(pod, {"status": wanted}, "status")
        return None

    def _late(self, pod: LocalPod, statuses: Mapping[str, ContainerStatus]) -> float:
        """Seconds until containers that changed are there again."""
        uid, now = pod.metadata.uid, asyncio.get_running_loop().time()
        changed = [each for each in pod.spec.containers if each.name in statuses]
        if all(statuses[each.name].image == each.image for each in changed):
            self._due.pop(uid, None)
            return 0.0
        return self._due.setdefault(uid, now + self.restart_seconds) - now

    def _container(
        self, pod: LocalPod, name: str, image: str, statuses: Mapping[str, ContainerStatus]
    ) -> dict[str, Any]:
        old = statuses.get(name)
        same = old is not None and old.image == image
        count = old.restart_count + (not same) if old is not None else 0
        id_ = old.container_id if same and old is not None else f"containerd://{next(self._ids)}"
        ready = image not in self.broken
        return {
            "name": name,
            "image": image,
            "imageID": f"sha256:{image}",
            "containerID": id_,
            "ready": ready,
            "restartCount": count,
            "state": {"running": {"startedAt": _now()}} if ready else {"waiting": {"reason": "Broken"}},
        }

    def _conditions(self, pod: LocalPod, ready: bool) -> list[dict[str, Any]]:
        said = {each.type: each.status for each in pod.status.conditions}
        open_ = all(said.get(gate.condition_type) == "True" for gate in pod.spec.readiness_gates)
        told = [("PodScheduled", True), ("ContainersReady", ready), ("Ready", ready and open_)]
        found = []
        for type_, state in told:
            old = next((each for each in pod.status.conditions if each.type == type_), None)
            status = "True" if state else "False"
            at = old.last_transition_time if old is not None and old.status == status else None
            stamp = at.strftime("%Y-%m-%dT%H:%M:%SZ") if at is not None else _now()
            found.append({"type": type_, "status": status, "lastTransitionTime": stamp})
        return found

    @staticmethod
    def _says(pod: LocalPod, wanted: Mapping[str, Any]) -> bool:
        conditions = {each.type: each.status for each in pod.status.conditions}
        now = [(each.name, each.container_id, each.ready) for each in pod.status.container_statuses]
        then = [(each["name"], each["containerID"], each["ready"]) for each in wanted["containerStatuses"]]
        same = all(conditions.get(each["type"]) == each["status"] for each in wanted["conditions"])
        return pod.status.phase == wanted["phase"] and now == then and same

    async def _patch(self, pod: LocalPod, document: dict[str, Any], subresource: str = "") -> None:
        document["metadata"] = {"uid": pod.metadata.uid}
        patch = strategic_merge_patch(document)
        self.pods.learn(await self.client.patch(WHOLE_PODS, pod.metadata.key, patch, subresource=subresource))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
