"""Tells of each pod how far its resize is: condition and record in one write, and an event of trouble."""

import asyncio
from collections.abc import Mapping, Sequence

from daemon import names
from daemon.engine.reconciling import Controller
from daemon.kube.errors import ChangedError, MissingError
from daemon.kube.events import Level
from daemon.localpods.conditions import condition_of, news
from daemon.localpods.surroundings import PodSurroundings
from daemon.objects.local_pods import LocalPod, LocalPodCondition
from daemon.objects.meta import Key
from daemon.objects.resizes import Outcome, written
from daemon.resizes.plans import Verdict
from daemon.resizes.standing import Remembered

_EVENTS: Mapping[Outcome, tuple[str, Level]] = {
    Outcome.INFEASIBLE: ("ResizeInfeasible", "Warning"),
    Outcome.UNSAFE: ("ResizeHeldBack", "Warning"),
    Outcome.ERROR: ("ResizeRefused", "Warning"),
    Outcome.ROLLED_BACK: ("ResizeRolledBack", "Warning"),
}
"""What is said in an event, too. Of what goes well the kubelet itself says enough."""
_PACE = 10.0
"""Seconds between two writes of one pod that only tell the same reason in other words."""
_WRITERS = 4


class ResizeReports:
    """Writes verdicts, each as soon as it is another one."""

    def __init__(self, around: PodSurroundings, remembered: Remembered) -> None:
        self._around = around
        self._remembered = remembered
        self._verdicts: dict[Key, Verdict] = {}
        self._told_at: dict[str, float] = {}
        """By UID, the loop's time of the last write."""
        self.controller: Controller[Key] = Controller(
            "resize-reports", self.report, around.metrics, workers=_WRITERS
        )

    def publish(self, verdicts: Sequence[Verdict]) -> None:
        """Have these told, where they are news."""
        self._verdicts = {each.pod.metadata.key: each for each in verdicts}
        uids = {each.pod.metadata.uid for each in verdicts}
        self._told_at = {uid: at for uid, at in self._told_at.items() if uid in uids}
        for each in verdicts:
            if self._news(each.pod, each):
                self.controller.queue.add(each.pod.metadata.key)

    async def report(self, key: Key) -> float | None:
        """Tell the verdict on one pod."""
        verdict, pod = self._verdicts.get(key), self._around.pods.get(key)
        if verdict is None or pod is None or pod.metadata.uid != verdict.pod.metadata.uid:
            return None
        conditions = self._news(pod, verdict)
        if not conditions:
            return None
        loop, uid = asyncio.get_running_loop(), pod.metadata.uid
        wait = self._told_at.get(uid, -_PACE) + _PACE - loop.time()
        if not verdict.begins and wait > 0:
            return wait
        record = {names.RESIZE_RECORD_ANNOTATION: written(verdict.record)}
        try:
            await self._around.reports.tell(pod, conditions, record)
        except (MissingError, ChangedError):
            return None  # gone, or another one of its name: the watch tells
        self._told_at[uid] = loop.time()
        if verdict.begins:
            self._began(verdict)
        return None

    def _news(self, pod: LocalPod, verdict: Verdict) -> list[LocalPodCondition]:
        """The condition, if it or the record beside it is another one than the pod has."""
        # Where the kubelet does not count generations, the API server may not keep ours either.
        generation = pod.metadata.generation if pod.status.observed_generation else 0
        wanted = LocalPodCondition(
            type=names.RESOURCES_IN_SYNC,
            status="True" if verdict.outcome is Outcome.IN_SYNC else "False",
            reason=verdict.outcome,
            message=verdict.message,
            observed_generation=generation,
        )
        changed = news(pod, [wanted], self._around.clock.now())
        same = pod.metadata.annotations.get(names.RESIZE_RECORD_ANNOTATION) == written(verdict.record)
        if changed or same:
            return changed
        old = condition_of(pod, names.RESOURCES_IN_SYNC)
        return [old] if old is not None else []

    def _began(self, verdict: Verdict) -> None:
        metrics, doings = self._around.metrics, self._remembered.of(verdict.pod.metadata.uid)
        metrics.resizes.labels(verdict.outcome).inc()
        if verdict.outcome is Outcome.IN_SYNC and doings.wish == verdict.record.wish and doings.began_at:
            metrics.resize_seconds.observe(asyncio.get_running_loop().time() - doings.began_at)
        if verdict.outcome in _EVENTS:
            reason, level = _EVENTS[verdict.outcome]
            self._around.record(verdict.pod, reason, verdict.message, action="Resize", type_=level)
