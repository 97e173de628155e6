"""Tells pods what they become next, and has their nodes fetch the images before anything is stopped.

An image that changes becomes an ImagePullJob which follows the pods of the workload: parallelism, secrets,
retries, pins and progress are a job's anyway. It has no end of its own, so that nodes hold the image until
the rollout is over. Resources that change are told to the pods alone.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import msgspec
import structlog

from daemon import names
from daemon.engine.clock import Clock
from daemon.engine.objects import AlreadyExistsError, ConflictError, InvalidError, NotFoundError, Objects
from daemon.inplace.changes import left_of, touched_by
from daemon.inplace.diff import InPlace, MustRecreate, diff
from daemon.inplace.templates import Revision
from daemon.kube.client import ApiClient
from daemon.kube.errors import ApiError, ForbiddenError
from daemon.kube.informer import Informer
from daemon.kube.patches import strategic_merge_patch
from daemon.objects.images import CompletionPolicy, ImagePullJob, ImagePullJobSpec, PullPolicy
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key, LabelSelector, ObjectMeta, OwnerReference
from daemon.objects.next_revisions import NextRevision, next_revision_of, written
from daemon.objects.references import InvalidReferenceError, parse

T = TypeVar("T")

_AT_ONCE = 16
"""Pods that are told at the same time."""
_NODES = 10
"""Nodes that pull at the same time, where the workload does not say."""
_RETRIES = 3
_LONGEST_LABEL = 63
_AGAIN = 300.0
"""Seconds after which nodes that failed to pull an image are asked anew: its registry may be mended."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """How images are fetched beforehand: the workload's ``image-predownload-…`` annotations or fields."""

    parallelism: int | str | None = None
    """Nodes at the same time, a number or a percentage."""
    timeout_seconds: int | None = None
    """Of one attempt on one node."""
    min_updated_ready: int = 0
    """Updated pods that must be ready before anything is fetched or told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A workload on its way to a revision."""

    owner: OwnerReference
    """The workload as owner: what is made for it goes with it."""
    namespace: str
    selector: LabelSelector
    """Of its pods."""
    revision: str
    """Name of the ControllerRevision."""
    new: Revision
    updated_ready: int = 0
    download: Download = field(default_factory=Download)
    ignore_claims: bool = False


@dataclass(frozen=True, slots=True)
class News:
    """What a pod is to be told, and whether it has been."""

    pod: LocalPod
    change: InPlace

    @property
    def is_told(self) -> bool:
        """Whether the pod carries exactly this."""
        told = next_revision_of(self.pod)
        return told is not None and (told.images, told.resources) == (
            self.change.images,
            self.change.resources,
        )


def news_of(rollout: Rollout, pods: Iterable[tuple[LocalPod, Revision | None]]) -> Iterator[News]:
    """The pods whose images or resources will change in place. Pure."""
    verdicts: dict[int, InPlace | MustRecreate] = {}
    for pod, old in pods:
        if id(old) not in verdicts:  # many pods are of few revisions
            verdicts[id(old)] = diff(old, rollout.new, ignore_claims=rollout.ignore_claims)
        verdict = verdicts[id(old)]
        if not isinstance(verdict, InPlace) or pod.metadata.deletion_timestamp is not None:
            continue
        change = left_of(pod, touched_by(verdict), rollout.new)
        if change.images or change.resources:
            yield News(pod, change)


def jobs_for(rollout: Rollout, news: Sequence[News]) -> tuple[ImagePullJob, ...]:
    """One for each image that some pod will need; named by the first container that has it. Pure."""
    images: dict[str, str] = {}
    for each in news:
        for container, image in each.change.images.items():
            images.setdefault(image, container)
    secrets = sorted({one.name for each in news for one in each.pod.spec.image_pull_secrets if one.name})
    download = rollout.download
    policy = PullPolicy(backoff_limit=_RETRIES)
    if download.timeout_seconds:
        policy = msgspec.structs.replace(policy, timeout_seconds=download.timeout_seconds)
    return tuple(
        ImagePullJob(
            metadata=ObjectMeta(
                name=f"{rollout.revision}-{container}",
                namespace=rollout.namespace,
                labels={
                    **rollout.selector.match_labels,
                    names.TEMPLATE_HASH_LABEL: _labelled(rollout.revision),
                },
                owner_references=(rollout.owner,),
            ),
            spec=ImagePullJobSpec(
                image=image,
                pull_secrets=tuple(secrets),
                pod_selector=rollout.selector,
                parallelism=_NODES if download.parallelism is None else download.parallelism,
                pull_policy=policy,
                completion_policy=CompletionPolicy(type="Never"),
            ),
        )
        for image, container in images.items()
    )


