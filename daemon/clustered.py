"""What can be seen of a cluster's node agent, and what is answered to who asks it for something."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from daemon import __version__
from daemon.config import AgentConfig
from daemon.debug.sources import Check, Following, PullAnswer, PullRequest, RefusedError, followed
from daemon.debug.views import JobView, NodeView, PodsView, PullView
from daemon.engine.changes import Changes
from daemon.engine.clock import Clock
from daemon.metrics import Metrics
from daemon.nodeimages.assembly import NodeHalf
from daemon.settings import shown

_WAITS = "waits for the API server"
_RUNNING = frozenset({"Pulling", "Unpacking", "BackingOff", "Waiting"})


class ShowsPods(Protocol):
    """The node's pods, as far as something changes in place."""

    def view(self) -> PodsView:
        """What can be seen of them now."""
        ...


class ClusteredOverview:
    """Implements the debug server's ``Sources``; there is little to see before ``attach``."""

    def __init__(self, config: AgentConfig, metrics: Metrics, clock: Clock) -> None:
        self._config = config
        self._metrics = metrics
        self._clock = clock
        self._started_at = clock.now()
        self._node: NodeHalf | None = None
        self._following: Mapping[str, Following] = {}
        self._pods: ShowsPods | None = None
        self.api_problem = "not asked yet"
        """Why the API server cannot be followed yet; not read after ``attach``."""
        self.changes = Changes()

    def attach(self, node: NodeHalf, following: Mapping[str, Following], pods: ShowsPods) -> None:
        """Show that node and its *pods*; it is ready while it is *following* all of these, by their names."""
        self._node, self._following, self._pods = node, following, pods
        self.changes.announce()

    def view(self) -> NodeView:
        """The node now."""
        node = self._node
        pulls = node.pulls() if node is not None else ()
        return NodeView(
            node=self._config.node_name,
            version=__version__,
            started_at=self._started_at,
            now=self._clock.now(),
            ready=all(check.ok for check in self.ready()),
            runtimes=node.runtimes() if node is not None else (),
            disk=node.disk() if node is not None else None,
            pulls=pulls,
            jobs=shares(pulls),
            pods=self._pods.view() if self._pods is not None else PodsView(problem=_WAITS),
        )

    def live(self) -> Sequence[Check]:
        """That this is answered shows that the loop turns; nothing else would be mended by a restart."""
        return (Check("loop", ok=True),)

    def ready(self) -> Sequence[Check]:
        """Whether the node learns of work and can do it."""
        runtime = self._node.runtime_problem if self._node is not None else _WAITS
        return (Check("runtime", ok=not runtime, message=runtime), *self._api())

    def _api(self) -> Sequence[Check]:
        if not self._following:
            return (Check("api", ok=False, message=self.api_problem),)
        return [followed(name, following) for name, following in self._following.items()]

    def flags(self) -> Mapping[str, Any]:
        """Every setting with its value."""
        return shown(self._config)

    def metrics(self) -> bytes:
        """The Prometheus text exposition."""
        for runtime in self._node.runtimes() if self._node is not None else ():
            self._metrics.runtime_ready.labels(runtime.name or runtime.socket).set(runtime.ready)
        return self._metrics.exposition()

    async def changed(self, seen: int) -> int:
        """Wait until the view's number is above *seen*, and return it."""
        return await self.changes.after(seen)


def shares(pulls: Iterable[PullView]) -> tuple[JobView, ...]:
    """The jobs that want something of this node, as far as it can tell: counts are images on it."""
    by_owner: dict[str, list[PullView]] = {}
    for pull in pulls:
        for owner in pull.owners:
            by_owner.setdefault(owner, []).append(pull)
    return tuple(_share(owner, wanted) for owner, wanted in by_owner.items())


def _share(owner: str, pulls: Sequence[PullView]) -> JobView:
    kind, namespace, name = owner.split("/", 2)
    phases = [pull.phase for pull in pulls]
    ends = [pull.completed_at for pull in pulls if pull.completed_at is not None]
    begins = [pull.started_at for pull in pulls if pull.started_at is not None]
    return JobView(
        kind=kind,
        namespace=namespace,
        name=name,
        images=tuple(pull.image for pull in pulls),
        desired=len(pulls),
        active=sum(phase in _RUNNING for phase in phases),
        succeeded=phases.count("Succeeded"),
        failed=phases.count("Failed"),
        message="this node's share",
        source="the cluster",
        created_at=min((pull.created_at for pull in pulls if pull.created_at is not None), default=None),
        started_at=min(begins, default=None),
        completed_at=max(ends) if len(ends) == len(pulls) else None,
    )


class TellsTheCluster:
    """Implements the debug server's ``Asks``: a cluster's node is told by its cluster alone."""

    async def pull(self, request: PullRequest) -> PullAnswer:
        """Refuse. Raises RefusedError."""
        images = " ".join(request.images)
        raise RefusedError(
            f"this node is told by its cluster what to pull: use 'kubectl inplaced pull {images}'"
        )
