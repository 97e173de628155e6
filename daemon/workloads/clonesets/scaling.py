"""Carries out what was planned of a CloneSet's size: pods made, deleted, kept after all; claims that go."""

from collections.abc import Sequence
from dataclasses import replace

import structlog

from daemon import names
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key
from daemon.workloads.clonesets.lifecycle import Go, Stay, Turn, before_delete, instead_of_delete
from daemon.workloads.clonesets.making import ENDING, NewPod, make, returning, reusable
from daemon.workloads.clonesets.pod_writes import PodWrites, each_of, slowly
from daemon.workloads.clonesets.run import Run
from daemon.workloads.clonesets.scale import ScalePlan, plan_scale
from daemon.workloads.clonesets.status import listed
from daemon.workloads.clonesets.surroundings import SetSurroundings
from daemon.workloads.clonesets.views import PodView

log = structlog.get_logger()


class Scaling:
    """Brings a set to its size."""

    def __init__(self, around: SetSurroundings, writes: PodWrites) -> None:
        self._around = around
        self._writes = writes

    async def scale(self, run: Run) -> None:
        """Do what can be done now. What fails is told in the run's outcome."""
        plan = _planned_for(run)
        error = await each_of(
            lambda view: self._writes.turn(view.pod, instead_of_delete(run.settings)), plan.restore
        )
        if error is not None:
            run.update_failed("FailedUpdatePod", error)
        await self._remove(run, plan.delete)
        await self._create(run, plan)

    async def tidy(self, run: Run) -> None:
        """Delete the claims of pods that are gone, where they are not to be used again."""
        if run.settings.reuse_claims:
            return
        used = _ids(run.pods)
        for claim in self._around.claims_of(run.obj):
            id_ = claim.metadata.labels.get(names.INSTANCE_ID_LABEL, "")
            kept = id_ in used or self._is_let_go(run, id_)
            if not kept and claim.metadata.deletion_timestamp is None:
                await self._writes.delete_claim(claim)

    async def _create(self, run: Run, plan: ScalePlan) -> None:
        new = self._planned(run, plan)
        if not new:
            return
        made, error = await slowly(self._writes.create, new, lambda: self._around.is_as_it_was(run.obj))
        if made:
            self._tell(
                run, "SuccessfulCreate", "created", [each.pod["metadata"]["name"] for each in new[:made]]
            )
        if error is not None:
            run.scale_failed("FailedCreate", error)
            self._around.record(
                run.obj,
                "FailedCreate",
                f"cannot create a pod: {error}",
                action="Create",
                type_="Warning",
            )

    def _planned(self, run: Run, plan: ScalePlan) -> list[NewPod]:
        revisions = [run.history.update] * plan.create_new + [run.history.current] * plan.create_old
        taken = _ids(run.pods)
        claims = self._around.claims_of(run.obj)
        free = reusable(claims, taken) if run.settings.reuse_claims else []
        free = [each for each in free if not self._is_let_go(run, each)]
        awaited = returning(claims, run.pods, self._around.now()) if run.settings.reuse_claims else ()
        if awaited and revisions:
            revisions = revisions[: max(len(revisions) - len(awaited), len(free))]
            run.wakes.append(ENDING.total_seconds())
        stored = {each.metadata.name for each in claims}
        new = []
        for revision in revisions:
            id_ = free.pop(0) if free else self._writes.new_id(run.obj.metadata.key, taken.__contains__)
            taken.add(id_)
            template = run.history.template(revision)
            new.append(make(run.obj, run.settings, revision.metadata.name, template, id_, stored=stored))
        return new

    def _is_let_go(self, run: Run, id_: str) -> bool:
        """Whether a pod of that id is there which the set controls no more: it keeps its name and claims."""
        metadata = run.obj.metadata
        return self._around.pods.get(Key(metadata.namespace, f"{metadata.name}-{id_}")) is not None

    async def _remove(self, run: Run, views: Sequence[PodView]) -> None:
        gone, error = await slowly(lambda view: self.remove(run, view), views)
        if error is not None:
            run.scale_failed("FailedDelete", error)
        elif gone:
            names_ = [view.name for view in views if before_delete(view, run.settings) == Go()]
            if names_:
                self._tell(run, "SuccessfulDelete", "deleted", names_)

    async def remove(self, run: Run, view: PodView, *, replaced: bool = False) -> None:
        """Delete the pod as soon as nothing holds it, its claims with it; *replaced* by one that is newer.

        Raises ApiError's kinds.
        """
        match before_delete(view, run.settings):
            case Stay():
                return
            case Turn() as turn:
                # Marked, so that it stays the one to go whatever else happens until it may.
                mark = {names.SPECIFIED_DELETE_LABEL: "true"} if replaced else {}
                await self._writes.turn(view.pod, turn, labels=mark)
            case Go():
                await self._writes.delete(view.pod)
                await self._drop_claims(run, view)

    async def _drop_claims(self, run: Run, view: PodView) -> None:
        id_ = view.pod.metadata.labels.get(names.INSTANCE_ID_LABEL, "")
        for claim in self._around.claims_of_instance(run.obj, id_):
            await self._writes.delete_claim(claim)

    def _tell(self, run: Run, reason: str, verb: str, pods: Sequence[str]) -> None:
        note = f"{verb} {len(pods)} pod{'s' if len(pods) > 1 else ''}: {listed(pods)}"
        self._around.record(run.obj, reason, note, action="Scale")


def _planned_for(run: Run) -> ScalePlan:
    """The plan. While no pod of the update revision can be, as many of the current one are kept up."""
    seen = run.observe()
    if run.outcome.invalid is None:
        return plan_scale(seen)
    settings = replace(seen.settings, partition=seen.settings.replicas, max_surge=0)
    return replace(plan_scale(replace(seen, settings=settings)), create_new=0)


def _ids(pods: Sequence[LocalPod]) -> set[str]:
    return {each for pod in pods if (each := pod.metadata.labels.get(names.INSTANCE_ID_LABEL))}
