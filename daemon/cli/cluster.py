"""The only talk of ``kubectl inplaced`` with the API server: what is read, followed and made.

Commands are written one step after the other; the event loop below them turns while they wait here.
"""

import asyncio
import os
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from daemon import __version__, names
from daemon.cli.cluster_errors import told
from daemon.cli.contexts import check
from daemon.cli.errors import NoRightError, NotFoundError, TimedOutError, UnreachableError
from daemon.engine.objects import ApiObject
from daemon.kube.access import Access, AccessError
from daemon.kube.client import ApiClient
from daemon.kube.errors import ApiError, ForbiddenError, MissingError
from daemon.kube.informer import Informer
from daemon.kube.patches import Patch
from daemon.kube.resources import (
    IMAGE_LIST_PULL_JOBS,
    IMAGE_PULL_JOBS,
    LEASES,
    NODE_IMAGES,
    WHOLE_PODS,
    Resource,
)
from daemon.kube.selections import EVERYTHING, Selection, only
from daemon.metrics import Metrics
from daemon.objects.images import ImageListPullJob, ImagePullJob, NodeImage
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key
from daemon.objects.workload_restarts import WorkloadReference
from daemon.workloadrestarts.targets import NoTargetError, Targets

T = TypeVar("T")
Kind = TypeVar("Kind", bound=ApiObject)

CALL_TIMEOUT = 15.0
"""Seconds for one request."""
_PATIENCE = 2.0
"""Seconds until it is asked what keeps objects from being followed."""
_GATHER = 0.1
"""Seconds in which changes are gathered before they are shown."""


@dataclass(frozen=True, slots=True)
class Contact:
    """How the cluster is reached, as kubectl's own flags say it."""

    kubeconfig: Path | None = None
    context: str = ""

    def access(self) -> Access:
        """The way in. Raises UsageError or UnreachableError."""
        from daemon.kube.kubeconfig import Kubeconfig

        path = check(self.kubeconfig, self.context, os.environ)
        return Kubeconfig(path, context=self.context or None)


class Following:
    """Jobs and NodeImages as they change. Made by ``Cluster.follow``."""

    def __init__(self, jobs: Informer[ImagePullJob], nodes: Informer[NodeImage] | None) -> None:
        self._jobs = jobs
        self._nodes = nodes
        self._changed = asyncio.Event()
        for informer in (jobs, nodes):
            if informer is not None:
                informer.subscribe(lambda _key: self._changed.set())

    def job(self, key: Key) -> ImagePullJob | None:
        """The job as last seen."""
        return self._jobs.get(key)

    def node_images(self) -> Sequence[NodeImage]:
        """All that may be read."""
        return self._nodes.list() if self._nodes is not None else ()

    @property
    def away(self) -> bool:
        """Whether the API server cannot be followed for now."""
        return self._jobs.behind > 1.0

    async def change(self, limit: float) -> None:
        """Return when something changed, or after *limit* seconds."""
        await _until(self._changed, limit)


