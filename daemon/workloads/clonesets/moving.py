"""Carries out a CloneSet's rollout: pods replaced, or changed in place, as planned."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import structlog

from daemon.inplace.diff import MustRecreate
from daemon.workloads.clonesets.lifecycle import Go, Turn, before_update, instead_of_update
from daemon.workloads.clonesets.pod_writes import PodWrites, each_of, slowly
from daemon.workloads.clonesets.rollout import RolloutPlan, plan_rollout, surplus
from daemon.workloads.clonesets.run import Run
from daemon.workloads.clonesets.scaling import Scaling
from daemon.workloads.clonesets.settings import Settings
from daemon.workloads.clonesets.status import MOST_NAMES, Trouble, listed
from daemon.workloads.clonesets.stepping import Stepping
from daemon.workloads.clonesets.surroundings import SetSurroundings
from daemon.workloads.clonesets.upcoming import Upcoming
from daemon.workloads.clonesets.views import (
    PREPARING_DELETE,
    PREPARING_NORMAL,
    PREPARING_UPDATE,
    UPDATED,
    PodView,
)

log = structlog.get_logger()

_UNPREPARED_AGAIN = 60.0
"""Seconds between two looks at nodes that could not be prepared."""
_HELD: Final = {
    PREPARING_UPDATE: "held by lifecycle.inPlaceUpdate",
    UPDATED: "held until lifecycle.inPlaceUpdate is put back",
    PREPARING_NORMAL: "held until lifecycle.preNormal is there",
    PREPARING_DELETE: "held by lifecycle.preDelete",
}
_BY_POLICY = MustRecreate("ReCreate", message="the set's updateStrategy replaces pods")


class Moving:
    """Brings pods to the update revision. What is begun on a pod is gone on with by ``stepping``."""

    def __init__(
        self,
        around: SetSurroundings,
        writes: PodWrites,
        scaling: Scaling,
        stepping: Stepping,
        upcoming: Upcoming | None,
    ) -> None:
        self._around = around
        self._writes = writes
        self._scaling = scaling
        self._stepping = stepping
        self._upcoming = upcoming

    def hold(self, run: Run) -> None:
        """Begin nothing more that is not wanted now: before it is counted what serves."""
        still = run.settings.paused or not run.settings.in_place
        self._stepping.hold(run.obj, but="" if still else run.history.update.metadata.name)

    async def move(self, run: Run) -> None:
        """Do what can be done now. What fails is told in the run's outcome."""
        for view in surplus(run.observe()):
            self._stepping.let_go(view.pod)
        plan = await self._announced(run)
        seen = run.observe()
        await self._each(run, plan.release, lambda view: self._release(run, view))
        verdicts = {view.uid: self._verdict(run, view) for view in plan.move}
        late = [view for view in seen.live if view.updated and not view.doomed and self._given_up(run, view)]
        in_place = [view for view in plan.move if verdicts[view.uid] is None]
        await self._each(run, in_place, lambda view: self._send(run, view))
        others = [view for view in plan.move if verdicts[view.uid] is not None]
        await self._replace(run, [*late, *others, *plan.stuck])
        self._tell(run)
        self._tell_changed(run, over=not (plan.move or plan.upcoming))

    async def _announced(self, run: Run) -> RolloutPlan:
        """The plan, once those that it is about know of it: what is told holds them until it is done."""
        plan = self._plan(run)
        if self._upcoming is not None and await self._upcoming.announce(run, plan):
            plan = self._plan(run)
        run.wakes += [view.preparing for view in plan.upcoming if view.preparing is not None]
        run.wakes += [_UNPREPARED_AGAIN for view in plan.upcoming if view.unprepared][:1]
        return plan

    def _plan(self, run: Run) -> RolloutPlan:
        seen, unable = run.observe(), set[str]()
        if not run.settings.replaces:
            unable = {view.uid for view in seen.live if not view.updated and self._verdict(run, view)}
        return plan_rollout(seen, unable)

    async def _each(
        self, run: Run, views: Sequence[PodView], work: Callable[[PodView], Awaitable[object]]
    ) -> None:
        """Do it with all: a pod that cannot be written to keeps no other from its update."""
        error = await each_of(work, views)
        if error is not None:
            run.update_failed("FailedUpdatePod", error)

    async def _release(self, run: Run, view: PodView) -> None:
        await self._writes.turn(view.pod, instead_of_update(view, run.settings))

    async def _send(self, run: Run, view: PodView) -> None:
        match before_update(view, run.settings):
            case Turn() as turn:
                await self._writes.turn(view.pod, turn)
            case Go():
                self._stepping.send(run.obj, view.pod, run.history.update.metadata.name)

    def _verdict(self, run: Run, view: PodView) -> MustRecreate | None:
        """Why the pod cannot change in place; None when it can."""
        if not run.settings.in_place:
            return _BY_POLICY
        return self._given_up(run, view) or run.difference(view.revision)

    def _given_up(self, run: Run, view: PodView) -> MustRecreate | None:
        return self._stepping.verdict(view.pod, run.history.update.metadata.name)

    async def _replace(self, run: Run, views: Sequence[PodView]) -> None:
        """Delete pods for the sake of newer ones, which scaling makes; tell that InPlaceOnly forbids it."""
        if not views:
            return
        why = _words(self._verdict(run, views[0]))  # what is known of a pod goes with it
        if not run.settings.replaces:
            words = f"InPlaceOnly, but pods must be replaced: {why}; wait: {listed(views)}"
            run.outcome = replace(run.outcome, update=Trouble("CannotUpdateInPlace", words))
            self._warn(run, "FailedUpdatePodInPlace", words)
            return
        gone, error = await slowly(lambda view: self._scaling.remove(run, view, replaced=True), views)
        self._around.metrics.pod_updates.labels("ReCreate").inc(gone)
        if error is not None:
            run.update_failed("FailedUpdatePodReCreate", error)
            self._warn(run, "FailedUpdatePodReCreate", str(error))
        if gone:
            note = f"replaced for {run.history.update.metadata.name}, since {why}: {listed(views)}"
            self._around.record(run.obj, "SuccessfulUpdatePodReCreate", note, action="Update")
            await self._scaling.scale(run)

    def _tell(self, run: Run) -> None:
        seen = run.observe()
        pods = [view.pod for view in seen.live if view.busy]
        failed = self._stepping.failure(pods)
        if failed is not None and run.outcome.update is None:
            pod, progress = failed
            words = f"{pod.metadata.name}: {progress.message or progress.reason}"
            run.outcome = replace(run.outcome, update=Trouble(progress.reason, words))
        unprepared = [view for view in seen.live if view.unprepared]
        if unprepared and run.outcome.update is None:
            words = f"{unprepared[0].name}: {unprepared[0].unprepared}; untouched: {listed(unprepared)}"
            run.outcome = replace(run.outcome, update=Trouble("PreparationFailed", words))
        preparing = sum(view.preparing is not None for view in seen.live)
        parts = [self._stepping.words(pods), *_held(seen.live, run.settings)]
        parts.append(f"{preparing} Preparing" if preparing else "")
        run.outcome = replace(run.outcome, waiting=", ".join(part for part in parts if part))

    def _tell_changed(self, run: Run, *, over: bool) -> None:
        """Say in an event of the set what changed in place: of several pods at once, the rest in the end."""
        over = over and not any(view.busy for view in run.observe().live)
        for revision, pods in self._stepping.through(run.obj, 1 if over else MOST_NAMES).items():
            note = f"changed in place to {revision}: {listed(pods)}"
            self._around.record(run.obj, "SuccessfulUpdatePodInPlace", note, action="Update")

    def _warn(self, run: Run, reason: str, note: str) -> None:
        self._around.record(run.obj, reason, note, action="Update", type_="Warning")


def _held(views: Sequence[PodView], settings: Settings) -> Iterator[str]:
    """How many pods wait for somebody else than us, by the hook that holds them."""
    states = Counter(view.state for view in views if not view.busy)
    if not settings.hooks.pre_normal.holds:
        del states[PREPARING_NORMAL]
    for state, words in _HELD.items():
        if states[state]:
            yield f"{states[state]} {words}"


def _words(verdict: MustRecreate | None) -> str:
    return verdict.message or verdict.reason if verdict is not None else ""
