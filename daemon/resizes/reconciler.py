"""Brings the CPU and memory of a node's pods to what their annotations ask for, through ``pods/resize``."""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from daemon import names
from daemon.cri.errors import CriError
from daemon.debug.views import PodsView
from daemon.engine.lifecycle import Closable, Part
from daemon.engine.reconciling import Controller
from daemon.engine.together import together
from daemon.kube.access import AccessError
from daemon.kube.errors import ApiError
from daemon.kube.informer import Informer
from daemon.kube.resources import LOCAL_NODES, LOCAL_PODS
from daemon.kube.selections import only
from daemon.localpods.room import allocatable_of
from daemon.localpods.surroundings import PodSurroundings
from daemon.objects.local_nodes import LocalNode
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key
from daemon.objects.resizes import Outcome, digest_of, record_of
from daemon.resizes.applying import ERRORS, Applier
from daemon.resizes.asking import RuntimeAsker
from daemon.resizes.planner import plan
from daemon.resizes.plans import Observed, Plan, PodSeen, Question, Served
from daemon.resizes.reporting import ResizeReports
from daemon.resizes.shown import in_force, resizes
from daemon.resizes.standing import Doings, Remembered, Standing, fingerprint_of

_ROUNDS = 3
"""Plans that are made of one moment at most: each may ask the runtime one thing more of a pod."""
_NODE_PATIENCE = 10.0
"""Seconds to wait for the Node at the start: without it, the kubelet alone counts room."""
_FIRST_PAUSE, _LAST_PAUSE = 0.5, 30.0
"""Seconds between two questions to an API server that does not answer what it serves."""
_SERVED_AGAIN = 300.0
"""Seconds between two looks whether the API server has learned to resize."""
_SOON = 0.2
"""Seconds until a pod is looked at again that somebody else has just changed."""
_BREATH = 0.03
"""Seconds between two plans at least: many changes at once are planned for together."""
_FAILED_AGAIN = 2.0
"""Seconds until a step that failed is tried again, if nothing changes before."""

log = structlog.get_logger()


