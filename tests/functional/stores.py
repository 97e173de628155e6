"""What tests of the store share: manifests to write, and waiting for what must come."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec.structs import replace

from daemon.engine.clock import SystemClock
from daemon.objects.images import (
    ImageListPullJob,
    ImagePullJob,
    ImagePullJobSpec,
    ImagePullJobStatus,
    NodeImage,
    Secret,
)
from daemon.objects.meta import Key, ObjectMeta, OwnerReference
from daemon.store.directory import DirectoryStore

DEADLINE = 10.0
"""Seconds in which what is awaited must come."""

SECRET = """
apiVersion: v1
kind: Secret
metadata: {name: creds}
type: kubernetes.io/dockerconfigjson
stringData:
  .dockerconfigjson: '{"auths": {"registry.local": {"username": "ann", "password": "hunter2"}}}'
"""


def job_text(name: str, image: str = "nginx:1", extra: str = "") -> str:
    """A manifest of one ImagePullJob; *extra* is YAML on the level of spec's fields."""
    return f"""apiVersion: apps.kruise.io/v1beta1
kind: ImagePullJob
metadata:
  name: {name}
spec:
  image: {image}
{extra}"""


def store_at(path: Path, *, manifests: bool = True) -> DirectoryStore:
    """A store over ``path/manifests`` and ``path/state``."""
    return DirectoryStore(path / "manifests" if manifests else None, path / "state", SystemClock())


class Watched:
    """A store with all that changes in it, to wait for."""

    def __init__(self, store: DirectoryStore) -> None:
        self.store = store
        self.jobs = store.objects(ImagePullJob)
        self.lists = store.objects(ImageListPullJob)
        self.nodes = store.objects(NodeImage)
        self.secrets = store.objects(Secret)
        self.told: list[Key] = []
        self._changed = asyncio.Event()
        for shelf in (self.jobs, self.lists, self.nodes, self.secrets):
            shelf.subscribe(self._hear)
        store.on_problems(self._changed.set)

    def _hear(self, key: Key) -> None:
        self.told.append(key)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* holds; it is looked at after each change."""
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def job(self, name: str) -> ImagePullJob:
        """The job of that name in the default namespace, which must be there."""
        found = self.jobs.get(Key("default", name))
        assert found is not None
        return found

    def names(self) -> list[str]:
        """The names of all jobs."""
        return sorted(job.metadata.name for job in self.jobs.list())


@asynccontextmanager
async def loaded(path: Path) -> AsyncIterator[Watched]:
    """A process that has read everything and does not follow changes."""
    async with store_at(path) as store:
        yield Watched(store)


@asynccontextmanager
async def running(path: Path) -> AsyncIterator[Watched]:
    """A process that follows the manifests."""
    async with loaded(path) as seen, asyncio.TaskGroup() as group:
        task = group.create_task(seen.store.run())
        yield seen
        task.cancel()


def job(name: str = "asked", owner: str = "") -> ImagePullJob:
    owners = (OwnerReference(kind="ImagePullJob", name="x", uid=owner, controller=True),) if owner else ()
    metadata = ObjectMeta(name=name, namespace="default", owner_references=owners)
    return ImagePullJob(metadata=metadata, spec=ImagePullJobSpec(image="nginx:1"))


def told(obj: ImagePullJob, desired: int) -> ImagePullJob:
    return replace(obj, status=ImagePullJobStatus(desired=desired))


def state(path: Path, name: str) -> Path:
    return path / "state" / "imagepulljobs" / "default" / f"{name}.yaml"
