"""Says of pods that will change whether the node is prepared: images present, resources free.

It fetches nothing: the images are wanted of the node by jobs of the workload (``inplace.announcing``), whose
pulls, secrets and pins are those of any job. Here is seen how far they are, and told to the pod.
"""

from collections.abc import Mapping, Sequence

import msgspec
import structlog

from daemon import names
from daemon.cri.client import CriClient
from daemon.cri.errors import CriError
from daemon.debug.views import PodsView
from daemon.engine.lifecycle import Closable, Part
from daemon.engine.objects import NotFoundError
from daemon.engine.reconciling import Controller
from daemon.kube.errors import ApiError
from daemon.kube.resources import LOCAL_NODES
from daemon.localpods.conditions import condition_of, news
from daemon.localpods.room import free_of, shortage, taken_by, would_take
from daemon.localpods.surroundings import PodSurroundings
from daemon.objects.local_pods import LocalPod, LocalPodCondition, ResourceRequirements
from daemon.objects.meta import Key
from daemon.objects.next_revisions import NextRevision, about, answer_of, next_revision_of
from daemon.preflight.planner import Answer, Observed, Pull, images_of, plan
from daemon.preflight.shown import pull_of, updates

_WORKERS = 8
"""Pods that are looked at side by side."""
_SETTLE = 0.3
"""Seconds that images may be away before that is told: a shorter pull is one write."""
_BETWEEN = 5.0
"""Seconds between two tellings of how far a pull is."""
_ASK_AGAIN = 2.0
"""Seconds after which a runtime that did not answer is asked again."""

log = structlog.get_logger()


class _Memory(msgspec.Struct):
    """What is known of one pod's announcement. Times are monotonic."""

    announced: NextRevision
    began_at: float
    told_at: float = 0.0


