"""Carries out the plans of CloneSets: revisions, size, rollouts, hooks, status."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import structlog

from daemon.engine.objects import NotFoundError
from daemon.engine.reconciling import Controller
from daemon.kube.errors import ApiError, ForbiddenError, RefusedError
from daemon.kube.objects import KubeObjects
from daemon.localpods.indexes import orphans_of
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key, selects
from daemon.objects.workloads import CloneSet
from daemon.workloads.clonesets.claiming import Claiming
from daemon.workloads.clonesets.lifecycle import Turn, by_itself
from daemon.workloads.clonesets.moving import Moving
from daemon.workloads.clonesets.orphans import Orphans
from daemon.workloads.clonesets.pod_writes import PodWrites, each_of
from daemon.workloads.clonesets.reporting import SetStatuses
from daemon.workloads.clonesets.revision_writes import JUDGED_AGAIN, Histories, History
from daemon.workloads.clonesets.run import Run
from daemon.workloads.clonesets.scaling import Scaling
from daemon.workloads.clonesets.settings import Settings, settings_of
from daemon.workloads.clonesets.status import Trouble, leaving_for, overdue_in, refused, status_of
from daemon.workloads.clonesets.stepping import Stepping
from daemon.workloads.clonesets.surroundings import SetSurroundings, Updates
from daemon.workloads.clonesets.upcoming import Upcoming
from daemon.workloads.clonesets.views import PodView, Snapshot, ViewCache, waiting

log = structlog.get_logger()

_WORKERS = 4
"""Sets that are worked on at the same time."""
_GATHER, _GATHER_MORE, _GATHER_MOST = 0.02, 0.0005, 1.0
"""Seconds in which changes of pods are gathered, the second for each pod: each look costs as many pods."""


class CloneSets:
    """Brings the pods of each CloneSet to what it asks for."""

    def __init__(self, around: SetSurroundings, updates: Updates, upcoming: Upcoming | None = None) -> None:
        self.controller: Controller[Key] = Controller(
            "clonesets", self.reconcile, around.metrics, workers=_WORKERS
        )
        self._around = around
        self._writes = PodWrites(around)
        self._claiming = Claiming(around, self._writes)
        self._histories = Histories(around)
        self._scaling = Scaling(around, self._writes)
        self._stepping = Stepping(around, updates, self.controller.queue.add)
        self._orphans = Orphans(around, updates)
        self._upcoming = upcoming
        self._moving = Moving(around, self._writes, self._scaling, self._stepping, upcoming)
        self._statuses = SetStatuses(KubeObjects(around.client, around.sets), around.clock)
        self._views: defaultdict[str, ViewCache] = defaultdict(ViewCache)
        self._known: dict[Key, str] = {}
        """UIDs of the sets that were worked on."""

    @property
    def controllers(self) -> Iterable[Controller[Key]]:
        """What is to be run."""
        return (self.controller, self._stepping.controller, self._orphans.controller)

    def watch(self) -> None:
        """Look at a set when it or something of it changes."""
        self._around.sets.subscribe(self.controller.queue.add)
        for informer in (self._around.pods, self._around.revisions, self._around.claims):
            informer.on_change(self._on_owned)
        self._stepping.watch()
        self._orphans.watch()
        if self._upcoming is not None:
            self._upcoming.watch(self._gather)
        for obj in self._around.sets.list():
            self.controller.queue.add(obj.metadata.key)

    def _on_owned(self, before: Any, after: Any) -> None:
        for obj in (before, after):
            owner = obj.metadata.controller if obj is not None else None
            if owner is not None and owner.kind == "CloneSet":
                self._gather(Key(obj.metadata.namespace, owner.name))
        if after is not None and isinstance(after, LocalPod) and orphans_of(after):
            self._on_orphan(after)

    def _on_orphan(self, pod: LocalPod) -> None:
        for obj in self._around.sets.list():
            here = obj.metadata.namespace == pod.metadata.namespace
            if here and selects(obj.spec.selector, pod.metadata.labels):
                self._gather(obj.metadata.key)

    def _gather(self, key: Key) -> None:
        obj = self._around.sets.get(key)
        count = obj.spec.replicas if obj is not None else 0
        self.controller.queue.add_after(key, min(_GATHER + _GATHER_MORE * count, _GATHER_MOST))

    async def reconcile(self, key: Key) -> float | None:
        """Plan for one set and carry it out."""
        obj = self._around.sets.get(key)
        if obj is None or self._known.get(key, obj.metadata.uid) != obj.metadata.uid:
            self._forget(key, self._known.pop(key, ""))
        if obj is None or obj.metadata.deletion_timestamp is not None:
            return None
        self._known[key] = obj.metadata.uid
        try:
            run = await self._begin(obj)
        except (ForbiddenError, RefusedError) as error:  # as a quota of revisions does
            await self._statuses.tell(
                obj, refused(obj, Trouble("FailedRevision", str(error)), self._around.now())
            )
            raise
        try:
            await self._work(run)
        except NotFoundError:  # a pod went while it was to be changed: the watch says so, too
            log.debug("pod is gone", cloneset=str(key))
            run.wakes.append(_GATHER)
        except ApiError as error:  # the set says so, and it is tried again
            run.update_failed("FailedUpdatePod", error)
        wait = await self._tell(run)
        if run.error is not None:
            raise run.error
        return min((each for each in (wait, *run.wakes) if each is not None), default=None)

    async def _begin(self, obj: CloneSet) -> Run:
        unclaimed = await self._claiming.claim(obj)
        settings = settings_of(obj)
        history = await self._histories.sync(obj)
        run = Run(obj, settings, history, lambda: self._observe(obj, settings, history))
        wrong = await self._histories.judge(obj, settings, history)
        if wrong is not None:
            run.wakes.append(JUDGED_AGAIN)
        run.outcome = replace(run.outcome, invalid=wrong, collisions=history.collisions)
        if unclaimed is not None:
            run.scale_failed("FailedClaim", unclaimed)
        return run

    async def _work(self, run: Run) -> None:
        self._moving.hold(run)
        await self._live(run)
        await self._scaling.scale(run)
        if run.outcome.invalid is None:
            await self._moving.move(run)
        if self._upcoming is not None:
            await self._upcoming.tidy(run)
        await self._scaling.tidy(run)
        in_use = {view.revision for view in run.observe().pods}
        await self._histories.trim(run.obj, run.history, in_use)

    async def _live(self, run: Run) -> None:
        """Let pods come to the states that nothing holds them from."""
        views = [view for view in run.observe().pods if view.live]
        turns = {view.uid: by_itself(view, run.settings) for view in views}
        due = [view for view in views if turns[view.uid] is not None or (view.shut and not view.busy)]
        error = await each_of(lambda view: self._turned(view, turns[view.uid]), due)
        if error is not None:
            run.update_failed("FailedUpdatePod", error)

    async def _turned(self, view: PodView, turn: Turn | None) -> None:
        if turn is None:
            await self._writes.open_gates(view.pod)
        else:
            await self._writes.turn(view.pod, turn)

    async def _tell(self, run: Run) -> float | None:
        seen = run.observe()
        run.wakes += [view.ripens_in for view in seen.pods if view.ripens_in is not None]
        obj = self._around.sets.get(run.obj.metadata.key)
        if obj is None or obj.metadata.uid != run.obj.metadata.uid:
            return None
        status = status_of(run.obj, seen, run.outcome)
        run.wakes += [due for due in (overdue_in(run.obj, seen.now), leaving_for(seen)) if due]
        return await self._statuses.tell(obj, status)

    def _observe(self, obj: CloneSet, settings: Settings, history: History) -> Snapshot:
        update, now = history.update.metadata.name, self._around.now()
        chosen = self._stepping.chosen(obj, update)
        views = self._views[obj.metadata.uid].look(self._around.pods_of(obj), settings, update, now, chosen)
        coming = self._upcoming.coming(obj, update) if self._upcoming is not None else {}
        return Snapshot(
            settings=settings,
            pods=waiting(views, coming),
            update_revision=update,
            current_revision=history.current.metadata.name,
            now=now,
        )

    def _forget(self, key: Key, uid: str) -> None:
        if self._upcoming is not None:
            self._upcoming.forget(key)
        self._views.pop(uid, None)
        self._histories.forget(uid)
        self._statuses.forget(uid)
        self._stepping.forget(uid)
