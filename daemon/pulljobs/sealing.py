"""Brings each node the pull secrets that its images need, sealed for its agent: one Secret a node."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
import structlog

from daemon import names
from daemon.engine.clock import Clock
from daemon.engine.objects import AlreadyExistsError, NotFoundError, Objects, ObjectsError
from daemon.engine.reconciling import Controller
from daemon.metrics import Metrics
from daemon.objects.images import NodeImage, Secret
from daemon.objects.meta import Key, ObjectMeta
from daemon.objects.sealing import SealError, box_name, seal

ReadSecret = Callable[[Key], Awaitable[Secret]]
"""Reads one Secret as it is stored now. Raises ObjectsError."""

_SOURCES_ANNOTATION = f"{names.PREFIX}sealed-from"
"""Tells key and sources of the boxes, which cannot be compared themselves."""
_FRESH = 15.0
"""Seconds after which a source is read again; read one by one, for nobody may have to let all be listed."""
_WORKERS = 8
_TYPES = frozenset({"kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg"})

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Read:
    secret: Secret | None
    at: float


class Sealer:
    """Writes the sealed Secrets of *namespace*: anew when a source or an agent's key changes."""

    def __init__(
        self,
        node_images: Objects[NodeImage],
        sealed: Objects[Secret],
        read: ReadSecret,
        metrics: Metrics,
        clock: Clock,
        *,
        namespace: str,
    ) -> None:
        self.controller: Controller[str] = Controller("sealing", self.reconcile, metrics, workers=_WORKERS)
        self._node_images = node_images
        self._sealed = sealed
        self._read = read
        self._clock = clock
        self._namespace = namespace
        self._sources: dict[Key, _Read] = {}

    def watch(self) -> None:
        """Look at all nodes once, and at each one that changes."""
        for objects in (self._node_images, self._sealed):
            objects.subscribe(lambda key: self.controller.queue.add(key.name))
            for known in objects.list():
                self.controller.queue.add(known.metadata.name)

    async def reconcile(self, node: str) -> float | None:
        """Make the node's Secret what it should be; look again as long as it needs one."""
        image = self._node_images.get(Key("", node))
        stored = self._sealed.get(Key(self._namespace, node))
        needed = _needs(image) if image is not None else []
        if image is None or not needed:
            if stored is not None:
                await self._sealed.delete(stored)
            return None
        agent = image.status.agent
        if agent is not None and agent.public_key:
            sources = [source for key in needed if (source := await self._source(key)) is not None]
            await self._write(node, stored, sources, agent.public_key)
        return _FRESH

    async def _source(self, key: Key) -> Secret | None:
        known = self._sources.get(key)
        if known is None or self._clock.monotonic() - known.at >= _FRESH:
            known = self._sources[key] = await self._read_anew(key, known)
        return known.secret

    async def _read_anew(self, key: Key, known: _Read | None) -> _Read:
        try:
            secret: Secret | None = await self._read(key)
        except NotFoundError:
            secret = None
        except ObjectsError as error:
            log.warning("cannot read pull secret", secret=str(key), error=str(error))
            secret = known.secret if known is not None else None
        if secret is not None and secret.type not in _TYPES:
            log.warning("is no pull secret", secret=str(key), type=secret.type)
            secret = None
        return _Read(secret, self._clock.monotonic())

    async def _write(self, node: str, stored: Secret | None, sources: list[Secret], key: str) -> None:
        origin = _origin(sources, key)
        if stored is not None and stored.metadata.annotations.get(_SOURCES_ANNOTATION) == origin:
            return
        try:
            data = {box_name(source.metadata.key): seal(source, key) for source in sources}
        except SealError as error:
            log.warning("cannot seal for this agent", node=node, error=str(error))
            return
        metadata = ObjectMeta(name=node, namespace=self._namespace, annotations={_SOURCES_ANNOTATION: origin})
        made = Secret(metadata=metadata, type=names.SEALED_TYPE, data=data)
        if stored is None:
            await self._create(made)
        else:
            kept = msgspec.structs.replace(stored.metadata, annotations=metadata.annotations)
            await self._sealed.replace(msgspec.structs.replace(made, metadata=kept))

    async def _create(self, made: Secret) -> None:
        try:
            await self._sealed.create(made)
        except AlreadyExistsError:
            log.debug("the watch will bring it", secret=str(made.metadata.key))


def _needs(image: NodeImage) -> list[Key]:
    """The pull secrets that are not OpenKruise's own copies."""
    return sorted(
        {
            Key(reference.namespace, reference.name)
            for entry in image.spec.images.values()
            for reference in entry.pull_secrets
            if reference.namespace and reference.namespace != names.KRUISE_SECRETS_NAMESPACE
        },
        key=str,
    )


def _origin(sources: list[Secret], public_key: str) -> str:
    versions = [f"{source.metadata.uid}/{source.metadata.resource_version}" for source in sources]
    return hashlib.sha256(" ".join([public_key, *versions]).encode()).hexdigest()
