"""Carries out the update of one pod, step by step, for as long as there is something to be done at once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

import structlog

from daemon.engine.clock import Clock
from daemon.engine.objects import ConflictError, NotFoundError
from daemon.inplace.abandoned import give_back
from daemon.inplace.beginning import refused
from daemon.inplace.observing import Observed, Write, records_of
from daemon.inplace.planner import plan
from daemon.inplace.refusals import Refusals
from daemon.inplace.targets import Progress, Target, Waiting
from daemon.kube.client import ApiClient
from daemon.kube.errors import ApiError, ForbiddenError, RefusedError, ServerError
from daemon.kube.events import Level
from daemon.kube.informer import Informer
from daemon.kube.patches import strategic_merge_patch
from daemon.metrics import Metrics
from daemon.objects.local_pods import LocalPod

_STEPS = 12
"""Writes and conflicts of one call at most; a pod that is written to all the time has others wait."""
_AFTER_CONFLICTS = 1.0
"""Seconds until such a pod is looked at again."""

_GONE = Waiting("Deleting", "the pod is gone")
_RELEASED = Waiting("Released", "another workload controls the pod by now, or none does")

log = structlog.get_logger()


class Record(Protocol):
    """Has it said that something happened to a pod; returns at once, never raises."""

    def __call__(
        self, pod: LocalPod, reason: str, note: str, *, action: str, type_: Level = "Normal"
    ) -> None:
        """*reason* and *action* are CamelCase, *note* is for people."""
        ...


class PodUpdates:
    """Brings pods to revisions in place. All that it must know stands on the pods."""

    def __init__(
        self,
        client: ApiClient,
        pods: Informer[LocalPod],
        metrics: Metrics,
        clock: Clock,
        *,
        record: Record,
        agent_alive: Callable[[str], bool],
    ) -> None:
        """*pods* is told of all writes; *agent_alive* tells whether a node's agent gives signs of life."""
        self._client = client
        self._pods = pods
        self._metrics = metrics
        self._clock = clock
        self._record = record
        self._agent_alive = agent_alive
        self._refusals = Refusals(clock)

    async def advance(self, pod: LocalPod, target: Target) -> Progress:
        """Take the steps that can be taken now, and tell where the update stands.

        Call it with the newest pod whenever that changes, and when it asks for it; twice does no harm, not at
        the same time though. Raises the ApiError of a write that failed, but for a conflict, after which the
        pod is read anew and decided on anew.
        """
        tried = False
        for _ in range(_STEPS):
            step = plan(self._observed(pod, target, tried=tried))
            if not isinstance(step, Write):
                return step
            try:
                done = await self._take(pod, target, step)
            except NotFoundError:
                return _GONE
            except (RefusedError, ForbiddenError, ServerError) as error:
                if step.step == "Try" and isinstance(error, RefusedError) and error.untried:
                    tried = True
                    continue
                return await self._refused(pod, target, step, error)
            if not isinstance(done, LocalPod):
                return done
            tried = step.step == "Try" and done is pod
            pod = done
        return Waiting("Changed", "the pod changes faster than it can be decided on", _AFTER_CONFLICTS)

    async def leave(self, pod: LocalPod, why: str) -> float | None:
        """Give *pod*, whose update nobody ends, back to its traffic as soon as it runs what it should.

        *why* is told in an Event.
        Returns the seconds after which to call again, None where a change of the pod is waited for. Raises
        the ApiError of a write that failed, NotFoundError and ConflictError among them.
        """
        step = give_back(pod, self._clock.now(), why)
        if isinstance(step, Write):
            await self._patched(pod, step)
        return step.look_again_in if isinstance(step, Waiting) else None

    async def _read(self, pod: LocalPod) -> LocalPod | Progress:
        """The pod as it is stored now. Raises NotFoundError."""
        fresh = await self._client.get(self._pods.resource, pod.metadata.key)
        self._pods.learn(fresh)
        if fresh.metadata.uid != pod.metadata.uid:
            return _GONE
        return fresh if _controller_of(fresh) == _controller_of(pod) else _RELEASED

    async def _take(self, pod: LocalPod, target: Target, step: Write) -> LocalPod | Progress:
        """The pod after the step, or as it is by now if it has changed since; an answer if that is the end.

        Raises NotFoundError when it is gone.
        """
        try:
            written = await self._write(pod, target, step)
        except ConflictError:
            return await self._read(pod)
        return written if step.then is None else step.then

    async def _refused(self, pod: LocalPod, target: Target, step: Write, error: ApiError) -> Progress:
        """Leave the pod to its traffic when the change is refused, as by an admission policy.

        So does a webhook that is down. Other troubles of the API server pass by themselves: they are raised.
        """
        passes = isinstance(error, ServerError) and not error.by_webhook
        if passes or step.step not in {"Change", "Try"}:
            raise error
        self._refusals.add(pod, target.revision, error.message)
        told = refused(self._observed(pod, target), error.message)
        if not isinstance(told, Write):
            return told
        await self._write(pod, target, told)
        assert told.then is not None
        return told.then

    def _observed(self, pod: LocalPod, target: Target, *, tried: bool = False) -> Observed:
        return Observed(
            pod=pod,
            target=target,
            now=self._clock.now(),
            agent_alive=self._agent_alive(pod.spec.node_name),
            refusal=self._refusals.held(pod, target.revision),
            doubted=self._refusals.doubted(pod, target.revision),
            tried=tried,
        )

    async def _write(self, pod: LocalPod, target: Target, step: Write) -> LocalPod:
        if step.step == "Try":
            patch = strategic_merge_patch(step.document)
            await self._client.patch(self._pods.resource, pod.metadata.key, patch, dry_run=True)
            return pod
        written = await self._patched(pod, step)
        log.info("pod updated in place", pod=str(pod.metadata.key), step=step.step, revision=target.revision)
        return written

    async def _patched(self, pod: LocalPod, step: Write) -> LocalPod:
        key, patch = pod.metadata.key, strategic_merge_patch(step.document)
        written = await self._client.patch(self._pods.resource, key, patch, subresource=step.subresource)
        self._pods.learn(written)
        self._metrics.inplace_steps.labels(step.step).inc()
        self._tell(pod, step)
        return written

    def _tell(self, pod: LocalPod, step: Write) -> None:
        match step.step:
            case "Change":
                self._record(pod, "InPlaceUpdateStarted", step.note, action="UpdateInPlace")
            case "Tell":
                self._record(pod, "InPlaceUpdateStuck", step.note, action="UpdateInPlace", type_="Warning")
            case "Leave":
                self._record(
                    pod, "InPlaceUpdateAbandoned", step.note, action="UpdateInPlace", type_="Warning"
                )
            case "GiveBack":
                self._tell_end(pod, step)

    def _tell_end(self, pod: LocalPod, step: Write) -> None:
        """Say how long it took, unless the pod was only made like this."""
        state = records_of(pod).state
        if state is None or state.update_timestamp is None:
            return
        seconds = (self._clock.now() - state.update_timestamp) / timedelta(seconds=1)
        self._metrics.inplace_seconds.observe(seconds)
        note = f"{step.note}, {seconds:.0f} s after its change began"
        self._record(pod, "InPlaceUpdateSucceeded", note, action="UpdateInPlace")


def _controller_of(pod: LocalPod) -> str:
    controller = pod.metadata.controller
    return controller.uid if controller is not None else ""
