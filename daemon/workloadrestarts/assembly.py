"""The controller of WorkloadRestarts, put together for one term of leading."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from daemon.engine.clock import Clock
from daemon.engine.reconciling import Controller
from daemon.kube.client import ApiClient
from daemon.kube.events import EventRecorder
from daemon.kube.informer import Informer
from daemon.kube.objects import KubeObjects
from daemon.kube.resources import WHOLE_PODS, WORKLOAD_RESTARTS
from daemon.kube.selections import Selection
from daemon.metrics import Metrics
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key
from daemon.objects.parts import PodPart
from daemon.objects.recreates import ContainerRecreateRequest
from daemon.objects.workload_restarts import WorkloadRestart
from daemon.workloadrestarts import reconciler
from daemon.workloadrestarts.targets import Targets


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the leader has already."""

    client: ApiClient
    requests: Informer[ContainerRecreateRequest]
    of_pod: Callable[[Key], Sequence[ContainerRecreateRequest]]
    """The requests about the pod of that name."""
    recorder: EventRecorder
    metrics: Metrics
    clock: Clock


class WorkloadRestartController:
    """Follows what it needs, and works."""

    def __init__(self, around: Surroundings) -> None:
        client, metrics = around.client, around.metrics
        self.restarts = Informer(client, WORKLOAD_RESTARTS, metrics)
        self._around = around
        self._restarts = reconciler.WorkloadRestarts(
            reconciler.Surroundings(
                restarts=KubeObjects(client, self.restarts),
                requests=KubeObjects(client, around.requests),
                of_pod=around.of_pod,
                targets=Targets(client),
                open_pods=self._follow_pods,
                announce=self._announce,
                metrics=metrics,
                clock=around.clock,
            )
        )

    @property
    def controller(self) -> Controller[Key]:
        """What works, from the start: it has nothing to do before ``run`` knows all."""
        return self._restarts.controller

    async def run(self) -> None:
        """Follow restarts until cancelled; their kind may be missing."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.restarts.run(), name=f"follow-{self.restarts.resource.plural}")
            await self.restarts.synced()
            self._restarts.watch()
            group.create_task(self._restarts.pods.watches.run(), name="pods of restarts")

    def _follow_pods(self, part: PodPart) -> Informer[LocalPod]:
        selection = Selection(namespace=part.namespace, labels=part.labels)
        return Informer(self._around.client, WHOLE_PODS, self._around.metrics, selection=selection)

    def _announce(self, restart: WorkloadRestart, reason: str, note: str, *, warning: bool) -> None:
        self._around.recorder.record(
            *(WORKLOAD_RESTARTS, restart, reason, note),
            action="Restart",
            type_="Warning" if warning else "Normal",
        )
