"""Carries out the plans of WorkloadRestarts: a request for each pod, and the status of the whole."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import structlog

from daemon import names
from daemon.engine.clock import Clock
from daemon.engine.objects import AlreadyExistsError, NotFoundError, Objects
from daemon.engine.reconciling import Controller
from daemon.engine.watches import Copy
from daemon.kube.errors import ForbiddenError, RefusedError
from daemon.metrics import Metrics
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key, condition_of
from daemon.objects.parts import PodPart
from daemon.objects.recreates import ContainerRecreateRequest
from daemon.objects.workload_restarts import WorkloadRestart, WorkloadRestartStatus
from daemon.workloadrestarts import wording
from daemon.workloadrestarts.following import Following
from daemon.workloadrestarts.planner import Observed, Plan, after_the_end, is_ended, plan
from daemon.workloadrestarts.requests import request_for
from daemon.workloadrestarts.standing import (
    Standing,
    chosen,
    is_concerned,
    problem_of,
    request_name,
    standing_of,
)
from daemon.workloadrestarts.targets import Found, NoTargetError, Targets

_WORKERS = 8
"""Restarts that are written about at the same time."""
_GATHER = 0.0002
"""Seconds a pod for which changes are gathered: then a tenth of the processor is enough for any number."""
_FRESH = 2.0
"""Seconds after which a workload is read again, for the number of its pods."""
_BETWEEN = 0.5
"""Seconds between two words of progress of one restart."""
_NEAR = 0.001
"""Seconds before its time at which a word may be told, since timers are not exact."""
_GOING_ON = {wording.RESTARTING, wording.WAITING}
"""Between these a restart goes to and fro, which is nothing to be told."""

log = structlog.get_logger()


class Announce(Protocol):
    """Has it said, as an Event, that something happened to a restart."""

    def __call__(self, restart: WorkloadRestart, reason: str, note: str, *, warning: bool) -> None:
        """Return at once, and never raise."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What restarts are carried out with."""

    restarts: Objects[WorkloadRestart]
    requests: Objects[ContainerRecreateRequest]
    of_pod: Callable[[Key], Sequence[ContainerRecreateRequest]]
    """The requests about the pod of that name."""
    targets: Targets
    open_pods: Callable[[PodPart], Copy[LocalPod]]
    announce: Announce
    metrics: Metrics
    clock: Clock


@dataclass(slots=True)
class _Seen:
    """What is remembered of a running restart: all of it can be found out anew."""

    uid: str
    found: Found
    read_at: float
    written_at: float = float("-inf")


