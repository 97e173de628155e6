"""What can be seen of a standalone process, and asked of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from daemon import __version__
from daemon.config import StandaloneConfig
from daemon.debug.sources import Check, PullAnswer, PullRequest, RefusedError
from daemon.debug.views import NodeView, PodsView, ProblemView
from daemon.engine.changes import Changes
from daemon.engine.clock import Clock
from daemon.engine.objects import Objects
from daemon.metrics import Metrics
from daemon.nodeimages.assembly import NodeHalf
from daemon.objects.images import ImageListPullJob, ImagePullJob, NodeImage, Secret
from daemon.objects.meta import Key, ObjectMeta
from daemon.pulljobs.requests import Wish, WishError, job_for, secret_of, store_jobs
from daemon.pulljobs.views import job_views
from daemon.settings import shown
from daemon.store.directory import DirectoryStore
from daemon.store.problems import Problem

_NO_CLUSTER = "standalone: no cluster tells this node of pods"


class Overview:
    """Implements the debug server's ``Sources``."""

    def __init__(
        self,
        config: StandaloneConfig,
        node: NodeHalf,
        store: DirectoryStore,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._config = config
        self._node = node
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._started_at = clock.now()
        self.changes = Changes()

    def view(self) -> NodeView:
        """The node now."""
        return NodeView(
            node=self._config.node_name,
            version=__version__,
            started_at=self._started_at,
            now=self._clock.now(),
            ready=all(check.ok for check in self.ready()),
            runtimes=self._node.runtimes(),
            disk=self._node.disk(),
            pulls=self._node.pulls(),
            jobs=job_views(
                self._store.objects(ImagePullJob).list(),
                self._store.objects(ImageListPullJob).list(),
                self._store.source_of,
            ),
            problems=tuple(_problem_view(problem) for problem in self._store.problems()),
            pods=PodsView(problem=_NO_CLUSTER),
        )

    def live(self) -> Sequence[Check]:
        """That this is answered shows that the loop turns; nothing else would be mended by a restart."""
        return (Check("loop", ok=True),)

    def ready(self) -> Sequence[Check]:
        """Whether pulls can be made now."""
        problem = self._node.runtime_problem
        return (Check("runtime", ok=not problem, message=problem), Check("manifests", ok=True))

    def flags(self) -> Mapping[str, Any]:
        """Every setting with its value."""
        return shown(self._config)

    def metrics(self) -> bytes:
        """The Prometheus text exposition."""
        self._metrics.refused_documents.set(len(self._store.problems()))
        for runtime in self._node.runtimes():
            self._metrics.runtime_ready.labels(runtime.name or runtime.socket).set(runtime.ready)
        return self._metrics.exposition()

    async def changed(self, seen: int) -> int:
        """Wait until the view's number is above *seen*, and return it."""
        return await self.changes.after(seen)


class Asking:
    """Implements the debug server's ``Asks``."""

    def __init__(self, jobs: Objects[ImagePullJob], secrets: Objects[Secret]) -> None:
        self._jobs = jobs
        self._secrets = secrets

    async def pull(self, request: PullRequest) -> PullAnswer:
        """Make one job an image. Raises RefusedError."""
        if request.image_pull_policy not in ("IfNotPresent", "Always"):
            raise RefusedError(
                f"imagePullPolicy {request.image_pull_policy!r} is unknown; allowed: IfNotPresent, Always"
            )
        try:
            secret = secret_of(request.docker_config) if request.docker_config else None
            name = secret.metadata.name if secret is not None else ""
            jobs = [job_for(_wish(request, image), name) for image in request.images]
        except WishError as error:
            raise RefusedError(str(error)) from error
        made = await store_jobs(jobs, secret, self._jobs, self._secrets)
        return PullAnswer(jobs=tuple(str(job.metadata.key) for job in made))


def _wish(request: PullRequest, image: str) -> Wish:
    return Wish(
        image=image,
        always=request.image_pull_policy == "Always",
        priority=request.priority,
        timeout_seconds=request.timeout_seconds,
        backoff_limit=request.backoff_limit,
        active_deadline_seconds=request.active_deadline_seconds,
        ttl_seconds_after_finished=request.ttl_seconds_after_finished,
    )


def _problem_view(problem: Problem) -> ProblemView:
    return ProblemView(
        file=problem.file,
        line=problem.line,
        message=problem.message,
        object=problem.object,
        field=problem.field,
        value=problem.value,
        allowed=problem.allowed,
    )


async def ensure_node(node_images: Objects[NodeImage], name: str, labels: Mapping[str, str]) -> None:
    """Have a NodeImage for this node, with its labels."""
    present = node_images.get(Key("", name))
    if present is None:
        await node_images.create(NodeImage(metadata=ObjectMeta(name=name, labels=labels)))
    elif present.metadata.labels != labels:
        metadata = msgspec.structs.replace(present.metadata, labels=labels)
        await node_images.replace(msgspec.structs.replace(present, metadata=metadata))