class Preflight:
    """Implements PodFeature."""

    def __init__(self, around: PodSurroundings) -> None:
        self._around = around
        self._memories: dict[str, _Memory] = {}
        """By UID of the pod."""
        self._waiting: set[Key] = set()
        """Pods whose images are on their way."""
        self.controller: Controller[Key] = Controller(
            "preflight", self.reconcile, around.metrics, workers=_WORKERS
        )

    @property
    def feeders(self) -> Sequence[Part]:
        """Nothing runs without end."""
        return ()

    @property
    def workers(self) -> Sequence[Part]:
        """Those of the queue."""
        return (self.controller.run,)

    @property
    def queues(self) -> Sequence[Closable]:
        """What ends them."""
        return (self.controller.queue,)

    def start(self) -> None:
        """Begin to follow the pods, and the node's pulls."""
        self._around.pods.on_change(self._on_change)
        self._around.pulls.subscribe(self._on_pulls)
        self.wake()

    def wake(self) -> None:
        """Look anew at all pods that were told something."""
        for pod in self._around.pods.list():
            self._on_change(None, pod)

    def view(self) -> PodsView:
        """The pods that were told something, and how far the node is with that."""
        return PodsView(updates=updates(self._around.pods.list(), self._around.pulls.rows()))

    def _on_change(self, before: LocalPod | None, after: LocalPod | None) -> None:
        if before is not None and (after is None or after.metadata.uid != before.metadata.uid):
            self._memories.pop(before.metadata.uid, None)
            self._waiting.discard(before.metadata.key)
        if after is not None and names.NEXT_REVISION_ANNOTATION in after.metadata.annotations:
            self.controller.queue.add(after.metadata.key)

    def _on_pulls(self) -> None:
        for key in self._waiting:
            self.controller.queue.add(key)

    async def reconcile(self, key: Key) -> float | None:
        """Find out how far the node is with what one pod was told, and tell the pod if that is news."""
        self._waiting.discard(key)
        pod = self._around.pods.get(key)
        announced = next_revision_of(pod) if pod is not None else None
        if pod is None or announced is None or pod.metadata.deletion_timestamp is not None:
            return None
        memory = self._remember(pod, announced)
        present = await self._present(pod, announced)
        if present is None:
            return _ASK_AGAIN
        shortage = await self._shortage(pod, announced)
        answer = plan(Observed(announced, present, self._pulls(), shortage))
        if not answer.ready:
            self._waiting.add(key)
        wait = 0.0 if answer.is_final else self._wait(pod, memory)
        if wait > 0:
            return wait
        await self._tell(pod, memory, answer)
        return None if answer.ready else _BETWEEN

    def _remember(self, pod: LocalPod, announced: NextRevision) -> _Memory:
        memory = self._memories.get(pod.metadata.uid)
        if memory is None or memory.announced != announced:
            memory = _Memory(announced, self._around.clock.monotonic())
            self._memories[pod.metadata.uid] = memory
        return memory

    def _wait(self, pod: LocalPod, memory: _Memory) -> float:
        """Seconds until it may be told how far a pull is."""
        now = self._around.clock.monotonic()
        if answer_of(pod, memory.announced.revision) is None:
            return memory.began_at + _SETTLE - now
        return memory.told_at + _BETWEEN - now

    async def _present(self, pod: LocalPod, announced: NextRevision) -> frozenset[str] | None:
        """Those of the images that the runtime has; None while it does not answer."""
        pulls, found = self._pulls(), []
        client = self._client(pod)
        for name in images_of(announced):
            pull = pulls.get(name)
            if pull is not None and pull.phase in {"Pulling", "Unpacking"}:
                continue
            if client is None:
                return None
            try:
                if await client.image_status(name) is not None:
                    found.append(name)
            except CriError as error:
                log.warning("cannot look for an image", image=name, error=str(error))
                return None
        return frozenset(found)

    async def _shortage(self, pod: LocalPod, announced: NextRevision) -> str:
        """What of the announced resources the node has not; unknown, it is left to the kubelet."""
        if not announced.resources:
            return ""
        try:
            node = await self._around.client.get(LOCAL_NODES, Key("", self._around.config.node_name))
        except ApiError as error:
            log.warning("cannot read the node", error=str(error))
            return ""
        changes = {name: _defaulted(each) for name, each in announced.resources.items()}
        growth = would_take(pod, changes).less(taken_by(pod))
        return shortage(free_of(node, self._around.pods.list()), growth)

    def _client(self, pod: LocalPod) -> CriClient | None:
        """The runtime that runs the pod; the node's own, while it runs nothing of it."""
        ids = (each.container_id for each in pod.status.container_statuses if each.container_id)
        runtime = next((self._around.runtime_of(each) for each in ids), None) or self._around.runtimes.default
        return runtime.client if runtime is not None else None

    def _pulls(self) -> Mapping[str, Pull]:
        return {row.image: pull_of(row) for row in self._around.pulls.rows()}

    async def _tell(self, pod: LocalPod, memory: _Memory, answer: Answer) -> None:
        condition = LocalPodCondition(
            type=names.NEXT_REVISION_READY,
            status="True" if answer.ready else "False",
            reason=answer.reason,
            message=about(memory.announced.revision, answer.message),
            observed_generation=pod.metadata.generation,
        )
        before = condition_of(pod, condition.type)
        told = news(pod, [condition], self._around.clock.now())
        if not told or (before is not None and _same(before, condition)):
            return
        try:
            await self._around.reports.tell(pod, told)
        except NotFoundError:
            return
        memory.told_at = self._around.clock.monotonic()
        if before is None or before.reason != condition.reason:
            self._say(pod, answer, condition.message)

    def _say(self, pod: LocalPod, answer: Answer, message: str) -> None:
        """In an event, when something is in the way."""
        if answer.is_final and not answer.ready:
            self._around.record(pod, answer.reason, message, action="Prepare", type_="Warning")


def _defaulted(asked: ResourceRequirements) -> ResourceRequirements:
    """As the API server completes it: a limit without a request is a request, too."""
    return ResourceRequirements(requests={**asked.limits, **asked.requests}, limits=asked.limits)


def _same(before: LocalPodCondition, after: LocalPodCondition) -> bool:
    """Whether they say the same: the generation alone is no reason to write."""
    return (before.status, before.reason, before.message) == (after.status, after.reason, after.message)