class Cluster:
    """One cluster, for the time of one command. Raises CliError's kinds."""

    def __init__(self, access: Access) -> None:
        self._runner = asyncio.Runner()
        self._metrics = Metrics()
        self._client = ApiClient(access, self._metrics, user_agent=f"kubectl-{names.PROGRAM}/{__version__}")
        self._tasks: list[asyncio.Task[None]] = []
        self.hidden: dict[str, NoRightError] = {}
        """Kinds that were to be seen and may not be read, by their plural."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._close())
        self._runner.close()

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()

    def now(self) -> datetime:
        """Time as the API server has it, after the first answer."""
        return self._client.clock.now()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Let the loop turn until *work* is done. Raises CliError."""
        try:
            return self._runner.run(work)
        except (AccessError, ApiError) as error:
            raise told(error) from error

    def jobs(self, namespace: str = "") -> Sequence[ImagePullJob]:
        """All jobs of the namespace, of all for an empty one."""
        return self._list(IMAGE_PULL_JOBS, Selection(namespace=namespace))

    def lists(self, namespace: str = "") -> Sequence[ImageListPullJob]:
        """All list jobs of the namespace, of all for an empty one."""
        return self._list(IMAGE_LIST_PULL_JOBS, Selection(namespace=namespace))

    def renewed(self, namespace: str) -> dict[str, datetime] | None:
        """When each agent gave its last sign of life, by node; None where that may not be read."""
        try:
            leases = self._runner.run(self._client.list(LEASES, Selection(namespace=namespace))).objects
        except (ForbiddenError, MissingError):
            return None
        except (AccessError, ApiError) as error:
            raise told(error) from error
        prefix = names.lease_name("")
        return {
            lease.metadata.name.removeprefix(prefix): datetime.fromisoformat(lease.spec.renew_time)
            for lease in leases
            if lease.metadata.name.startswith(prefix) and lease.spec.renew_time
        }

    def objects(self, resource: Resource[Kind], selection: Selection = EVERYTHING) -> Sequence[Kind]:
        """All objects of the selection; none where the kind is not installed."""
        try:
            return self._list(resource, selection)
        except NotFoundError:
            return ()

    def visible(self, resource: Resource[Kind], selection: Selection = EVERYTHING) -> Sequence[Kind]:
        """The same for what helps and need not be seen: none where they may not be read; see ``hidden``."""
        try:
            return self.objects(resource, selection)
        except NoRightError as error:
            self.hidden[resource.plural] = error
            return ()

    def serves(self, resource: Resource[Kind], namespace: str) -> bool:
        """Whether the API server knows the kind, as far as that may be seen."""
        try:
            self._list(resource, only("none", namespace))
        except NotFoundError:
            return False
        except NoRightError:
            return True
        return True

    def read(self, resource: Resource[Kind], key: Key) -> Kind:
        """One object. Raises NotFoundError."""
        return self.run(self._client.get(resource, key))

    def pods_of(self, reference: WorkloadReference, namespace: str) -> Sequence[LocalPod]:
        """The pods that a workload controls. Raises NotFoundError."""
        return self.run(self._pods_of(reference, namespace))

    async def _pods_of(self, reference: WorkloadReference, namespace: str) -> Sequence[LocalPod]:
        targets = Targets(self._client)
        try:
            found = await targets.find(namespace, reference, None)
        except NoTargetError as error:
            raise NotFoundError(f"there is no {reference} in namespace {namespace}") from error
        selection = Selection(namespace=namespace, labels=found.part.labels)
        pods = await self._client.list(WHOLE_PODS, selection)
        return await targets.owned(pods.objects, found)

    def make(self, resource: Resource[Kind], obj: Kind) -> Kind:
        """Store a new object."""
        return self.run(self._client.create(resource, obj))

    def change(self, resource: Resource[Kind], key: Key, patch: Patch) -> Kind:
        """Change one object. Raises NotFoundError or UsageError."""
        return self.run(self._client.patch(resource, key, patch))

    def watch(self, resource: Resource[Kind], selection: Selection, limit: float) -> Iterator[Informer[Kind]]:
        """Yield the same view after each change, the present state first; at least once a second.

        Raises TimedOutError after *limit* seconds.
        """
        informer = self.informer(resource, selection)
        for _ in self.watch_all((informer,), limit):
            yield informer

    def informer(self, resource: Resource[Kind], selection: Selection) -> Informer[Kind]:
        """A view of the selection for ``watch_all``."""
        return Informer(self._client, resource, self._metrics, selection=selection)

    def watch_all(self, informers: Sequence[Informer[Any]], limit: float) -> Iterator[None]:
        """Return after each change of one of *informers*, which show the present state first.

        At least once a second. Raises TimedOutError after *limit* seconds.
        """
        changed = asyncio.Event()
        for informer in informers:
            informer.subscribe(lambda _key: changed.set())
            self.run(self._synced(informer))
        ends = self._runner.get_loop().time() + limit
        while True:
            yield
            left = ends - self._runner.get_loop().time()
            if left <= 0:
                raise TimedOutError("waited too long")
            self.run(_until(changed, min(left, 1.0)))

    async def _synced(self, informer: Informer[Any]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(informer.run()))
        try:
            async with asyncio.timeout(_PATIENCE):
                return await informer.synced()
        except TimeoutError:
            await self._client.list(informer.resource, informer.selection)  # raises what an informer bears
        plural = informer.resource.plural
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                await informer.synced()
        except TimeoutError as error:
            raise UnreachableError(
                f"{plural} can be listed but not followed: does 'kubectl auth can-i watch {plural}' say yes?"
            ) from error

    def _list(self, resource: Resource[Kind], selection: Selection) -> Sequence[Kind]:
        return self.run(self._client.list(resource, selection)).objects

    def create(self, job: ImagePullJob) -> ImagePullJob:
        """Ask for an image."""
        return self.run(self._client.create(IMAGE_PULL_JOBS, job))

    def follow(self, namespace: str, limit: float) -> Iterator[Following]:
        """Yield the same view after each change, the present state first; at least once a second.

        Without the right to read NodeImages, jobs alone are followed. Raises TimedOutError after *limit*.
        """
        following = self.run(self._begin(namespace))
        ends = self._runner.get_loop().time() + limit
        while True:
            yield following
            left = ends - self._runner.get_loop().time()
            if left <= 0:
                raise TimedOutError("waited too long")
            self.run(following.change(min(left, 1.0)))

    async def _begin(self, namespace: str) -> Following:
        jobs = Informer(
            self._client, IMAGE_PULL_JOBS, self._metrics, selection=Selection(namespace=namespace)
        )
        try:
            await self._client.list(NODE_IMAGES, Selection(fields={"metadata.name": "none"}))
            nodes: Informer[NodeImage] | None = Informer(self._client, NODE_IMAGES, self._metrics)
        except ForbiddenError:
            nodes = None
        following = Following(jobs, nodes)
        for informer in (jobs, nodes):
            if informer is not None:
                await self._synced(informer)
        return following


async def _until(changed: asyncio.Event, limit: float) -> None:
    """Return when something changed, or after *limit* seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(limit):
            await changed.wait()
            await asyncio.sleep(_GATHER)
    changed.clear()
