"""The agents of a simulated cluster's nodes, as far as they answer what pods become next."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from daemon import names
from daemon.engine.reconciling import Controller
from daemon.kube.client import ApiClient
from daemon.kube.informer import Informer
from daemon.kube.patches import strategic_merge_patch
from daemon.kube.resources import WHOLE_PODS
from daemon.metrics import Metrics
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key
from daemon.objects.next_revisions import PULLED, about, next_revision_of
from tests.fakes.following import following, running


@dataclass(eq=False)
class SimulatedAgents:
    """Use ``answering``. What is not in *reasons*, by node, is answered with Pulled."""

    client: ApiClient
    reasons: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pods = Informer(self.client, WHOLE_PODS, Metrics())
        self.controller: Controller[Key] = Controller("agents", self._answer, Metrics(), workers=8)

    @asynccontextmanager
    async def answering(self) -> AsyncIterator["SimulatedAgents"]:
        """Answer until the end of the block."""
        async with following(self.pods):
            self.pods.subscribe(self.controller.queue.add)
            async with running(self.controller.run()):
                yield self

    def say(self, node: str, reason: str) -> None:
        """Have the agent of that node say something else from now on."""
        self.reasons[node] = reason
        for pod in self.pods.list():
            self.controller.queue.add(pod.metadata.key)

    async def _answer(self, key: Key) -> None:
        pod = self.pods.get(key)
        told = next_revision_of(pod) if pod is not None else None
        if pod is None or told is None:
            return
        reason = self.reasons.get(pod.spec.node_name, PULLED)
        answer = {
            "type": names.NEXT_REVISION_READY,
            "status": "True" if reason == PULLED else "False",
            "reason": reason,
            "message": about(told.revision, f"it is {reason}"),
        }
        if not _says(pod, answer):
            patch = strategic_merge_patch(
                {"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [answer]}}
            )
            await self.client.patch(WHOLE_PODS, key, patch, subresource="status")


def _says(pod: LocalPod, answer: dict[str, str]) -> bool:
    said = ((each.type, each.message) for each in pod.status.conditions)
    return (answer["type"], answer["message"]) in said
