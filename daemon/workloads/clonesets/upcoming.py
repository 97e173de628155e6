"""Makes a rollout known to the pods that will change and to their nodes, before it touches them."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from daemon import names
from daemon.engine.clock import Clock
from daemon.inplace.announcing import Announced, Announcing
from daemon.inplace.rollouts import Download, Rollout
from daemon.kube.informer import Informer
from daemon.objects.images import NodeImage
from daemon.objects.meta import Key, OwnerReference
from daemon.objects.next_revisions import next_revision_of
from daemon.objects.workloads import CloneSet, InPlaceUpdateStrategy, IntOrText
from daemon.workloads.clonesets.rollout import RolloutPlan, staying
from daemon.workloads.clonesets.run import Run
from daemon.workloads.clonesets.settings import in_place_strategy_of, share
from daemon.workloads.clonesets.views import PodView

_PREFIX = f"{names.KRUISE_GROUP}/image-predownload-"
PARALLELISM_ANNOTATION = f"{_PREFIX}parallelism"
TIMEOUT_ANNOTATION = f"{_PREFIX}timeout-seconds"
MIN_READY_ANNOTATION = f"{_PREFIX}min-updated-ready-pods"
"""On a CloneSet of v1alpha1: what v1beta1 has as fields."""

QUIET = 5.0
"""Seconds that nodes may take to fetch images before their pods are told: what is done sooner is no news to
anybody, and an announcement with its answers costs a pod three writes."""


@dataclass(slots=True)
class _Quiet:
    """Pods of one set that need not be told: what stands on no pod. Lost, it is found out anew."""

    revision: str
    prepared: set[str] = field(default_factory=set)
    """UIDs of those whose nodes have all that they will need."""
    coming: frozenset[str] = frozenset()
    """UIDs of those whose nodes fetch what they will need."""
    nodes: frozenset[str] = frozenset()
    """Where those are."""
    since: float | None = None
    """Since when there are any; monotonic seconds."""


class Upcoming:
    """Announces to pods whose nodes can be told: those with an agent that gives signs of life."""

    def __init__(
        self,
        announcing: Announcing,
        agent_alive: Callable[[str], bool],
        node_images: Informer[NodeImage],
        clock: Clock,
    ) -> None:
        self._announcing = announcing
        self._agent_alive = agent_alive
        self._clock = clock
        self._node_images = node_images
        self._quiet: dict[Key, _Quiet] = {}

    def watch(self, wake: Callable[[Key], None]) -> None:
        """Have *wake* called with a set some of whose pods wait for a node that has said something."""

        def hear(node: Key) -> None:
            for key in [key for key, each in self._quiet.items() if node.name in each.nodes]:
                wake(key)

        self._node_images.subscribe(hear)

    def forget(self, key: Key) -> None:
        """The set is gone."""
        self._quiet.pop(key, None)

    def coming(self, obj: CloneSet, revision: str) -> Mapping[str, float]:
        """By UID, the seconds for which pods wait at most that are on their way to *revision*, untold."""
        quiet = self._quiet.get(obj.metadata.key)
        if quiet is None or quiet.revision != revision:
            return {}
        return dict.fromkeys(quiet.coming, max(self._left(quiet), 0.0))

    def _left(self, quiet: _Quiet) -> float:
        now = self._clock.monotonic()
        return QUIET - (now - quiet.since) if quiet.since is not None else QUIET

    async def announce(self, run: Run, plan: RolloutPlan) -> bool:
        """Tell the pods that *plan* moves, now or later, what need be told. Raises ApiError's kinds.

        Returns whether other pods are held than when *plan* was made. Pods that do not serve are left out:
        they have nothing to lose by a pull.
        """
        quiet = self._quiet_of(run)
        before = quiet.coming
        wanted = (*plan.move, *plan.upcoming)
        quiet.prepared &= {view.uid for view in wanted}
        views = [view for view in wanted if self._is_told(run, view, quiet.prepared)]
        found = Announced()
        if views:
            pods = ((view.pod, run.history.data(view.revision)) for view in views)
            quietly = self._left(quiet) > 0
            found = await self._announcing.announce(_rollout(run), pods, quietly=quietly)
        quiet.prepared |= found.prepared
        quiet.coming = found.coming
        quiet.nodes = frozenset(view.pod.spec.node_name for view in views if view.uid in found.coming)
        if not found.coming or quiet.since is None:
            quiet.since = self._clock.monotonic() if found.coming else None
        return bool(found.told or found.coming or before)

    def _quiet_of(self, run: Run) -> _Quiet:
        key, revision = run.obj.metadata.key, run.history.update.metadata.name
        known = self._quiet.get(key)
        if known is None or known.revision != revision:
            known = self._quiet[key] = _Quiet(revision)
        return known

    async def tidy(self, run: Run) -> None:
        """Take back what pods were told that stay what they are, and the jobs when there is no use for them.

        While some pods have changed and others are kept from it, the nodes of those keep the images.
        """
        seen = run.observe()
        through = [view for view in seen.live if view.updated and not view.busy]
        stay = staying(seen)
        told = [view.pod for view in (*through, *stay) if next_revision_of(view.pod) is not None]
        await self._announcing.withdraw(told)
        if len(seen.live) in {len(through), len(stay)} or not run.settings.in_place:
            self.forget(run.obj.metadata.key)
            await self._announcing.end(_owner(run.obj), run.obj.metadata.namespace)

    def _is_told(self, run: Run, view: PodView, prepared: Collection[str]) -> bool:
        return (
            run.settings.in_place
            and view.available
            and view.uid not in prepared
            and not view.doomed
            and (bool(view.unprepared) or not _knows(run, view))
            and self._agent_alive(view.pod.spec.node_name)
            and run.difference(view.revision) is None
        )


def _knows(run: Run, view: PodView) -> bool:
    """Whether the pod was told of the revision."""
    told = next_revision_of(view.pod)
    return told is not None and told.revision == run.history.update.metadata.name


def download_of(obj: CloneSet) -> Download:
    """How images are fetched beforehand: fields come before annotations; what is no number is left out."""
    strategy, annotations = in_place_strategy_of(obj), obj.metadata.annotations
    least: IntOrText | None = strategy.image_pre_download_min_updated_ready_pods
    least = annotations.get(MIN_READY_ANNOTATION) if least is None else least
    return Download(
        parallelism=_parallelism(strategy, annotations.get(PARALLELISM_ANNOTATION)),
        timeout_seconds=strategy.image_pre_download_timeout_seconds
        or _number(annotations.get(TIMEOUT_ANNOTATION)),
        min_updated_ready=share(least, obj.spec.replicas, up=True),
    )


def _parallelism(strategy: InPlaceUpdateStrategy, text: str | None) -> IntOrText | None:
    said = strategy.image_pre_download_parallelism
    value = text if said is None else said
    if isinstance(value, int):
        return value
    if value is not None and value.endswith("%") and _number(value[:-1]) is not None:
        return value
    return _number(value)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 10 else None


def _rollout(run: Run) -> Rollout:
    obj = run.obj
    return Rollout(
        owner=_owner(obj),
        namespace=obj.metadata.namespace,
        selector=obj.spec.selector,
        revision=run.history.update.metadata.name,
        new=run.history.update.data,
        updated_ready=sum(view.updated and view.ready for view in run.observe().live),
        download=download_of(obj),
    )


def _owner(obj: CloneSet) -> OwnerReference:
    metadata = obj.metadata
    return OwnerReference(
        kind="CloneSet", name=metadata.name, uid=metadata.uid, api_version=obj.api_version, controller=True
    )
