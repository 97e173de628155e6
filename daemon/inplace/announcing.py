"""Tells pods what they become next, and has their nodes fetch the images before anything is stopped.

An image that changes becomes an ImagePullJob which follows the pods of the workload: parallelism, secrets,
retries, pins and progress are a job's anyway. It has no end of its own, so that nodes hold the image until
the rollout is over. Resources that change are told to the pods alone.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import structlog

from daemon import names
from daemon.engine.clock import Clock
from daemon.engine.objects import AlreadyExistsError, ConflictError, InvalidError, NotFoundError, Objects
from daemon.inplace.presence import Presence, presence_of
from daemon.inplace.rollouts import News, Rollout, has_given_up, jobs_for, labelled, news_of
from daemon.inplace.templates import Revision
from daemon.kube.client import ApiClient
from daemon.kube.errors import ApiError, ForbiddenError, ServerError
from daemon.kube.informer import Informer
from daemon.kube.patches import strategic_merge_patch
from daemon.objects.images import ImagePullJob, NodeImage
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key, OwnerReference
from daemon.objects.next_revisions import NextRevision, written
from daemon.objects.references import InvalidReferenceError, parse

T = TypeVar("T")

_AT_ONCE = 16
"""Pods that are told at the same time."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Announced:
    """What came of the pods that were to be told."""

    told: Mapping[Key, LocalPod] = field(default_factory=dict)
    """The pods that were written to, as they are now."""
    prepared: frozenset[str] = frozenset()
    """UIDs of pods whose nodes have said that all is there: they are told nothing."""
    coming: frozenset[str] = frozenset()
    """UIDs of pods whose nodes fetch what they need, of which they are not told yet."""


