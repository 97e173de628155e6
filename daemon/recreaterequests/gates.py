"""Opens the readiness gate ``KruisePodReady`` of new pods: True while nobody wants them out of traffic."""

from daemon.engine.reconciling import Controller
from daemon.kube.informer import Informer
from daemon.kube.pod_readiness import PodReadiness
from daemon.metrics import Metrics
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key
from daemon.objects.pod_readiness import has_gate, pod_ready_condition

_WORKERS = 4


class PodGates:
    """Begins the condition of pods that have the gate; whoever changes it later leaves it well-formed."""

    def __init__(self, pods: Informer[LocalPod], readiness: PodReadiness, metrics: Metrics) -> None:
        self._pods = pods
        self._readiness = readiness
        self.controller: Controller[Key] = Controller("podgates", self.reconcile, metrics, workers=_WORKERS)

    def watch(self) -> None:
        """Follow the pods."""
        self._pods.on_change(lambda _before, after: self._look(after))
        for pod in self._pods.list():
            self._look(pod)

    def _look(self, pod: LocalPod | None) -> None:
        if pod is not None and _is_shut(pod):
            self.controller.queue.add(pod.metadata.key)

    async def reconcile(self, key: Key) -> None:
        """Open the gate, if it is there and nobody has said anything about it."""
        pod = self._pods.get(key)
        if pod is not None and _is_shut(pod):
            await self._readiness.begin(key, pod.metadata.uid)


def _is_shut(pod: LocalPod) -> bool:
    return has_gate(pod) and pod_ready_condition(pod) is None and pod.metadata.deletion_timestamp is None
