"""Carries out the plans of ImagePullJobs and ImageListPullJobs: NodeImage specs, children, status."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, assert_never

import msgspec
import structlog

from daemon.engine.clock import Clock
from daemon.engine.objects import AlreadyExistsError, NotFoundError, Objects
from daemon.engine.reconciling import Controller
from daemon.metrics import Metrics
from daemon.objects.images import ImageListPullJob, ImagePullJob, ImageStatus, NodeImage
from daemon.objects.meta import Key, OwnerReference
from daemon.objects.references import parse
from daemon.pulljobs.lists import Create, Delete, ListAction, ListObserved, RemoveList, is_child, plan_list
from daemon.pulljobs.planner import Action, Ask, Drop, Observed, Plan, Remove, plan
from daemon.pulljobs.specs import NodeSpecs
from daemon.pulljobs.tags import with_job, without_job

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class JobObjects:
    """The kinds that jobs read and write."""

    jobs: Objects[ImagePullJob]
    lists: Objects[ImageListPullJob]
    node_images: Objects[NodeImage]


class PullJobs:
    """Brings each ImagePullJob to the nodes that it selects."""

    def __init__(self, objects: JobObjects, metrics: Metrics, clock: Clock, *, default_ttl: int) -> None:
        # Several workers, so that what several jobs want of a node goes in one write.
        self.controller: Controller[Key] = Controller("pulljobs", self.reconcile, metrics, workers=16)
        self._objects = objects
        self._specs = NodeSpecs(objects.node_images)
        self._seen: dict[Key, NodeImage] = {}
        self._clock = clock
        self._default_ttl = default_ttl

    def watch(self) -> None:
        """Look at a job when it changes, and at its owners' tags when a node's images change."""
        self._objects.jobs.subscribe(self.controller.queue.add)
        self._objects.node_images.subscribe(self._on_node)
        for job in self._objects.jobs.list():
            self.controller.queue.add(job.metadata.key)
        for image in self._objects.node_images.list():
            for owner in _job_owners(image):  # Some may have gone while nobody looked.
                self.controller.queue.add(_key_of(owner))

    def _on_node(self, key: Key) -> None:
        image, before = self._objects.node_images.get(key), self._seen.pop(key, None)
        if image is not None:
            self._seen[key] = image
        if image is None or before is None or image.metadata.labels != before.metadata.labels:
            concerned = [job.metadata.key for job in self._objects.jobs.list()]
        else:
            concerned = list(_owners_of_changes(before, image))
        for job_key in concerned:
            self.controller.queue.add(job_key)

    async def reconcile(self, key: Key) -> float | None:
        """Plan for one job and carry it out."""
        job = self._objects.jobs.get(key)
        await self._forget_strangers(key, job)
        if job is None:
            return None
        made = plan(
            Observed(
                job=job,
                nodes=self._objects.node_images.list(),
                now=self._clock.now(),
                default_ttl=self._default_ttl,
            )
        )
        await self._carry_out(job, made)
        return made.wake_in

    async def _carry_out(self, job: ImagePullJob, made: Plan) -> None:
        for action in made.actions:
            await self._apply(job, action)
        if made.status != job.status and not any(isinstance(action, Remove) for action in made.actions):
            await _write_status(self._objects.jobs, msgspec.structs.replace(job, status=made.status))

    async def _apply(self, job: ImagePullJob, action: Action) -> None:
        match action:
            case Ask(node):
                ttl = job.spec.completion_policy.ttl_seconds_after_finished
                kept = self._default_ttl if ttl is None else ttl
                await self._specs.change(node, partial(with_job, job=job, now=self._clock.now(), ttl=kept))
            case Drop(node, keep_current):
                ref = parse(job.spec.image)
                keep = (ref.familiar_name, ref.version) if keep_current else None
                await self._specs.change(node, partial(without_job, uid=job.metadata.uid, keep=keep))
            case Remove():
                log.info("job expired", job=str(job.metadata.key))
                await self._objects.jobs.delete(job)
            case _:
                assert_never(action)

    async def _forget_strangers(self, key: Key, job: ImagePullJob | None) -> None:
        """Take the shares of jobs that had this name before out of the nodes."""
        for image in self._objects.node_images.list():
            for owner in _job_owners(image):
                if _key_of(owner) == key and (job is None or owner.uid != job.metadata.uid):
                    await self._specs.change(image.metadata.name, partial(without_job, uid=owner.uid))


class ImageLists:
    """Makes the ImagePullJobs of each ImageListPullJob and sums them up."""

    def __init__(self, objects: JobObjects, metrics: Metrics, clock: Clock) -> None:
        self.controller: Controller[Key] = Controller("imagelists", self.reconcile, metrics)
        self._objects = objects
        self._clock = clock

    def watch(self) -> None:
        """Look at a list when it or one of its children changes."""
        self._objects.lists.subscribe(self.controller.queue.add)
        self._objects.jobs.subscribe(self._on_child)
        for job in self._objects.lists.list():
            self.controller.queue.add(job.metadata.key)

    def _on_child(self, key: Key) -> None:
        child = self._objects.jobs.get(key)
        owners = {owner.uid for owner in child.metadata.owner_references} if child is not None else set()
        for job in self._objects.lists.list():
            # Of a child that is gone the owner is unknown: every list of its namespace looks.
            if job.metadata.uid in owners or (child is None and job.metadata.namespace == key.namespace):
                self.controller.queue.add(job.metadata.key)

    async def reconcile(self, key: Key) -> float | None:
        """Plan for one list and carry it out."""
        job = self._objects.lists.get(key)
        if job is None:
            return None
        children = [child for child in self._objects.jobs.list() if is_child(job, child)]
        made = plan_list(ListObserved(job=job, children=children, now=self._clock.now()))
        for action in made.actions:
            await self._apply(job, action)
        if made.status != job.status and not any(isinstance(action, RemoveList) for action in made.actions):
            await _write_status(self._objects.lists, msgspec.structs.replace(job, status=made.status))
        return made.wake_in

    async def _apply(self, job: ImageListPullJob, action: ListAction) -> None:
        match action:
            case Create(child):
                try:
                    await self._objects.jobs.create(child)
                except AlreadyExistsError:
                    log.warning("child's name is taken", job=str(job.metadata.key), child=child.metadata.name)
            case Delete(child):
                await self._objects.jobs.delete(child)
            case RemoveList():
                log.info("list expired", job=str(job.metadata.key))
                await self._objects.lists.delete(job)
            case _:
                assert_never(action)


def _job_owners(image: NodeImage) -> Sequence[OwnerReference]:
    return [
        owner
        for entry in image.spec.images.values()
        for tag in entry.tags
        for owner in tag.owner_references
        if owner.kind == "ImagePullJob"
    ]


def _key_of(owner: OwnerReference) -> Key:
    return Key(owner.namespace, owner.name)


def _owners_of_changes(before: NodeImage, after: NodeImage) -> Iterable[Key]:
    """The jobs that own a tag of which the node said something new, or which came or went."""
    for name in before.spec.images.keys() | after.spec.images.keys():
        if _told(before, name) == _told(after, name):
            continue
        for image in (before, after):
            entry = image.spec.images.get(name)
            for tag in entry.tags if entry is not None else ():
                yield from map(_key_of, tag.owner_references)


def _told(image: NodeImage, name: str) -> tuple[object, object]:
    return image.spec.images.get(name), image.status.image_statuses.get(name, ImageStatus())


J = TypeVar("J", ImagePullJob, ImageListPullJob)


async def _write_status(objects: Objects[J], job: J) -> None:
    try:
        await objects.replace_status(job)
    except NotFoundError:
        log.info("job is gone", job=str(job.metadata.key))
