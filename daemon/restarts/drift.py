"""Restarts containers that run with other labels and annotations than their pod has, and says how they stand.

The pods' restarts are planned one pod at a time; stops run beside that, as a container may take long to end.
"""

import asyncio
from collections.abc import Sequence
from math import inf, isfinite

import structlog

from daemon import names
from daemon.cri.errors import CriError, NotFoundError
from daemon.debug.views import PodsView
from daemon.engine.lifecycle import Closable, Part
from daemon.engine.objects import NotFoundError as GoneError
from daemon.engine.reconciling import Controller
from daemon.engine.together import together
from daemon.kube.errors import RefusedError
from daemon.localpods.conditions import news
from daemon.localpods.surroundings import PodSurroundings
from daemon.objects.local_pods import LocalPod, LocalPodCondition
from daemon.objects.meta import Key
from daemon.objects.planned_restarts import unplanned_restarts
from daemon.objects.running_containers import has_moved
from daemon.restarts.memory import PodMemory
from daemon.restarts.planner import concerns, plan
from daemon.restarts.plans import Look, Plan, Record, Report, Stop, Unreadable
from daemon.restarts.records import RecordError, record_of
from daemon.restarts.shown import show
from daemon.restarts.stopping import OtherContainerError, StopError, Stopper
from daemon.restarts.successors import Successors

log = structlog.get_logger()

_WORKERS = 16
"""Pods that are looked at side by side: each waits for the runtime or the API server most of the time."""
_ASK_AGAIN = 3.0
"""Seconds after which a runtime that did not answer is asked again."""
_GONE = Record(is_running=False, image_hash=0, image="", env={}, metadata={})
"""Of a container that the runtime has removed already."""


