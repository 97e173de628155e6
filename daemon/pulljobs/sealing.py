"""Brings each node the pull secrets that its images need, sealed for its agent: one Secret a node."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import msgspec
import structlog

from daemon import names
from daemon.engine.clock import Clock
from daemon.engine.objects import AlreadyExistsError, ConflictError, Objects, ObjectsError
from daemon.engine.reconciling import Controller
from daemon.metrics import Metrics
from daemon.objects.images import ImageEntry, ImagePullJob, NodeImage, Secret
from daemon.objects.meta import Key, ObjectMeta
from daemon.objects.sealing import SealError, box_name, seal
from daemon.pulljobs.planner import is_ended
from daemon.pulljobs.reporting import Announce, say_nothing
from daemon.pulljobs.sources import ReadSecret, Sources

_SEALED_FROM = f"{names.PREFIX}sealed-from"
"""Annotation that tells key and sources of the boxes, which cannot be compared themselves."""
_WORKERS = 8
_COMING = 60.0
"""Seconds for which a secret is kept for a spec that is about to be written."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SealObjects:
    """What sealed Secrets are made from, and where they are."""

    node_images: Objects[NodeImage]
    jobs: Objects[ImagePullJob]
    sealed: Objects[Secret]
    namespace: str
    """Of the sealed ones."""
    read: ReadSecret
    """Reads a source."""


