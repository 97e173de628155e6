"""Opens the gates of pods whose containers start in an order."""

import structlog

from daemon.engine.objects import NotFoundError
from daemon.engine.reconciling import Controller
from daemon.kube.informer import Informer
from daemon.kube.pod_reports import PodReports
from daemon.launchorder.planner import plan
from daemon.metrics import Metrics
from daemon.objects.launch_order import is_launched
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key

_WORKERS = 8
"""Pods that are written to at the same time."""

log = structlog.get_logger()


class LaunchOrder:
    """Lets the containers of pods start, those of the highest priority first."""

    def __init__(self, pods: Informer[LocalPod], reports: PodReports, metrics: Metrics) -> None:
        self.controller: Controller[Key] = Controller(
            "launchorder", self.reconcile, metrics, workers=_WORKERS
        )
        self._pods = pods
        self._reports = reports

    def watch(self) -> None:
        """Look at each pod that waits, and at each change of one."""
        self._pods.on_change(self._on_change)
        for pod in self._pods.list():
            self._on_change(None, pod)

    def _on_change(self, _before: LocalPod | None, after: LocalPod | None) -> None:
        if after is not None and not is_launched(after):
            self.controller.queue.add(after.metadata.key)

    async def reconcile(self, key: Key) -> None:
        """Open what is due of one pod, in one write that is bound to its UID."""
        pod = self._pods.get(key)
        news = plan(pod) if pod is not None else {}
        if pod is None or not news:
            return
        try:
            await self._reports.tell(pod, annotations=news)
        except NotFoundError:
            log.debug("pod is gone")