class Announcing:
    """Makes known what becomes of pods, and takes it back when a rollout is over. Holds nothing."""

    def __init__(
        self,
        client: ApiClient,
        pods: Informer[LocalPod],
        jobs: Objects[ImagePullJob],
        clock: Clock,
        *,
        node_image: Callable[[str], NodeImage | None],
    ) -> None:
        """*node_image* is what the node of that name says of its images, as last seen."""
        self._client = client
        self._pods = pods
        self._jobs = jobs
        self._clock = clock
        self._node_image = node_image
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def announce(
        self, rollout: Rollout, pods: Iterable[tuple[LocalPod, Revision | None]], *, quietly: bool = False
    ) -> Announced:
        """Tell each of *pods*, given with the revision it is of, what it becomes, if it was not told yet.

        A pod is told nothing while all that it needs are images which its node has, or, *quietly*, which are
        on their way there.

        Call it with all pods that will change, again and again; those that have been told, and whose nodes
        have not failed, can be left out, and those that were found prepared. Raises the ApiError of a write
        that failed.
        """
        if rollout.updated_ready < rollout.download.min_updated_ready:
            return Announced()
        news = tuple(news_of(rollout, pods))
        jobs, missing = await self._bring_jobs(rollout, news)
        due = [
            each
            for each in news
            if each.is_due(rollout.revision) and missing.isdisjoint(each.change.images.values())
        ]
        presences = [(each, self._presence(each, jobs)) for each in due]
        silent = {"There", "Coming"} if quietly else {"There"}
        told = await _all_of(
            self._tell(rollout, each) for each, presence in presences if presence not in silent
        )
        found: defaultdict[Presence, set[str]] = defaultdict(set)
        for each, presence in presences:
            found[presence].add(each.pod.metadata.uid)
        return Announced(
            {pod.metadata.key: pod for pod in told if pod is not None},
            frozenset(found["There"]),
            frozenset(found["Coming"] if quietly else ()),
        )

    def _presence(self, news: News, jobs: Mapping[str, ImagePullJob]) -> Presence:
        """How it stands with what a pod needs: whether resources fit, its agent alone can say."""
        if news.change.resources:
            return "Unknown"
        return presence_of(self._node_image(news.pod.spec.node_name), jobs, news.change.images.values())

    async def end(self, owner: OwnerReference, namespace: str, *, but: str = "") -> None:
        """Remove the jobs that were made for the workload, those of the revision *but* excepted."""
        for job in self._jobs_of(owner, namespace):
            if job.metadata.labels.get(names.TEMPLATE_HASH_LABEL) != labelled(but):
                await self._jobs.delete(job)

    async def withdraw(self, pods: Iterable[LocalPod]) -> None:
        """Take back what *pods* were told, and what their nodes answered: they stay what they are.

        Raises the ApiError of a write that failed.
        """
        await _all_of(self._untell(pod) for pod in pods)

    async def _bring_jobs(
        self, rollout: Rollout, news: Sequence[News]
    ) -> tuple[Mapping[str, ImagePullJob], set[str]]:
        """Have a job for each image; return them, and the images that none will bring but could be pulled.

        Pods that need those are told nothing, so that nobody waits for it.
        """
        missing: set[str] = set()
        await self.end(rollout.owner, rollout.namespace, but=rollout.revision)
        known = {job.metadata.name: job for job in self._jobs_of(rollout.owner, rollout.namespace)}
        for job in jobs_for(rollout, news):
            before = known.get(job.metadata.name)
            if before is not None and not has_given_up(before, self._clock.now()):
                continue
            if before is not None:
                await self._jobs.delete(before)
                del known[job.metadata.name]
            try:
                known[job.metadata.name] = await self._jobs.create(job)
            except AlreadyExistsError:  # somebody else's, or the watch is late: the pods will tell
                log.info("a job of that name is there already", job=str(job.metadata.key))
            except (InvalidError, ForbiddenError, ServerError) as error:
                if isinstance(error, ServerError) and not error.by_webhook:
                    raise
                log.warning("image not fetched beforehand", job=str(job.metadata.key), error=str(error))
                if _can_be_pulled(job.spec.image):
                    missing.add(job.spec.image)
        return {job.spec.image: job for job in known.values()}, missing

    def _jobs_of(self, owner: OwnerReference, namespace: str) -> list[ImagePullJob]:
        return [
            job
            for job in self._jobs.list()
            if job.metadata.namespace == namespace
            and any(each.uid == owner.uid for each in job.metadata.owner_references)
        ]

    async def _tell(self, rollout: Rollout, news: News) -> LocalPod | None:
        """Annotate exactly this pod; None when it is gone or another one by now, or was changed meanwhile."""
        text = written(_announced(rollout, news, self._clock.now()))
        metadata = {"uid": news.pod.metadata.uid, "annotations": {names.NEXT_REVISION_ANNOTATION: text}}
        return await self._patch(news.pod, {"metadata": metadata})

    async def _untell(self, pod: LocalPod) -> None:
        metadata = {"uid": pod.metadata.uid, "annotations": {names.NEXT_REVISION_ANNOTATION: None}}
        gone = {"type": names.NEXT_REVISION_READY, "$patch": "delete"}
        await self._patch(pod, {"metadata": metadata, "status": {"conditions": [gone]}}, "status")

    async def _patch(
        self, pod: LocalPod, document: Mapping[str, Any], subresource: str = ""
    ) -> LocalPod | None:
        key, patch = pod.metadata.key, strategic_merge_patch(document)
        async with self._turns:
            try:
                told = await self._client.patch(self._pods.resource, key, patch, subresource=subresource)
            except (NotFoundError, ConflictError):
                return None
            except InvalidError as error:  # another pod's UID, or annotations without room for this one
                log.warning("pod not told", pod=str(key), error=str(error))
                return None
        self._pods.learn(told)
        return told


async def _all_of(writes: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Make all *writes*, whatever fails; raises the first ApiError when none is on its way any more."""
    errors: list[ApiError] = []

    async def one(write: Coroutine[Any, Any, T]) -> T | None:
        try:
            return await write
        except ApiError as error:
            errors.append(error)
            return None

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(write)) for write in writes]
    if errors:
        raise errors[0]
    return [done for task in tasks if (done := task.result()) is not None]


def _can_be_pulled(image: str) -> bool:
    """Whether it is the name of an image at all: of one that is not, the pods' agents tell."""
    try:
        return bool(parse(image))
    except InvalidReferenceError:
        return False


def _announced(rollout: Rollout, news: News, now: datetime) -> NextRevision:
    return NextRevision(rollout.revision, news.change.images, news.change.resources, now)