class Sealer:
    """Writes the sealed Secrets: anew when a source or an agent's key changes, none that no job needs."""

    def __init__(
        self, objects: SealObjects, metrics: Metrics, clock: Clock, *, announce: Announce = say_nothing
    ) -> None:
        self.controller: Controller[str] = Controller("sealing", self.reconcile, metrics, workers=_WORKERS)
        self.sources = Sources(
            objects.read,
            metrics,
            clock,
            needed=lambda key: bool(self._users.get(key)),
            on_change=lambda key: self._look_at(self._users.get(key, ())),
        )
        self._objects = objects
        self._clock = clock
        self._announce = announce
        self._users: defaultdict[Key, set[str]] = defaultdict(set)
        self._coming: dict[str, tuple[set[Key], float]] = {}
        self._seen: dict[str, tuple[int, str]] = {}
        self._missed: defaultdict[Key, set[Key]] = defaultdict(set)

    def watch(self) -> None:
        """Look at all nodes once, and at each one whose wants or key change."""
        self._objects.node_images.subscribe(self._on_node)
        self._objects.jobs.subscribe(self._on_job)
        self._objects.sealed.subscribe(lambda key: self.controller.queue.add(key.name))
        for image in self._objects.node_images.list():
            self._on_node(image.metadata.key)
        for secret in self._objects.sealed.list():
            self.controller.queue.add(secret.metadata.name)

    async def prepare(self, image: NodeImage) -> None:
        """Have the secrets there that *image*, which will be written, speaks of: agents read them at once."""
        needed = self._needs(image)
        if not needed:
            return
        name = image.metadata.name
        self._coming[name] = (needed, self._clock.monotonic() + _COMING)
        self.controller.queue.add_after(name, _COMING)
        try:
            await self._bring(image, needed)
        except ConflictError:
            raise
        except ObjectsError as error:  # the pull must not wait for ever: the image may need no secret
            log.warning("cannot seal pull secrets", node=name, error=str(error))
            self.controller.queue.retry(name)

    async def reconcile(self, node: str) -> None:
        """Make the node's Secret what it should be."""
        image = self._objects.node_images.get(Key("", node))
        needed = self._needs(image) | self._soon_needed(node) if image is not None else set()
        self._use(node, needed)
        if image is None or not needed:
            stored = self._stored(node)
            if stored is not None:
                await self._objects.sealed.delete(stored)
            return
        await self._bring(image, needed)

    def _on_node(self, key: Key) -> None:
        image = self._objects.node_images.get(key)
        agent = image.status.agent if image is not None else None
        state = (image.metadata.generation if image is not None else -1, agent.public_key if agent else "")
        before = self._seen.get(key.name)
        if before is not None and before[0] != state[0]:
            self._coming.pop(key.name, None)  # what was about to be written has been
        if image is None:
            self._seen.pop(key.name, None)
        else:
            self._seen[key.name] = state
        if before != state:
            self.controller.queue.add(key.name)

    def _on_job(self, key: Key) -> None:
        """A job that is over needs no secret any more, though nodes keep its image for a while."""
        job = self._objects.jobs.get(key)
        if job is None:
            self._missed.pop(key, None)
        elif is_ended(job):
            for source in _sources_of(job):
                self._look_at(self._users.get(source, ()))

    def _look_at(self, nodes: Iterable[str]) -> None:
        for node in tuple(nodes):
            self.controller.queue.add(node)

    def _soon_needed(self, node: str) -> set[Key]:
        needed, until = self._coming.get(node, (set(), 0.0))
        if needed and self._clock.monotonic() >= until:
            del self._coming[node]
            return set()
        return needed

    def _use(self, node: str, needed: Collection[Key]) -> None:
        for source in [source for source, nodes in self._users.items() if node in nodes]:
            if source not in needed:
                self._users[source].discard(node)
                if not self._users[source]:
                    del self._users[source]
        for source in needed:
            self._users[source].add(node)

    def _needs(self, image: NodeImage) -> set[Key]:
        """The pull secrets of the jobs that wait for one of the images; OpenKruise's copies are not ours."""
        found = {
            source
            for entry in image.spec.images.values()
            if entry.pull_secrets
            for source in self._needs_of(entry)
        }
        return {source for source in found if source.namespace not in {"", names.KRUISE_SECRETS_NAMESPACE}}

    def _needs_of(self, entry: ImageEntry) -> Iterator[Key]:
        for tag in entry.tags:
            if not tag.owner_references:  # written by hand
                yield from (Key(each.namespace, each.name) for each in entry.pull_secrets)
            for owner in tag.owner_references:
                job = self._objects.jobs.get(Key(owner.namespace, owner.name))
                if job is not None and job.metadata.uid == owner.uid and not is_ended(job):
                    yield from _sources_of(job)

    def _stored(self, node: str) -> Secret | None:
        return self._objects.sealed.get(Key(self._objects.namespace, node))

    async def _bring(self, image: NodeImage, needed: set[Key]) -> None:
        self._use(image.metadata.name, needed)
        agent = image.status.agent
        if agent is None or not agent.public_key:
            return  # its agent has not come yet
        sources = []
        for key in sorted(needed):
            source = await self.sources.find(key)
            if source is not None:
                sources.append(source)
            else:
                self._miss(image, key)
        await self._write(image.metadata.name, sources, agent.public_key)

    def _miss(self, image: NodeImage, source: Key) -> None:
        """Tell each job once that one of its secrets cannot be had."""
        owners = {
            Key(owner.namespace, owner.name)
            for entry in image.spec.images.values()
            for tag in entry.tags
            for owner in tag.owner_references
        }
        for key in owners:
            job = self._objects.jobs.get(key)
            if job is not None and source in _sources_of(job) and source not in self._missed[key]:
                self._missed[key].add(source)
                words = f"there is no Secret {source} with a docker config: pulling goes on without it"
                self._announce(job, "PullSecretNotFound", words, warning=True)

    async def _write(self, node: str, sources: list[Secret], key: str) -> None:
        stored, origin = self._stored(node), _origin(sources, key)
        if stored is not None and stored.metadata.annotations.get(_SEALED_FROM) == origin:
            return
        try:
            data = {box_name(source.metadata.key): seal(source, key) for source in sources}
        except SealError as error:
            log.warning("cannot seal for this agent", node=node, error=str(error))
            return
        metadata = ObjectMeta(
            name=node, namespace=self._objects.namespace, annotations={_SEALED_FROM: origin}
        )
        made = Secret(metadata=metadata, type=names.SEALED_TYPE, data=data)
        if stored is None:
            await self._create(made)
        else:
            kept = msgspec.structs.replace(stored.metadata, annotations=metadata.annotations)
            await self._objects.sealed.replace(msgspec.structs.replace(made, metadata=kept))

    async def _create(self, made: Secret) -> None:
        try:
            await self._objects.sealed.create(made)
        except AlreadyExistsError as error:
            raise ConflictError(str(error)) from error  # the watch will bring it


def _sources_of(job: ImagePullJob) -> set[Key]:
    return {Key(job.metadata.namespace, name) for name in job.spec.pull_secrets}


def _origin(sources: list[Secret], public_key: str) -> str:
    versions = [f"{source.metadata.uid}/{source.metadata.resource_version}" for source in sources]
    return hashlib.sha256(" ".join([public_key, *versions]).encode()).hexdigest()
