"""Writes NodeImage specs: what several jobs want of one node at the same time goes in one write."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from daemon.engine.objects import Objects, ObjectsError
from daemon.objects.images import NodeImage, NodeImageSpec
from daemon.objects.meta import Key

Edit = Callable[[NodeImage], NodeImageSpec]


@dataclass(slots=True)
class _Batch:
    edits: list[Edit] = field(default_factory=list)
    written: bool = False
    error: Exception | None = None


class NodeSpecs:
    """Edits of the specs of nodes; each caller returns when a write that holds its edit has ended."""

    def __init__(self, node_images: Objects[NodeImage]) -> None:
        self._node_images = node_images
        self._open: dict[str, _Batch] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def change(self, node: str, edit: Edit) -> None:
        """Apply *edit* to the node's spec. A node that left is no error. Raises what the write raises."""
        batch = self._open.setdefault(node, _Batch())
        batch.edits.append(edit)
        async with self._locks.setdefault(node, asyncio.Lock()):
            if not batch.written:
                await self._write(node, batch)
        if batch.error is not None:
            raise batch.error

    async def _write(self, node: str, batch: _Batch) -> None:
        self._open.pop(node, None)
        batch.written = True
        try:
            await self._replace(node, batch.edits)
        except (ObjectsError, OSError) as error:
            batch.error = error  # for those who wait for the same write
        except BaseException:
            batch.error = ObjectsError(f"the write of node {node} was broken off")
            raise

    async def _replace(self, node: str, edits: Sequence[Edit]) -> None:
        image = self._node_images.get(Key("", node))
        if image is None:
            return
        changed = image
        for edit in edits:
            changed = msgspec.structs.replace(changed, spec=edit(changed))
        if changed.spec != image.spec:
            await self._node_images.replace(changed)
