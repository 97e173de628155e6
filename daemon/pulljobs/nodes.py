"""Keeps one NodeImage for each node that is, or was, ready: labels mirrored, gone with its node."""

import asyncio

import msgspec
import structlog

from daemon import names
from daemon.engine.objects import AlreadyExistsError, NotFoundError, Objects, ObjectsError
from daemon.engine.reconciling import Controller
from daemon.metrics import Metrics
from daemon.objects.images import NodeImage
from daemon.objects.meta import Key, ObjectMeta
from daemon.objects.nodes import Node

_FAKE_LABEL = f"{names.KRUISE_GROUP}/fake-nodeimage"
"""On NodeImages without a node that are to stay (OpenKruise's tests use it)."""
_WORKERS = 16
"""Nodes whose object is on its way at the same time."""

log = structlog.get_logger()


class NodeKeeper:
    """Makes, labels and removes NodeImages as nodes come, change and go."""

    def __init__(self, nodes: Objects[Node], node_images: Objects[NodeImage], metrics: Metrics) -> None:
        self.controller: Controller[str] = Controller("nodes", self.reconcile, metrics, workers=_WORKERS)
        self._nodes = nodes
        self._node_images = node_images

    def watch(self) -> None:
        """Look at all nodes once, and at each one that changes."""
        for objects in (self._nodes, self._node_images):
            objects.subscribe(lambda key: self.controller.queue.add(key.name))
            for known in objects.list():
                self.controller.queue.add(known.metadata.name)

    async def settle(self) -> None:
        """Do what is due now: a job must not end on nodes that merely have no object yet."""
        limit = asyncio.Semaphore(_WORKERS)
        async with asyncio.TaskGroup() as group:
            for node in self._nodes.list():
                group.create_task(self._try(node.metadata.name, limit), name=f"settle-{node.metadata.name}")

    async def _try(self, name: str, limit: asyncio.Semaphore) -> None:
        async with limit:
            try:
                await self.reconcile(name)
            except ObjectsError as error:
                log.info("will be tried again", node=name, error=str(error))

    async def reconcile(self, name: str) -> None:
        """Make the node's NodeImage what it should be. Raises ConflictError."""
        node, image = self._nodes.get(Key("", name)), self._node_images.get(Key("", name))
        if node is None or _is_virtual(node):
            if image is not None and _FAKE_LABEL not in image.metadata.labels:
                log.info("node is gone", node=name)
                await self._node_images.delete(image)
        elif image is None:
            if _is_ready(node):
                await self._create(node)
        else:
            await self._label(node, image)

    async def _create(self, node: Node) -> None:
        metadata = ObjectMeta(name=node.metadata.name, labels=dict(node.metadata.labels))
        try:
            await self._node_images.create(NodeImage(metadata=metadata))
        except AlreadyExistsError:
            log.debug("the watch will bring it", node=node.metadata.name)

    async def _label(self, node: Node, image: NodeImage) -> None:
        labels = dict(node.metadata.labels)
        if _FAKE_LABEL in image.metadata.labels:
            labels[_FAKE_LABEL] = image.metadata.labels[_FAKE_LABEL]
        if labels == image.metadata.labels:
            return
        metadata = msgspec.structs.replace(image.metadata, labels=labels)
        try:
            await self._node_images.replace(msgspec.structs.replace(image, metadata=metadata))
        except NotFoundError:
            log.debug("removed meanwhile", node=node.metadata.name)


def _is_ready(node: Node) -> bool:
    return any(each.type == "Ready" and each.status == "True" for each in node.status.conditions)


def _is_virtual(node: Node) -> bool:
    """Virtual kubelets have no runtime, hence no agent."""
    return node.metadata.labels.get("type") == "virtual-kubelet"
