"""Where all jobs stand on all nodes, kept up to date from what changes. Pure.

A change of one node's object costs what changed in it; nothing is scanned but when a job or a node is new.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from daemon.objects.images import ImagePullJob, NodeImage
from daemon.objects.meta import Key
from daemon.pulljobs.planner import is_ended
from daemon.pulljobs.shares import Around, Followed, JobShares
from daemon.pulljobs.tags import priority_of

REFUSED = "Refused"
"""The reason for a node whose object cannot hold what a job wants."""

Owner = tuple[str, Key]
"""UID and name of a job."""


class ShareIndex:
    """Who owns what on which node, and for each job that is not over, how far its nodes are.

    *default_ttl* is for how many seconds a node keeps the image of an ended job that sets no TTL.
    """

    def __init__(self, *, default_ttl: int) -> None:
        self._default_ttl = default_ttl
        self._nodes: dict[str, NodeImage] = {}
        self._jobs: dict[str, JobShares] = {}
        self._held: dict[str, Counter[str]] = {}
        self._leaving: dict[str, set[str]] = {}
        self._keys: dict[str, Key] = {}
        self._uids: defaultdict[Key, set[str]] = defaultdict(set)
        self._silent: dict[str, datetime] = {}

    @property
    def live(self) -> int:
        """How many jobs are not over."""
        return len(self._jobs)

    def live_jobs(self) -> Iterable[JobShares]:
        """The jobs that are not over."""
        return self._jobs.values()

    def node(self, name: str) -> NodeImage | None:
        """The node's object as it was last taken in."""
        return self._nodes.get(name)

    def shares_of(self, job: ImagePullJob, now: datetime) -> JobShares:
        """Where *job* stands. A new or edited job is compared with all nodes, once."""
        uid = job.metadata.uid
        if is_ended(job):
            self._jobs.pop(uid, None)
            shares = JobShares(job, self._around(uid))
            self._release(uid)
            return shares
        known = self._jobs.get(uid)
        if known is None or not _is_same(known.job, job):
            followed = known.followed if known is not None else None
            known = self._jobs[uid] = self._compared(job, now, followed)
        known.job = job
        return known

    def strangers(self, key: Key, uid: str) -> Mapping[str, list[str]]:
        """The nodes where others than the job *uid* that have, or had, its name own something, by UID.

        Those are gone: there is one job of a name at a time.
        """
        others = self._uids.get(key, set()) - {uid}
        for other in others:
            self._jobs.pop(other, None)
            self._release(other)
        return {other: sorted(self._held[other]) for other in others if other in self._held}

    def take_node(self, image: NodeImage, now: datetime) -> set[Key]:
        """Take in a node's object; return the jobs for which that is news."""
        name = image.metadata.name
        before = self._nodes.get(name)
        concerned: set[Key] = set()
        if before is not None and before.metadata.uid != image.metadata.uid:
            concerned, before = self.lose_node(name), None
        self._nodes[name] = image
        owners = self._count(name, before, image)
        if before is None or before.metadata.labels != image.metadata.labels:
            owners |= self._jobs.keys()
        return concerned.union(self._see(owners, image, now))

    def lose_node(self, name: str) -> set[Key]:
        """A node's object is gone; return the jobs for which that is news."""
        before = self._nodes.pop(name, None)
        if before is not None:
            self._count(name, before, None)
        lost = [shares for shares in self._jobs.values() if shares.lose(name)]
        return {shares.job.metadata.key for shares in lost}

    def hear(self, silent: Mapping[str, datetime], now: datetime) -> dict[Key, list[str]]:
        """Take in which agents give no sign of life, and since when.

        Return the jobs that this concerns, with those of their nodes at work that have fallen silent.
        """
        changed = {name for name, _ in silent.items() ^ self._silent.items()}
        self._silent.clear()
        self._silent.update(silent)
        concerned: dict[Key, list[str]] = {}
        for image in [self._nodes[name] for name in sorted(changed) if name in self._nodes]:
            for key in self._see(self._jobs.keys(), image, now):
                fallen = concerned.setdefault(key, [])
                if image.metadata.name in silent:
                    fallen.append(image.metadata.name)
        return concerned

    def follow(self, uid: str, followed: Followed, now: datetime) -> bool:
        """Take in where the pods of a job are; tell whether that is news for it."""
        shares = self._jobs.get(uid)
        if shares is None or shares.followed == followed:
            return False
        concerned = {*shares.followed.nodes, *followed.nodes}
        shares.follow(followed)
        for name in concerned & self._nodes.keys():
            shares.see(self._nodes[name], now)
        return True

    def leave(self, name: str, uid: str) -> None:
        """The share of the job *uid* will be taken out of the node."""
        if uid in self._held:
            self._leaving[uid].add(name)

    def settle(self, name: str, uids: Iterable[str], now: datetime) -> set[Key]:
        """What was wanted of the node for the jobs *uids* is done; return those for which that is news."""
        concerned = set()
        image = self._nodes.get(name)
        for uid in uids:
            self._leaving.get(uid, set()).discard(name)
            shares = self._jobs.get(uid)
            if shares is not None:
                shares.settle(name)
                if image is not None and shares.see(image, now):
                    concerned.add(shares.job.metadata.key)
        return concerned

    def refuse(self, name: str, uid: str, message: str) -> set[Key]:
        """The node's object cannot hold what the job wants; return the job if it goes on."""
        shares = self._jobs.get(uid)
        if shares is None:
            return set()
        shares.refuse(name, REFUSED, message)
        return {shares.job.metadata.key}

    def _around(self, uid: str) -> Around:
        # Those of a job that owns something are kept for as long as it does, so that they can be shared.
        return Around(
            held=self._held.get(uid, {}), leaving=self._leaving.get(uid, set()), silent=self._silent
        )

    def _compared(self, job: ImagePullJob, now: datetime, followed: Followed | None) -> JobShares:
        uid = job.metadata.uid
        self._know(uid, job.metadata.key)
        shares = JobShares(job, self._around(uid))
        if followed is not None:
            shares.follow(followed)
        if shares.problems:
            return shares
        ttl = job.spec.completion_policy.ttl_seconds_after_finished
        for image in self._nodes.values():
            shares.see(image, now)
            shares.check_terms(image, now, self._default_ttl if ttl is None else ttl)
        return shares

    def _see(self, uids: Iterable[str], image: NodeImage, now: datetime) -> Iterator[Key]:
        for uid in uids:
            shares = self._jobs.get(uid)
            if shares is None:
                yield self._keys[uid]  # not looked at yet, or over, or gone: who looks will know
                self._release(uid)
            elif not shares.problems and shares.see(image, now):
                yield shares.job.metadata.key

    def _count(self, name: str, before: NodeImage | None, after: NodeImage | None) -> set[str]:
        """Keep the numbers of tags by owner; return the owners of what changed."""
        moved, told = _changes(before, after)
        delta: Counter[Owner] = Counter(_owners(after, moved))
        delta.subtract(_owners(before, moved))
        for (uid, key), number in delta.items():
            self._add(uid, key, name, number)
        return {uid for uid, _ in (*delta, *_owners(after, told))} & self._keys.keys()

    def _add(self, uid: str, key: Key, name: str, number: int) -> None:
        self._know(uid, key)
        held = self._held[uid]
        held[name] += number
        if not held[name]:
            del held[name]

    def _know(self, uid: str, key: Key) -> None:
        self._held.setdefault(uid, Counter())
        self._leaving.setdefault(uid, set())
        self._keys[uid] = key
        self._uids[key].add(uid)

    def _release(self, uid: str) -> None:
        """Forget a job that is not to be looked at any more, as soon as it owns nothing."""
        if uid not in self._jobs and not self._held.get(uid, True):
            key = self._keys.pop(uid)
            del self._held[uid], self._leaving[uid]
            self._uids[key].discard(uid)
            if not self._uids[key]:
                del self._uids[key]


def _is_same(one: ImagePullJob, other: ImagePullJob) -> bool:
    return one.spec == other.spec and priority_of(one) == priority_of(other)


def _changes(before: NodeImage | None, after: NodeImage | None) -> tuple[list[str], list[str]]:
    """The repositories whose wanted tags changed, and those of which the node said something new."""
    if before is None or after is None:
        there = before or after
        return list(there.spec.images) if there is not None else [], []
    moved, told = [], []
    if before.metadata.generation != after.metadata.generation:
        one, other = before.spec.images, after.spec.images
        moved = [name for name in one.keys() | other.keys() if one.get(name) != other.get(name)]
    if before.status.image_statuses != after.status.image_statuses:
        old, new = before.status.image_statuses, after.status.image_statuses
        told = [name for name in after.spec.images if old.get(name) != new.get(name)]
    return moved, told


def _owners(image: NodeImage | None, repositories: Iterable[str]) -> Iterator[Owner]:
    images = image.spec.images if image is not None else {}
    for repository in repositories:
        entry = images.get(repository)
        for tag in entry.tags if entry is not None else ():
            for owner in tag.owner_references:
                if owner.kind == "ImagePullJob":
                    yield owner.uid, Key(owner.namespace, owner.name)
