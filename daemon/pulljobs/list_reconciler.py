"""Carries out the plans of ImageListPullJobs: their children, and their status."""

from collections import defaultdict
from collections.abc import Mapping
from typing import assert_never

import structlog

from daemon.engine.clock import Clock
from daemon.engine.objects import AlreadyExistsError
from daemon.engine.reconciling import Controller
from daemon.metrics import Metrics
from daemon.objects.images import ImageListPullJob, ImagePullJob
from daemon.objects.meta import Key
from daemon.pulljobs.lists import (
    Create,
    Delete,
    ListAction,
    ListObserved,
    RemoveList,
    children_of,
    plan_list,
)
from daemon.pulljobs.reconciler import JobObjects
from daemon.pulljobs.reporting import Announce, Statuses, say_nothing

_WORKERS = 4
"""Lists whose children or status are on their way at the same time."""

log = structlog.get_logger()


class ImageLists:
    """Makes the ImagePullJobs of each ImageListPullJob and sums them up."""

    def __init__(
        self, objects: JobObjects, metrics: Metrics, clock: Clock, *, announce: Announce = say_nothing
    ) -> None:
        self.controller: Controller[Key] = Controller("imagelists", self.reconcile, metrics, workers=_WORKERS)
        self._objects = objects
        self._clock = clock
        self._statuses = Statuses(objects.lists, clock, lambda: len(self._wanted), announce)
        self._children = _Children()
        self._wanted: dict[Key, tuple[ImageListPullJob, Mapping[str, ImagePullJob]]] = {}

    def watch(self) -> None:
        """Look at a list when it or one of its children changes."""
        self._objects.lists.subscribe(self.controller.queue.add)
        self._objects.jobs.subscribe(self._on_child)
        for child in self._objects.jobs.list():
            self._children.see(child.metadata.key, child)
        for job in self._objects.lists.list():
            self.controller.queue.add(job.metadata.key)

    def _on_child(self, key: Key) -> None:
        for owner in self._children.see(key, self._objects.jobs.get(key)):
            self.controller.queue.add(owner)

    async def reconcile(self, key: Key) -> float | None:
        """Plan for one list and carry it out."""
        stored = self._objects.lists.get(key)
        if stored is None:
            self._wanted.pop(key, None)
            self._statuses.forget(key)
            return None
        job = self._statuses.latest(stored)
        seen = ListObserved(
            job=job,
            wanted=self._wanted_of(job),
            children=[
                child
                for child_key in self._children.of(job.metadata.uid)
                if (child := self._objects.jobs.get(child_key)) is not None
            ],
            now=self._clock.now(),
        )
        made = plan_list(seen)
        for action in made.actions:
            await self._apply(job, action)
        if any(isinstance(action, RemoveList) for action in made.actions):
            return made.wake_in
        due = await self._statuses.tell(key, job.metadata.uid, made.status)
        return min((wait for wait in (due, made.wake_in) if wait is not None), default=None)

    def _wanted_of(self, job: ImageListPullJob) -> Mapping[str, ImagePullJob]:
        """The children, made anew only when what they are made from has changed."""
        key = job.metadata.key
        known = self._wanted.get(key)
        if known is None or not _makes_the_same(known[0], job):
            known = self._wanted[key] = (job, children_of(job))
        return known[1]

    async def _apply(self, job: ImageListPullJob, action: ListAction) -> None:
        match action:
            case Create(child):
                try:
                    made = await self._objects.jobs.create(child)
                except AlreadyExistsError:
                    log.warning("child's name is taken", job=str(job.metadata.key), child=child.metadata.name)
                else:
                    self._children.see(made.metadata.key, made)
            case Delete(child):
                await self._objects.jobs.delete(child)
            case RemoveList():
                log.info("list expired", job=str(job.metadata.key))
                await self._objects.lists.delete(job)
            case _:
                assert_never(action)


class _Children:
    """Which job belongs to which list, also after it has gone."""

    def __init__(self) -> None:
        self._lists: dict[Key, dict[str, Key]] = {}
        self._children: defaultdict[str, set[Key]] = defaultdict(set)

    def of(self, uid: str) -> list[Key]:
        """The children of that list, by name."""
        return sorted(self._children.get(uid, ()))

    def see(self, key: Key, child: ImagePullJob | None) -> set[Key]:
        """Take in a child as it is now; return the lists that it belongs or belonged to."""
        before = self._lists.pop(key, {})
        after = _lists_of(child) if child is not None else {}
        for uid in before.keys() - after.keys():
            self._children[uid].discard(key)
            if not self._children[uid]:
                del self._children[uid]
        for uid in after:
            self._children[uid].add(key)
        if after:
            self._lists[key] = after
        return {*before.values(), *after.values()}


def _lists_of(child: ImagePullJob) -> dict[str, Key]:
    return {
        owner.uid: Key(child.metadata.namespace, owner.name)
        for owner in child.metadata.owner_references
        if owner.kind == "ImageListPullJob"
    }


def _makes_the_same(one: ImageListPullJob, other: ImageListPullJob) -> bool:
    a, b = one.metadata, other.metadata
    return (one.spec, a.uid, a.labels, a.annotations) == (other.spec, b.uid, b.labels, b.annotations)