class DriftRestarts:
    """Implements PodFeature."""

    def __init__(self, around: PodSurroundings, stopper: Stopper) -> None:
        self._around = around
        self._stopper = stopper
        self._memories: dict[str, PodMemory] = {}
        """By UID of the pod."""
        self._group: asyncio.TaskGroup | None = None
        self._closed = asyncio.Event()
        self.controller: Controller[Key] = Controller(
            "restarts", self.reconcile, around.metrics, workers=_WORKERS
        )
        self._successors = Successors(around, self.controller.queue.add)

    @property
    def feeders(self) -> Sequence[Part]:
        """The search for successors of containers that the kubelet replaces."""
        return (self._successors.run,)

    @property
    def workers(self) -> Sequence[Part]:
        """Planning, and the stops that were begun."""
        return (self.controller.run, self.run)

    @property
    def queues(self) -> Sequence[Closable]:
        """What ends both."""
        return (self.controller.queue, self)

    def start(self) -> None:
        """Begin to follow the pods."""
        self._around.pods.on_change(self._on_change)
        self.wake()  # When pods changed last is not known: maybe just now.

    def wake(self) -> None:
        """Look anew at all pods: a runtime came, went, or became another one."""
        now = self._around.clock.monotonic()
        for pod in filter(concerns, self._around.pods.list()):
            self._memory(pod).hold(now)
            self.controller.queue.add(pod.metadata.key)

    def view(self) -> PodsView:
        """Nothing but what is in the journal."""
        return PodsView()

    async def run(self) -> None:
        """Be the parent of all stops until ``close``; then wait for those that run."""
        async with asyncio.TaskGroup() as self._group:
            await self._closed.wait()
        self._group = None

    def close(self) -> None:
        """Begin no further stop."""
        self._closed.set()

    def _on_change(self, before: LocalPod | None, after: LocalPod | None) -> None:
        if before is not None and (after is None or after.metadata.uid != before.metadata.uid):
            self._forget(before)
        if after is None:
            return
        if not concerns(after):
            self._forget(after)
            return
        if before is not None and _has_started(before, after):
            self._memory(after).note_start(self._around.clock.monotonic())
        if before is None or before.metadata.uid != after.metadata.uid or _is_update(before, after):
            same = before is not None and before.metadata.uid == after.metadata.uid
            moved = same and before is not None and has_moved(before, after)
            self._note_update(after, wanted=moved)
        self.controller.queue.add(after.metadata.key)

    def _note_update(self, pod: LocalPod, *, wanted: bool) -> None:
        debounce = self._around.config.restart_debounce
        self._memory(pod).note_update(self._around.clock.monotonic(), debounce, wanted=wanted)

    def _memory(self, pod: LocalPod) -> PodMemory:
        return self._memories.setdefault(pod.metadata.uid, PodMemory())

    def _forget(self, pod: LocalPod) -> None:
        self._successors.forget(pod)
        if self._memories.pop(pod.metadata.uid, None) is not None:
            self._around.metrics.forget_restarts(pod.metadata.namespace, pod.metadata.name)
            for status in (*pod.status.container_statuses, *pod.status.init_container_statuses):
                self._around.journal.withdraw(status.container_id)

    async def reconcile(self, key: Key) -> float | None:
        """Do what is to be done for the containers of one pod."""
        pod = self._around.pods.get(key)
        if pod is None or not concerns(pod) or pod.metadata.deletion_timestamp is not None:
            return None
        memory = self._memory(pod)
        pod = self._successors.ahead(pod, memory.stopped)
        made = self._plan(pod, memory)
        if made.looks:
            if not await self._look(pod, memory, made.looks):
                return _ASK_AGAIN
            made = self._plan(pod, memory)
        memory.note_drift(made.drifting, self._around.clock.monotonic())
        show(self._around.journal, pod, made.found)
        if made.report is not None and not await self._tell(pod, made.report):
            return None
        for stop in made.stops:
            self._begin(pod, memory, stop)
        return made.again_in if isfinite(made.again_in) else None

    def _plan(self, pod: LocalPod, memory: PodMemory) -> Plan:
        metadata = pod.metadata
        if self._memories.get(metadata.uid) is not memory:
            return Plan()  # gone while the runtime was asked: nobody would take its series away again
        for container, count in unplanned_restarts(pod).items():
            self._around.metrics.tell_restarts(metadata.namespace, metadata.name, container, count)
        return plan(memory.observed(pod, self._around.clock))

    async def _look(self, pod: LocalPod, memory: PodMemory, looks: Sequence[Look]) -> bool:
        """Read what containers run with; False when a runtime did not answer."""
        answers = await together(self._record(look) for look in looks)
        for look, answer in zip(looks, answers, strict=True):
            if answer is not None:
                memory.note_record(look.container_id, answer, self._around.clock.monotonic())
        return None not in answers

    async def _record(self, look: Look) -> Record | Unreadable | None:
        runtime = self._around.runtime_of(look.container_id)
        if runtime is None:
            return None
        bare = look.container_id.partition("://")[2]
        try:
            return record_of(await runtime.client.container_status(bare, verbose=True), look.container)
        except NotFoundError:
            return _GONE
        except RecordError as error:
            return Unreadable(str(error))
        except CriError as error:
            log.warning("cannot read a container", container=look.container_id, error=str(error))
            return None

    async def _tell(self, pod: LocalPod, report: Report) -> bool:
        """Write it; False when that is impossible, so that nothing is stopped which would not be counted."""
        try:
            await self._around.reports.tell(
                pod, report.conditions, report.annotations, stopped=report.stopped
            )
        except GoneError:
            return False
        except RefusedError as error:
            log.warning("the pod cannot be annotated", pod=str(pod.metadata.key), error=str(error))
            await self._tell_refused(pod, error)
            return False
        return True

    async def _tell_refused(self, pod: LocalPod, error: RefusedError) -> None:
        """The annotations of a pod may hold 256 KiB in all: what others put there may leave us no room."""
        refused = LocalPodCondition(
            type=names.CONTAINERS_IN_SYNC,
            status="False",
            reason="Failed",
            message=f"nothing is restarted: the pod's annotations are refused: {error.message[:512]}",
            observed_generation=pod.metadata.generation,
        )
        told = news(pod, [refused], self._around.clock.now())
        if told:
            await self._around.reports.tell(pod, told)

    def _begin(self, pod: LocalPod, memory: PodMemory, stop: Stop) -> None:
        if self._group is None or self._closed.is_set():
            return  # The next process does it.
        memory.begin_stop(stop.container_id, stop.name, stop.fingerprint)
        self._group.create_task(self._stop(pod, memory, stop), name=f"stop {stop.container_id}")

    async def _stop(self, pod: LocalPod, memory: PodMemory, stop: Stop) -> None:
        pause = inf
        try:
            await self._stopper.stop(pod, stop.name, stop.container_id, reason=stop.reason)
        except (StopError, CriError) as error:
            retry = not isinstance(error, OtherContainerError)
            now = self._around.clock.monotonic()
            pause = memory.fail_stop(stop.container_id, stop.name, str(error), now, retry=retry)
            log.warning("container not stopped", container=stop.container_id, error=str(error))
        else:
            memory.end_stop(stop.container_id)
        if isfinite(pause):
            self.controller.queue.add_after(pod.metadata.key, pause)
        self.controller.queue.add(pod.metadata.key)


def _has_started(before: LocalPod, after: LocalPod) -> bool:
    """Whether the kubelet tells of other containers than before."""
    old, new = ({each.container_id for each in pod.status.container_statuses} for pod in (before, after))
    return old != new


def _is_update(before: LocalPod, after: LocalPod) -> bool:
    """Whether the kubelet takes it for a change: of labels, annotations or what the pod asks for."""
    old, new = before.metadata, after.metadata
    return (old.labels, old.annotations) != (new.labels, new.annotations) or before.spec != after.spec
