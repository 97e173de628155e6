"""Writes NodeImage specs: what several jobs want of one node goes in one write.

A job says what it wants and goes on; the node's turn comes at once, or as soon as its last write is through.
"""

import asyncio
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec
import structlog

from daemon.engine.clock import Clock
from daemon.engine.objects import ConflictError, InvalidError, NotFoundError, Objects
from daemon.engine.reconciling import Controller
from daemon.metrics import Metrics
from daemon.objects.images import NodeImage, NodeImageSpec
from daemon.objects.meta import Key
from daemon.pulljobs.tags import repositories_by_owner


class Edit(Protocol):
    """Makes the spec of a node's object what one job wants it to be."""

    def __call__(self, node_image: NodeImage, *, among: Collection[str]) -> NodeImageSpec:
        """The new spec; *among* names the repositories of which the job owns tags."""
        ...


Edits = Mapping[str, Edit]
"""By UID of the job."""

_PAUSE = 0.02
"""Seconds between two writes of one node: what comes meanwhile goes in one write. The first never waits."""
_NEAR = 0.001
"""Seconds before its time at which a write may be made, since timers are not exact."""
_WRITERS = 12
"""Writes on the way at the same time. With more a busy API server answers none in time; and what comes
for a node while it waits goes in one write."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Who wants to know what became of edits."""

    settled: Callable[[str, Edits], None]
    """The node's object holds them, or is gone."""
    refused: Callable[[str, str, str], None]
    """The node's object cannot hold that of the job with this UID: node, UID, message."""
    prepare: Callable[[NodeImage], Awaitable[None]] | None = None
    """Awaited before the node's object is written like this."""


class NodeSpecs:
    """The edits that nodes wait for, the latest of each job."""

    def __init__(
        self, node_images: Objects[NodeImage], metrics: Metrics, clock: Clock, outcomes: Outcomes
    ) -> None:
        self.controller: Controller[str] = Controller("nodespecs", self._write, metrics, workers=_WRITERS)
        self._node_images = node_images
        self._clock = clock
        self._outcomes = outcomes
        self._waiting: defaultdict[str, dict[str, Edit]] = defaultdict(dict)
        self._written_at: dict[str, float] = {}

    def change(self, node: str, uid: str, edit: Edit) -> None:
        """Have *edit* of the job *uid* applied soon, in the place of one of the same job that still waits."""
        self._waiting[node][uid] = edit
        self.controller.queue.add(node)

    async def _write(self, node: str) -> float | None:
        if node not in self._waiting:
            return None
        early = self._written_at.get(node, -math.inf) + _PAUSE - self._clock.monotonic()
        if early > _NEAR:
            return early
        edits = self._waiting.pop(node)
        try:
            await self._apply(node, edits)
        except InvalidError:
            await self._apply_each(node, edits)
        except (Exception, asyncio.CancelledError):
            self._waiting[node] = edits | self._waiting[node]
            raise
        return None

    async def _apply_each(self, node: str, edits: Edits) -> None:
        """Find out which edit it is that the node's object cannot hold; the others must not suffer."""
        for uid, edit in edits.items():
            try:
                await self._apply(node, {uid: edit})
            except InvalidError as error:
                log.warning("node cannot hold what a job wants", node=node, job=uid, error=str(error))
                self._outcomes.refused(node, uid, str(error))
            except ConflictError:
                self.change(node, uid, edit)

    async def _apply(self, node: str, edits: Edits) -> None:
        image = self._node_images.get(Key("", node))
        if image is None:
            self._written_at.pop(node, None)
        else:
            await self._replace(image, edits)
        self._outcomes.settled(node, edits)

    async def _replace(self, image: NodeImage, edits: Edits) -> None:
        changed, owned = image, repositories_by_owner(image.spec)
        for uid, edit in edits.items():  # none of them touches what another job owns
            spec = edit(changed, among=owned.get(uid, ()))
            changed = msgspec.structs.replace(changed, spec=spec)
        if changed.spec == image.spec:
            return
        if self._outcomes.prepare is not None:
            await self._outcomes.prepare(changed)
        self._written_at[image.metadata.name] = self._clock.monotonic()
        try:
            await self._node_images.replace(changed)
        except NotFoundError:
            log.info("node is gone", node=image.metadata.name)