def has_given_up(job: ImagePullJob, now: datetime) -> bool:
    """Whether nodes have failed at *job*, and long enough ago to have them try again. Pure."""
    made = job.metadata.creation_timestamp
    return job.status.failed > 0 and made is not None and (now - made).total_seconds() >= _AGAIN


class Announcing:
    """Makes known what becomes of pods, and takes it back when a rollout is over. Holds nothing."""

    def __init__(
        self, client: ApiClient, pods: Informer[LocalPod], jobs: Objects[ImagePullJob], clock: Clock
    ) -> None:
        self._client = client
        self._pods = pods
        self._jobs = jobs
        self._clock = clock
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def announce(
        self, rollout: Rollout, pods: Iterable[tuple[LocalPod, Revision | None]]
    ) -> Mapping[Key, LocalPod]:
        """Tell each of *pods*, given with the revision it is of, what it becomes, if it was not told yet.

        Call it with all pods that will change, again and again; those that have been told, and whose nodes
        have not failed, can be left out. Returns the pods that were written to, as they are now. Raises the
        ApiError of a write that failed.
        """
        if rollout.updated_ready < rollout.download.min_updated_ready:
            return {}
        news = tuple(news_of(rollout, pods))
        missing = await self._bring_jobs(rollout, news)
        due = [
            each
            for each in news
            if (not each.is_told or _told_of(each.pod) != rollout.revision)
            and missing.isdisjoint(each.change.images.values())
        ]
        told = await _all_of(self._tell(rollout, each) for each in due)
        return {pod.metadata.key: pod for pod in told if pod is not None}

    async def end(self, owner: OwnerReference, namespace: str, *, but: str = "") -> None:
        """Remove the jobs that were made for the workload, those of the revision *but* excepted."""
        for job in self._jobs_of(owner, namespace):
            if job.metadata.labels.get(names.TEMPLATE_HASH_LABEL) != _labelled(but):
                await self._jobs.delete(job)

    async def withdraw(self, pods: Iterable[LocalPod]) -> None:
        """Take back what *pods* were told, and what their nodes answered: they stay what they are.

        Raises the ApiError of a write that failed.
        """
        await _all_of(self._untell(pod) for pod in pods)

    async def _bring_jobs(self, rollout: Rollout, news: Sequence[News]) -> set[str]:
        """Have a job for each image; return the images that none will bring, though they could be pulled.

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
            if not await self._create(job) and _can_be_pulled(job.spec.image):
                missing.add(job.spec.image)
        return missing

    async def _create(self, job: ImagePullJob) -> bool:
        """Whether there is a job of that name now."""
        try:
            await self._jobs.create(job)
        except AlreadyExistsError:  # somebody else's, or the watch is late: the pods will tell
            log.info("a job of that name is there already", job=str(job.metadata.key))
        except (InvalidError, ForbiddenError) as error:
            log.warning("image not fetched beforehand", job=str(job.metadata.key), error=str(error))
            return False
        return True

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


def _labelled(revision: str) -> str:
    """*revision* as the value of a label, which may be shorter than a name: its end tells it from others."""
    return revision[-_LONGEST_LABEL:].lstrip("-.")


def _told_of(pod: LocalPod) -> str:
    told = next_revision_of(pod)
    return told.revision if told is not None else ""


def _announced(rollout: Rollout, news: News, now: datetime) -> NextRevision:
    return NextRevision(rollout.revision, news.change.images, news.change.resources, now)
