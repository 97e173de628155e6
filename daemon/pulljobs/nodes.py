"""Keeps one NodeImage for each node that is, or was, ready: labels mirrored, gone with its node."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import structlog

from daemon import names
from daemon.engine.objects import AlreadyExistsError, NotFoundError, Objects, ObjectsError
from daemon.engine.reconciling import Controller
from daemon.metrics import Metrics
from daemon.objects.images import NodeImage
from daemon.objects.leases import Lease
from daemon.objects.meta import Key, ObjectMeta
from daemon.objects.nodes import Node

_WORKERS = 16
"""Nodes whose object is on its way at the same time."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class NodeObjects:
    """The kinds that are kept in step with nodes; the agents' *leases* are in *namespace*."""

    nodes: Objects[Node]
    node_images: Objects[NodeImage]
    leases: Objects[Lease]
    namespace: str


class NodeKeeper:
    """Makes, labels and removes NodeImages as nodes come, change and go."""

    def __init__(self, objects: NodeObjects, metrics: Metrics) -> None:
        self.controller: Controller[str] = Controller("nodes", self.reconcile, metrics, workers=_WORKERS)
        self._nodes = objects.nodes
        self._node_images = objects.node_images
        self._leases = objects.leases
        self._namespace = objects.namespace

    def watch(self) -> None:
        """Look at all nodes once, and at each one that changes."""
        self._nodes.subscribe(lambda key: self.controller.queue.add(key.name))
        self._node_images.subscribe(self._on_image)
        for objects in (self._nodes, self._node_images):
            for known in objects.list():
                self.controller.queue.add(known.metadata.name)
        for lease in self._leases.list():  # of nodes that left while nobody looked
            node = names.node_of_lease(lease.metadata.name)
            if node:
                self.controller.queue.add(node)

    def _on_image(self, key: Key) -> None:
        """Look only at what is not as it should be: what a node says of images is none of our business."""
        node, image = self._nodes.get(key), self._node_images.get(key)
        if node is None or image is None or image.metadata.labels != _labels(node, image):
            self.controller.queue.add(key.name)

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
            if image is None or names.FAKE_LABEL not in image.metadata.labels:
                await self._remove(name, image)
        elif image is None:
            if _is_ready(node):
                await self._create(node)
        else:
            await self._label(node, image)

    async def _remove(self, name: str, image: NodeImage | None) -> None:
        if image is not None:
            log.info("node is gone", node=name)
            await self._node_images.delete(image)
        lease = self._leases.get(Key(self._namespace, names.lease_name(name)))
        if lease is not None:
            await self._leases.delete(lease)

    async def _create(self, node: Node) -> None:
        metadata = ObjectMeta(name=node.metadata.name, labels=dict(node.metadata.labels))
        try:
            await self._node_images.create(NodeImage(metadata=metadata))
        except AlreadyExistsError:
            log.debug("the watch will bring it", node=node.metadata.name)

    async def _label(self, node: Node, image: NodeImage) -> None:
        labels = _labels(node, image)
        if labels == image.metadata.labels:
            return
        metadata = msgspec.structs.replace(image.metadata, labels=labels)
        try:
            await self._node_images.replace(msgspec.structs.replace(image, metadata=metadata))
        except NotFoundError:
            log.debug("removed meanwhile", node=node.metadata.name)


def _labels(node: Node, image: NodeImage) -> Mapping[str, str]:
    """The node's own, and the mark of an object that is to stay without a node."""
    kept = image.metadata.labels.get(names.FAKE_LABEL)
    return node.metadata.labels if kept is None else {**node.metadata.labels, names.FAKE_LABEL: kept}


def _is_ready(node: Node) -> bool:
    return any(each.type == "Ready" and each.status == "True" for each in node.status.conditions)


def _is_virtual(node: Node) -> bool:
    """Virtual kubelets have no runtime, hence no agent."""
    return node.metadata.labels.get("type") == "virtual-kubelet"