class Resizes:
    """Observes, plans and applies for all pods of one node."""

    def __init__(self, around: PodSurroundings) -> None:
        self._around = around
        self._key = Key("", around.config.node_name)
        self._node: Informer[LocalNode] = Informer(
            around.client, LOCAL_NODES, around.metrics, selection=only(self._key.name)
        )
        self._standing = Standing()
        self._remembered = Remembered()
        self._asker = RuntimeAsker(around)
        self._applier = Applier(around, self._asker, self._remembered)
        self._reports = ResizeReports(around, self._remembered)
        self._served: Served | None = None
        self._planned_at = -_BREATH
        """The loop's time of the last plan."""
        self._asked = asyncio.Event()
        """Set when a pod has asked for something: on most nodes none ever does."""
        self._controller: Controller[Key] = Controller("resizes", self.reconcile, around.metrics)

    @property
    def feeders(self) -> Sequence[Part]:
        """What runs until it is cancelled."""
        return (self._work,)

    @property
    def workers(self) -> Sequence[Part]:
        """What ends by itself when the queues are closed."""
        return (self._controller.run, self._reports.controller.run)

    @property
    def queues(self) -> Sequence[Closable]:
        """What is closed to end the workers."""
        return (self._controller.queue, self._reports.controller.queue)

    def start(self) -> None:
        """Begin to follow the pods."""
        self._around.pods.on_change(self._on_pod)
        self._node.subscribe(lambda _key: self.wake())
        for pod in self._around.pods.list():
            self._standing.take(None, pod)
        self.wake()

    def wake(self) -> None:
        """Have a new plan made, once it is known what the API server serves."""
        if self._standing.asking:
            self._asked.set()
        if self._standing.asking and self._served is not None:
            wait = self._planned_at + _BREATH - asyncio.get_running_loop().time()
            if wait > 0:
                self._controller.queue.add_after(self._key, wait)
            else:
                self._controller.queue.add(self._key)

    def view(self) -> PodsView:
        """The pods that ask for something, and how far their resize is."""
        before = {uid: each.before for uid, each in self._remembered.every.items()}
        return PodsView(resizes=resizes(map(self._around.pods.get, self._standing.asking), before))

    def _on_pod(self, before: LocalPod | None, after: LocalPod | None) -> None:
        if self._standing.take(before, after):
            self.wake()

    async def _work(self) -> None:
        """Follow the node from when the first pod asks for something, and learn what is served."""
        await self._asked.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._node.run(), name="resizes-node")
            group.create_task(self._learn(), name="resizes-served")

    async def _learn(self) -> None:
        try:
            async with asyncio.timeout(_NODE_PATIENCE):
                await self._node.synced()
        except TimeoutError:
            log.warning("node cannot be read: room is left to the kubelet", node=self._key.name)
        while self._served is None or not self._served.resize:
            self._served = await self._discover()
            self.wake()
            await asyncio.sleep(_SERVED_AGAIN)

    async def _discover(self) -> Served:
        pause, client = _FIRST_PAUSE, self._around.client
        while True:
            try:
                return Served(await client.offers(LOCAL_PODS, "resize"), await client.version())
            except (ApiError, AccessError) as error:
                log.warning("cannot learn what is served", error=str(error), retry_in=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE)

    async def reconcile(self, _: Key) -> float | None:
        """Make a plan for the node, do what it says and have it told."""
        served = self._served
        if served is None:
            return None
        made = await self._planned(served)
        self._planned_at = asyncio.get_running_loop().time()
        again = failed = False
        for step in made.steps:
            try:
                again |= await self._applier.apply(step)
            except ERRORS as error:
                failed = True
                log.warning("cannot resize now", error=str(error), retry_in=_FAILED_AGAIN)
        self._remember_doubts(made)
        self._reports.publish(made.verdicts)
        deferred = sum(each.outcome is Outcome.DEFERRED for each in made.verdicts)
        self._around.metrics.resizes_deferred.set(deferred)
        return self._wake_in(made, again=again, failed=failed)

    def _wake_in(self, made: Plan, *, again: bool, failed: bool) -> float | None:
        wakes = [made.wake_in] if made.wake_in is not None else []
        if again:
            wakes.append(_SOON)
        if failed:
            wakes.append(_FAILED_AGAIN)
        if self._standing.asking:
            wakes.append(self._around.config.resize_check_interval)
        return min(wakes, default=None)

    async def _planned(self, served: Served) -> Plan:
        """A plan of this moment; the runtime is asked what it depends on."""
        pods = [pod for key in self._standing.asking if (pod := self._around.pods.get(key)) is not None]
        self._remembered.keep_only({pod.metadata.uid for pod in pods})
        for pod in pods:
            self._refresh(pod)
        made = plan(self._observed(pods, served))
        for _ in range(_ROUNDS):
            if not made.questions:
                break
            await self._ask({pod.metadata.uid: pod for pod in pods}, made.questions)
            made = plan(self._observed(pods, served))
        return made

    def _refresh(self, pod: LocalPod) -> None:
        """Forget of a pod what holds no longer."""
        doings, now = self._remembered.of(pod.metadata.uid), asyncio.get_running_loop().time()
        doings.usage, doings.problem = None, ""
        text = pod.metadata.annotations.get(names.RESOURCES_ANNOTATION)
        digest = digest_of(text) if text is not None else ""
        if doings.wish != digest:
            record = record_of(pod)
            known = record is not None and record.wish == digest
            doings.wish, doings.began_at, doings.patched_at = digest, 0.0 if known else now, None
            doings.before = in_force(pod, text) if text is not None else {}
        old = now - doings.numbers_at > self._around.config.resize_check_interval
        if old or doings.doubted_at is not None or doings.numbers_of != fingerprint_of(pod):
            doings.numbers = None

    def _observed(self, pods: Sequence[LocalPod], served: Served) -> Observed:
        node = self._node.get(self._key)
        return Observed(
            now=self._around.clock.now(),
            asking=[self._seen(pod) for pod in pods],
            others=self._standing.others,
            allocatable=allocatable_of(node) if node is not None else None,
            served=served,
            margin=self._around.config.memory_margin_bytes,
        )

    def _seen(self, pod: LocalPod) -> PodSeen:
        doings, now = self._remembered.of(pod.metadata.uid), asyncio.get_running_loop().time()
        return PodSeen(
            pod,
            usage=doings.usage,
            numbers=doings.numbers,
            problem=doings.problem,
            refusal=doings.refusal if now < doings.refused_until else None,
            patched_for=now - doings.patched_at if doings.patched_at is not None else None,
            doubted_for=now - doings.doubted_at if doings.doubted_at is not None else 0.0,
            repairs=doings.repairs,
        )

    async def _ask(self, pods: Mapping[str, LocalPod], questions: Mapping[str, Question]) -> None:
        await together(self._answer(pods[uid], each) for uid, each in questions.items())

    async def _answer(self, pod: LocalPod, question: Question) -> None:
        doings = self._remembered.of(pod.metadata.uid)
        if question is Question.USAGE:
            doings.usage = await self._asker.usage(pod)
            return
        try:
            doings.numbers = await self._asker.numbers(pod)
        except CriError as error:
            doings.problem = str(error)
            return
        doings.numbers_of, doings.numbers_at = fingerprint_of(pod), asyncio.get_running_loop().time()

    def _remember_doubts(self, made: Plan) -> None:
        now = asyncio.get_running_loop().time()
        for uid, doings in self._remembered.every.items():
            if uid not in made.doubted:
                doings.doubted_at = None
                self._forget_repairs(doings, now)
            elif doings.doubted_at is None:
                doings.doubted_at = now

    def _forget_repairs(self, doings: Doings, now: float) -> None:
        if doings.repairs and now - doings.repaired_at > 2 * self._around.config.resize_check_interval:
            doings.repairs = 0
