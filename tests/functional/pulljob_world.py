"""The central half over objects in memory: jobs come in, the test plays the nodes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from daemon.engine.objects import Objects
from daemon.metrics import Metrics
from daemon.objects.images import (
    ImageListPullJob,
    ImageListPullJobSpec,
    ImagePullJob,
    ImagePullJobSpec,
    ImageStatus,
    ImageTag,
    ImageTagStatus,
    NodeImage,
    NodeImageStatus,
    Phase,
)
from daemon.objects.meta import Key, ObjectMeta
from daemon.pulljobs.list_reconciler import ImageLists
from daemon.pulljobs.reconciler import JobObjects, PullJobs
from tests.fakes.clock import LoopClock
from tests.fakes.objects import MemoryStore

KEPT = 300
"""Seconds for which nodes keep the image of an ended job without a TTL."""
SOON = 20.0
"""Seconds in which everything has settled, retries included; they cost nothing on a loop of fake time."""


def a_job(name: str, image: str = "", **spec: Any) -> ImagePullJob:
    """A job for *image*, or for one of its own."""
    return ImagePullJob(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=ImagePullJobSpec(image=image or f"registry.test/{name}:v1", **spec),
    )


def a_list(name: str, *images: str, **spec: Any) -> ImageListPullJob:
    """A list of images."""
    return ImageListPullJob(
        metadata=ObjectMeta(name=name, namespace="default"), spec=ImageListPullJobSpec(images=images, **spec)
    )


def ended_status(image: NodeImage, phase: Phase) -> NodeImageStatus:
    """What the node says when every wanted tag has ended in *phase*."""
    statuses = {
        name: ImageStatus(
            tags=tuple(
                ImageTagStatus(
                    tag=tag.tag, phase=phase, version=tag.version, completion_time=LoopClock().now()
                )
                for tag in entry.tags
            )
        )
        for name, entry in image.spec.images.items()
    }
    return NodeImageStatus(image_statuses=statuses)


class World:
    """The objects, and who works on them."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.metrics = Metrics()
        self.jobs: Objects[ImagePullJob] = store.objects(ImagePullJob)
        self.lists: Objects[ImageListPullJob] = store.objects(ImageListPullJob)
        self.nodes: Objects[NodeImage] = store.objects(NodeImage)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have the reconcilers work, like a process that was just started."""
        objects = JobObjects(self.jobs, self.lists, self.nodes)
        jobs = PullJobs(objects, self.metrics, LoopClock(), default_ttl=KEPT)
        lists = ImageLists(objects, self.metrics, LoopClock())
        controllers = (jobs.controller, jobs.specs.controller, lists.controller)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(controller.run()) for controller in controllers]
            for part in (jobs, lists):
                part.watch()
            await asyncio.sleep(SOON)
            yield
            for task in tasks:
                task.cancel()

    async def add_node(self, name: str = "n1", **labels: str) -> None:
        await self.nodes.create(NodeImage(metadata=ObjectMeta(name=name, labels=labels)))
        await asyncio.sleep(SOON)

    async def add(self, *jobs: ImagePullJob) -> list[ImagePullJob]:
        """Create jobs at once, and let them settle."""
        made = await asyncio.gather(*(self.jobs.create(job) for job in jobs))
        await asyncio.sleep(SOON)
        return list(made)

    async def end(self, phase: Phase = "Succeeded", node: str = "n1") -> None:
        """Have the node end everything that it is asked for."""
        image = self.node(node)
        await self.nodes.replace_status(msgspec.structs.replace(image, status=ended_status(image, phase)))
        await asyncio.sleep(SOON)

    def node(self, name: str = "n1") -> NodeImage:
        found = self.nodes.get(Key("", name))
        assert found is not None
        return found

    def job(self, name: str) -> ImagePullJob:
        found = self.jobs.get(Key("default", name))
        assert found is not None
        return found

    def image_list(self, name: str) -> ImageListPullJob:
        found = self.lists.get(Key("default", name))
        assert found is not None
        return found

    def tags(self, node: str = "n1") -> dict[str, ImageTag]:
        """What the node is asked for, by reference."""
        images = self.node(node).spec.images
        return {f"{name}:{tag.tag}": tag for name, entry in images.items() for tag in entry.tags}

    def owners(self, node: str = "n1") -> dict[str, list[str]]:
        """Who asks the node for each reference, by UID."""
        return {ref: [owner.uid for owner in tag.owner_references] for ref, tag in self.tags(node).items()}

    def images(self) -> list[str]:
        """The images of all jobs."""
        return sorted(job.spec.image for job in self.jobs.list())

    def count(self, start: str) -> int:
        """How many writes began with these words."""
        return sum(write.startswith(start) for write in self.store.writes)

    def results(self, controller: str) -> dict[str, float]:
        """Outcomes of reconciliations that were not ok."""
        name, labels = "inplaced_reconciles_total", {"controller": controller}
        values = {
            result: self.metrics.registry.get_sample_value(name, labels | {"result": result})
            for result in ("conflict", "refused", "error")
        }
        return {result: value for result, value in values.items() if value}
