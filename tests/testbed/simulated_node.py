"""One simulated agent: watch, Lease and status writes of a real one, and a timer for a runtime."""

import asyncio
import random
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from math import inf

from msgspec import structs

from daemon import __version__, names
from daemon.engine.clock import SystemClock
from daemon.engine.objects import NotFoundError, ObjectsError
from daemon.kube.client import ApiClient
from daemon.kube.informer import Informer
from daemon.kube.leases import Heartbeat
from daemon.kube.objects import KubeObjects
from daemon.kube.resources import NODE_IMAGES
from daemon.kube.selections import only
from daemon.metrics import Metrics
from daemon.nodeimages.reports import Pacing, pace_in_cluster
from daemon.nodeimages.statuses import News, described
from daemon.objects.images import AgentStatus, ImageStatus, ImageTagStatus, NodeImage, NodeImageStatus
from daemon.objects.meta import Key

_BETWEEN = 2.0
"""Seconds between two words of progress, as an agent that is told nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How the nodes behave."""

    nodes: int = 100
    prefix: str = "sim-"
    namespace: str = "inplaced"
    """Of the Leases."""
    seconds: tuple[float, float] = (0.1, 0.5)
    """How long a pull takes, from and to."""
    workers: int = 2
    failing: float = 0.0
    """Share of the pulls that fail for good."""
    heartbeat: float = 20.0
    seed: int = 1
    labels: dict[str, str] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Of all nodes, in order."""
        return [f"{self.prefix}{number:04}" for number in range(self.nodes)]


class SimulatedNode:
    """One agent whose runtime is a timer."""

    def __init__(self, name: str, behaviour: Behaviour, client: ApiClient, metrics: Metrics) -> None:
        self.name = name
        self.informer: Informer[NodeImage] = Informer(client, NODE_IMAGES, metrics, selection=only(name))
        self.ended = 0
        self.writes = 0
        self._behaviour = behaviour
        self._objects = KubeObjects(client, self.informer)
        lease = Key(behaviour.namespace, names.lease_name(name))
        self._heartbeat = Heartbeat(
            client, lease, name, interval=behaviour.heartbeat, duration=round(2.5 * behaviour.heartbeat)
        )
        self._random = random.Random(f"{behaviour.seed} {name}")
        self._clock = SystemClock()
        self._agent = AgentStatus(version=__version__)
        self._generation = -1
        self._tags: dict[tuple[str, str], ImageTagStatus] = {}
        self._waiting: deque[tuple[str, str]] = deque()
        self._running: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._due = inf
        self._pacing = Pacing(pace_in_cluster(_BETWEEN))
        self._dirty = asyncio.Event()

    async def run(self) -> None:
        """Play until cancelled."""
        self.informer.on_change(self._on_change)
        try:
            async with asyncio.TaskGroup() as group:
                for part in (self.informer.run, self._heartbeat.run, self._write_forever):
                    group.create_task(part(), name=f"{self.name} {part.__name__}")
        finally:
            for timer in self._running.values():
                timer.cancel()

    def _on_change(self, before: NodeImage | None, after: NodeImage | None) -> None:
        if after is None:
            return
        if before is None or before.metadata.uid != after.metadata.uid:
            self._generation = -1
        if after.metadata.generation != self._generation:
            self._generation = after.metadata.generation
            self._take(after)

    def _take(self, node_image: NodeImage) -> None:
        """Begin what is new in the spec, and forget what is gone."""
        told = {
            (name, tag.tag): tag
            for name, image in node_image.status.image_statuses.items()
            for tag in image.tags
        }
        wanted: set[tuple[str, str]] = set()
        for name, entry in node_image.spec.images.items():
            for tag in entry.tags:
                wanted.add((name, tag.tag))
                self._want((name, tag.tag), tag.version, told.get((name, tag.tag)))
        for key in self._tags.keys() - wanted:
            del self._tags[key]
            if timer := self._running.pop(key, None):
                timer.cancel()
        self._start_some()
        self._mark(self._pacing.date(News.CHANGE, self._now()))

    def _want(self, key: tuple[str, str], version: int, told: ImageTagStatus | None) -> None:
        known = self._tags.get(key)
        if known is not None and known.version == version:
            return
        if told is not None and told.version == version and told.completion_time is not None:
            self._tags[key] = told  # finished by an earlier process
            return
        if timer := self._running.pop(key, None):
            timer.cancel()
        self._tags[key] = ImageTagStatus(tag=key[1], phase="Waiting", version=version)
        self._waiting.append(key)

    def _start_some(self) -> None:
        while self._waiting and len(self._running) < self._behaviour.workers:
            key = self._waiting.popleft()
            tag = self._tags.get(key)
            if tag is None or tag.phase != "Waiting":
                continue
            self._tags[key] = structs.replace(tag, phase="Pulling", start_time=self._clock.now())
            takes = self._random.uniform(*self._behaviour.seconds)
            self._running[key] = asyncio.get_running_loop().call_later(takes, self._end, key)

    def _end(self, key: tuple[str, str]) -> None:
        del self._running[key]
        tag, now = self._tags[key], self._clock.now()
        if self._random.random() < self._behaviour.failing:
            self._tags[key] = _failed(tag, now)
        else:
            self._tags[key] = _pulled(tag, key[0], now)
        self.ended += 1
        self._start_some()
        more = self._running or self._waiting
        self._mark(self._pacing.date(News.END if more else News.LAST_END, self._now()))

    def _mark(self, due: float) -> None:
        self._due = min(self._due, due)
        self._dirty.set()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _write_forever(self) -> None:
        pause = 0.1
        while True:
            await self._until_due()
            try:
                await self._write()
                pause = 0.1
            except NotFoundError:
                self._due = inf
            except ObjectsError:
                await asyncio.sleep(pause)
                pause = min(2 * pause, 10.0)
                self._mark(self._now())

    async def _until_due(self) -> None:
        """Wait for something to tell, and for its time; what is marked meanwhile may be due earlier."""
        await self._dirty.wait()
        while self._due > self._now():
            self._dirty.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._due - self._now() if self._due < inf else None):
                    await self._dirty.wait()
        self._dirty.clear()

    async def _write(self) -> None:
        stored = self.informer.get(Key("", self.name))
        if stored is None:
            return
        self._due = inf
        status = described(
            _status_of(self._tags),
            stored.status,
            agent=self._agent,
            generation=self._generation,
            now=self._clock.now(),
        )
        if status == stored.status:
            return
        metadata = structs.replace(stored.metadata, resource_version="")
        began = self._now()
        await self._objects.replace_status(structs.replace(stored, metadata=metadata, status=status))
        self.writes += 1
        self._pacing.wrote(began, self._now())


def _pulled(tag: ImageTagStatus, name: str, now: datetime) -> ImageTagStatus:
    image_id = f"{name}@sha256:{0:064}"
    return structs.replace(tag, phase="Succeeded", progress=100, completion_time=now, image_id=image_id)


def _failed(tag: ImageTagStatus, now: datetime) -> ImageTagStatus:
    return structs.replace(
        tag,
        phase="Failed",
        completion_time=now,
        reason="ImageNotFound",
        message="manifest unknown",
        failures=4,
    )


def _status_of(tags: dict[tuple[str, str], ImageTagStatus]) -> NodeImageStatus:
    phases = Counter(tag.phase for tag in tags.values())
    images: dict[str, list[ImageTagStatus]] = {}
    for (name, _), tag in sorted(tags.items()):
        images.setdefault(name, []).append(tag)
    return NodeImageStatus(
        desired=len(tags),
        succeeded=phases["Succeeded"],
        failed=phases["Failed"],
        pulling=phases["Pulling"],
        waiting=phases["Waiting"],
        image_statuses={name: ImageStatus(tags=tuple(each)) for name, each in images.items()},
    )
