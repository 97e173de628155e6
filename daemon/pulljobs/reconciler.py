"""Carries out the plans of ImagePullJobs: what they want of nodes, and their status."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import assert_never

import msgspec
import structlog

from daemon import names
from daemon.engine.clock import Clock
from daemon.engine.objects import NotFoundError, Objects
from daemon.engine.reconciling import Controller
from daemon.engine.watches import Copy
from daemon.metrics import Metrics
from daemon.objects.images import ImageListPullJob, ImagePullJob, NodeImage, NodeImageSpec
from daemon.objects.meta import Key
from daemon.objects.parts import PodPart
from daemon.objects.pods import Pod
from daemon.pulljobs.following import Following
from daemon.pulljobs.index import ShareIndex
from daemon.pulljobs.planner import Action, Ask, Drop, Observed, Remove, is_ended, plan
from daemon.pulljobs.reporting import Announce, Statuses, say_nothing
from daemon.pulljobs.shares import SILENT, JobShares
from daemon.pulljobs.specs import Edit, Edits, NodeSpecs, Outcomes
from daemon.pulljobs.tags import place_of, with_job, without_job
from daemon.pulljobs.wording import listed

_WORKERS = 16
"""Jobs whose status is on its way at the same time."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class JobObjects:
    """The kinds that jobs read and write."""

    jobs: Objects[ImagePullJob]
    lists: Objects[ImageListPullJob]
    node_images: Objects[NodeImage]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a cluster has besides: by default nothing, as in standalone mode."""

    announce: Announce = say_nothing
    open_pods: Callable[[PodPart], Copy[Pod]] | None = None
    """Follows the pods of a selector."""
    prepare: Callable[[NodeImage], Awaitable[None]] | None = None
    """Awaited before a node's object is written like this."""


ALONE = Surroundings()