class WorkloadRestarts:
    """The restarts of the cluster, each a key of its own."""

    def __init__(self, around: Surroundings) -> None:
        self.controller: Controller[Key] = Controller(
            "workloadrestarts", self.reconcile, around.metrics, workers=_WORKERS
        )
        self.pods = Following(around.open_pods, self._look_soon)
        self._around = around
        self._seen: dict[Key, _Seen] = {}

    def watch(self) -> None:
        """Look at a restart when it changes, or a request that is about its pods."""
        self._around.restarts.subscribe(self.controller.queue.add)
        self._around.requests.subscribe(self._on_request)
        for restart in self._around.restarts.list():
            self.controller.queue.add(restart.metadata.key)

    def _on_request(self, key: Key) -> None:
        for restart in self.pods.in_namespace(key.namespace):
            self._look_soon(restart)

    def _look_soon(self, key: Key) -> None:
        """Look at a restart when what changes now has been gathered: a look costs as much as it has pods."""
        restart = self._around.restarts.get(key)
        pods = restart.status.desired if restart is not None else 0
        self.controller.queue.add_after(key, pods * _GATHER)

    async def reconcile(self, key: Key) -> float | None:
        """Do what is to be done for one restart; return the seconds after which to look again."""
        try:
            return await self._reconcile(key)
        except (ForbiddenError, RefusedError) as error:
            restart = self._around.restarts.get(key)
            if restart is not None and not is_ended(restart):
                await self._write(restart, wording.blocked(restart, str(error), self._around.clock.now()))
            raise

    async def _reconcile(self, key: Key) -> float | None:
        restart = self._around.restarts.get(key)
        if restart is None or is_ended(restart):
            self._forget(key)
            return await self._after(restart) if restart is not None else None
        try:
            seen = await self._find(restart)
        except NoTargetError as error:
            await self._refuse(restart, wording.TARGET_GONE, str(error))
            return None
        found = self.pods.pods(key, seen.found.part)
        if found is None:
            return None  # looked at again as soon as they are known
        pods = [pod for pod in await self._around.targets.owned(found, seen.found) if is_concerned(pod)]
        if problem := problem_of(restart, pods):
            await self._refuse(restart, wording.INVALID, problem)
            return None
        standings = [self._standing(restart, pod) for pod in pods if chosen(restart, pod)]
        made = plan(
            Observed(
                restart=restart,
                standings=standings,
                now=self._around.clock.now(),
                wanted=seen.found.wanted,
            )
        )
        return await self._carry_out(restart, seen, made)

    def _forget(self, key: Key) -> None:
        self._seen.pop(key, None)
        self.pods.forget(key)
        if not self._seen:
            self._around.targets.forget()

    async def _find(self, restart: WorkloadRestart) -> _Seen:
        key, now = restart.metadata.key, self._around.clock.monotonic()
        known = self._seen.get(key)
        if known is None or known.uid != restart.metadata.uid:
            known = self._seen[key] = _Seen(restart.metadata.uid, await self._target(restart), now)
        elif now - known.read_at >= _FRESH:
            known.found, known.read_at = await self._target(restart), now
        return known

    async def _target(self, restart: WorkloadRestart) -> Found:
        spec = restart.spec
        return await self._around.targets.find(restart.metadata.namespace, spec.workload_ref, spec.selector)

    def _standing(self, restart: WorkloadRestart, pod: LocalPod) -> Standing:
        name = request_name(restart, pod)
        about = self._around.of_pod(pod.metadata.key)
        own = next((each for each in about if each.metadata.name == name), None)
        return standing_of(restart, pod, own, [each for each in about if each.metadata.name != name])

    async def _carry_out(self, restart: WorkloadRestart, seen: _Seen, made: Plan) -> float | None:
        for each in made.begin:
            try:
                await self._around.requests.create(request_for(restart, each))
            except AlreadyExistsError:  # by a leader before this one: it will be seen
                log.debug("request is there already", pod=each.pod.metadata.name)
        due = await self._tell(restart, seen, made.status)
        return min((wait for wait in (due, made.wake_in) if wait is not None), default=None)

    async def _tell(
        self, restart: WorkloadRestart, seen: _Seen, status: WorkloadRestartStatus
    ) -> float | None:
        """Have the restart say *status*; return in how many seconds to come again when it is too early."""
        if status == restart.status:
            return None
        now = self._around.clock.monotonic()
        wait = seen.written_at + _BETWEEN - now
        if status.completion_time is None and wait > _NEAR:
            return wait
        seen.written_at = now
        await self._write(restart, status)
        return None

    async def _refuse(self, restart: WorkloadRestart, reason: str, message: str) -> None:
        await self._write(restart, wording.refused(restart, reason, message, self._around.clock.now()))

    async def _write(self, restart: WorkloadRestart, status: WorkloadRestartStatus) -> None:
        # Nobody else writes it, and what it is about stands in observedGeneration: no resourceVersion.
        metadata = msgspec.structs.replace(restart.metadata, resource_version="")
        try:
            told = await self._around.restarts.replace_status(
                msgspec.structs.replace(restart, metadata=metadata, status=status)
            )
        except NotFoundError:
            log.info("restart is gone")
            return
        self._announce(restart, told)

    def _announce(self, before: WorkloadRestart, after: WorkloadRestart) -> None:
        known = {each.pod for each in before.status.failures}
        for failure in after.status.failures:
            if failure.pod not in known:
                note = f"pod {failure.pod}: {failure.message}"
                self._around.announce(after, failure.reason, note, warning=True)
        old = condition_of(before.status.conditions, names.READY)
        new = condition_of(after.status.conditions, names.READY)
        reasons = {each.reason for each in (old, new) if each is not None}
        if new is not None and (old is None or (len(reasons) > 1 and not reasons <= _GOING_ON)):
            stalled = condition_of(after.status.conditions, names.STALLED)
            warning = stalled is not None and stalled.status == "True"
            self._around.announce(after, new.reason, new.message, warning=warning)

    async def _after(self, restart: WorkloadRestart) -> float | None:
        made = after_the_end(restart, self._around.clock.now())
        if made.remove:
            log.info("restart expired")
            await self._around.restarts.delete(restart)
        return made.wake_in