class PullJobs:
    """Brings each ImagePullJob to the nodes that it selects."""

    def __init__(
        self,
        objects: JobObjects,
        metrics: Metrics,
        clock: Clock,
        *,
        default_ttl: int,
        around: Surroundings = ALONE,
    ) -> None:
        self.controller: Controller[Key] = Controller("pulljobs", self.reconcile, metrics, workers=_WORKERS)
        self.index = ShareIndex(default_ttl=default_ttl)
        outcomes = Outcomes(settled=self._on_settled, refused=self._on_refused, prepare=around.prepare)
        self.specs = NodeSpecs(objects.node_images, metrics, clock, outcomes)
        self.pods: Following | None = None
        if around.open_pods is not None:
            self.pods = Following(around.open_pods, self.controller.queue.add)
        self._objects = objects
        self._announce = around.announce
        self._statuses = Statuses(objects.jobs, clock, lambda: self.index.live, around.announce)
        self._clock = clock
        self._default_ttl = default_ttl
        self._looked_at: dict[Key, ImagePullJob] = {}

    def watch(self) -> None:
        """Look at a job when it changes, and at those that a node's change concerns."""
        for image in self._objects.node_images.list():
            self._look_at(self.index.take_node(image, self._clock.now()))
        self._objects.jobs.subscribe(self._on_job)
        self._objects.node_images.subscribe(self._on_node)
        self._look_at({job.metadata.key for job in self._objects.jobs.list()})

    def hear(self, silent: Mapping[str, datetime]) -> None:
        """Take in which nodes' agents give no sign of life, and since when."""
        concerned = self.index.hear(silent, self._clock.now())
        for key, nodes in concerned.items():
            job = self._objects.jobs.get(key)
            if nodes and job is not None:
                words = f"no sign of life from the agents of {listed(nodes)}: look at their pods and nodes"
                self._announce(job, SILENT, words, warning=True)
        self._look_at(concerned.keys())

    def _find_pods(self, job: ImagePullJob, shares: JobShares) -> bool:
        """Find out where the job's pods are, if it follows any; False when that is not known yet."""
        if self.pods is None or job.spec.pod_selector is None or is_ended(job) or shares.problems:
            self._unfollow(job.metadata.key)
            return True
        followed = self.pods.followed(job)
        if followed is None:
            return False
        self.index.follow(job.metadata.uid, followed, self._clock.now())
        return True

    def _unfollow(self, key: Key) -> None:
        if self.pods is not None:
            self.pods.forget(key)

    def _look_at(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self.controller.queue.add(key)

    def _on_job(self, key: Key) -> None:
        """Look at a job that changed; that it is on the disk by now is no news."""
        job = self._objects.jobs.get(key)
        if job is None or job is not self._looked_at.get(key):
            self.controller.queue.add(key)

    def _on_node(self, key: Key) -> None:
        image = self._objects.node_images.get(key)
        if image is None:
            self._look_at(self.index.lose_node(key.name))
        elif image is not self.index.node(key.name):
            self._look_at(self.index.take_node(image, self._clock.now()))

    def _on_settled(self, node: str, edits: Edits) -> None:
        self._on_node(Key("", node))  # the listener may not have been called yet
        self._look_at(self.index.settle(node, edits, self._clock.now()))

    def _on_refused(self, node: str, uid: str, message: str) -> None:
        self._look_at(self.index.refuse(node, uid, message))

    async def reconcile(self, key: Key) -> float | None:
        """Plan for one job and carry it out."""
        stored = self._objects.jobs.get(key)
        self._drop_strangers(key, stored)
        if stored is None:
            self._statuses.forget(key)
            self._unfollow(key)
            self._looked_at.pop(key, None)
            return None
        self._looked_at[key] = stored
        if _is_protected(stored):
            await self._let_go(stored)
            return None
        job, now = self._statuses.latest(stored), self._clock.now()
        shares = self.index.shares_of(job, now)
        if not self._find_pods(job, shares):
            return None
        waits = [shares.expire(now)]
        made = plan(Observed(job=job, shares=shares, now=now, default_ttl=self._default_ttl))
        ask = partial(self._with_job, key, job.metadata.uid, now)
        for action in made.actions:
            await self._apply(job, shares, action, ask)
        if not any(isinstance(action, Remove) for action in made.actions):
            waits.append(await self._statuses.tell(key, job.metadata.uid, made.status))
        return min((wait for wait in (*waits, made.wake_in) if wait is not None), default=None)

    async def _let_go(self, job: ImagePullJob) -> None:
        """Have a removed job go that OpenKruise's manager has left: nobody else does by now."""
        left = tuple(each for each in job.metadata.finalizers if each != names.PROTECTION_FINALIZER)
        metadata = msgspec.structs.replace(job.metadata, finalizers=left)
        try:
            await self._objects.jobs.replace(msgspec.structs.replace(job, metadata=metadata))
        except NotFoundError:
            log.debug("job is gone", job=str(job.metadata.key))

    def _drop_strangers(self, key: Key, job: ImagePullJob | None) -> None:
        """Take the shares of jobs that had this name before out of the nodes."""
        strangers = self.index.strangers(key, job.metadata.uid if job is not None else "")
        for uid, nodes in strangers.items():
            for node in nodes:
                self.specs.change(node, uid, partial(without_job, uid=uid))

    async def _apply(self, job: ImagePullJob, shares: JobShares, action: Action, ask: Edit) -> None:
        """Carry out one action. *ask* is shared by all nodes that are asked, since they may be thousands."""
        uid = job.metadata.uid
        match action:
            case Ask(node):
                shares.ask(node)
                self.specs.change(node, uid, ask)
            case Drop(node, keep_current):
                keep = place_of(job.spec.image) if keep_current else None
                if not keep_current:
                    self.index.leave(node, uid)
                self.specs.change(node, uid, partial(without_job, uid=uid, keep=keep))
            case Remove():
                log.info("job expired", job=str(job.metadata.key))
                await self._objects.jobs.delete(job)
            case _:
                assert_never(action)

    def _with_job(
        self, key: Key, uid: str, now: datetime, node_image: NodeImage, *, among: Collection[str]
    ) -> NodeImageSpec:
        """The spec in which the job's only share is its tag; as it is when the job is over by now.

        *now* is when the job decided to ask: nodes that it asks at once are asked in the same words.
        """
        job = self._objects.jobs.get(key)
        if job is None or job.metadata.uid != uid or is_ended(self._statuses.latest(job)):
            return node_image.spec
        ttl = job.spec.completion_policy.ttl_seconds_after_finished
        bare = without_job(node_image, uid, keep=place_of(job.spec.image), among=among)
        if bare != node_image.spec:
            node_image = _with_spec(node_image, bare)
        return with_job(node_image, job, now, self._default_ttl if ttl is None else ttl)


def _is_protected(job: ImagePullJob) -> bool:
    """Whether OpenKruise's finalizer keeps the job, which somebody has removed."""
    metadata = job.metadata
    return metadata.deletion_timestamp is not None and names.PROTECTION_FINALIZER in metadata.finalizers


def _with_spec(image: NodeImage, spec: NodeImageSpec) -> NodeImage:
    return NodeImage(metadata=image.metadata, spec=spec, status=image.status)
