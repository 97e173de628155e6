"""Stops one container, as gracefully as the kubelet does: its preStop, then the stop signal, then by force.

Who calls says which container: a successor has another ID and is never hit. The kubelet starts the successor.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
import structlog

from daemon.cri.client import CriClient
from daemon.cri.errors import CriError, NotFoundError
from daemon.cri.types import POD_UID_LABEL, ContainerState, ContainerStatus
from daemon.localpods.journal import Subject
from daemon.localpods.surroundings import PodSurroundings
from daemon.objects.local_pods import Container, LocalPod
from daemon.restarts.hooks import HookError, HookPlace, run_hook

LEAST_GRACE: Final = 2.0
"""Seconds that a container has at least between its stop signal and the end by force; the kubelet's, too."""

log = structlog.get_logger()


class StopError(Exception):
    """The container was not stopped. The message tells the remedy."""


class NoRuntimeError(StopError):
    """The runtime of the container was not reached (yet): try again when there is one."""


class OtherContainerError(StopError):
    """The ID is that of another container, or of another pod's: trying again is useless."""


class UnforeseenError(StopError):
    """Something was not thought of, and is in the log: the next try may go better."""


class _Hook(msgspec.Struct, eq=False):
    """A preStop that runs, and what ends it early."""

    bound: asyncio.Timeout
    deleted: bool = False

    def end(self) -> None:
        """The pod is being deleted: the kubelet runs its hooks now."""
        self.deleted = True
        if not self.bound.expired():
            self.bound.reschedule(asyncio.get_running_loop().time())


class Stopper:
    """Stops containers of the node's pods. Two that want the same container stopped wait for one another."""

    def __init__(self, around: PodSurroundings) -> None:
        self._around = around
        self._hooks: dict[str, list[_Hook]] = {}
        """By UID of the pod, what runs now."""
        around.pods.on_change(self._on_pod)

    async def stop(
        self, pod: LocalPod, container: str, container_id: str, *, reason: str, grace: float | None = None
    ) -> bool:
        """Stop exactly the container *container_id* (``containerd://…``), named *container*, of *pod*.

        *pod* must be whole: its hooks and its grace period are read from it; *grace* (seconds) is for another
        one. *reason* is told in the event. Returns whether it ran and was stopped here: False when it had
        ended already, or when the pod is being deleted, for then the kubelet stops it in its own time. May be
        called again after any failure. Raises StopError or CriError.
        """
        async with self._around.stops.of(container_id):
            try:
                return await self._stop(pod, container, container_id, reason, grace)
            except (StopError, CriError) as error:
                self._note_failure(Subject(pod, container, container_id), reason, str(error))
                raise
            except Exception as error:  # what a pod asks for leads here: it must not end the agent
                log.exception("stop failed", pod=str(pod.metadata.key), container=container_id)
                why = (
                    f"stopping {container} failed in a way that was not foreseen ({type(error).__name__});"
                    " the agent's log says where"
                )
                self._note_failure(Subject(pod, container, container_id), reason, why)
                raise UnforeseenError(why) from error

    def _note_failure(self, about: Subject, reason: str, why: str) -> None:
        self._around.journal.step(about, "Failed", why=reason, detail=why)

    async def _stop(
        self, pod: LocalPod, container: str, container_id: str, reason: str, grace: float | None
    ) -> bool:
        known = self._around.pods.get(pod.metadata.key)
        if _is_going(pod.metadata.uid, known or pod):
            return False
        client, bare = self._client(container_id), container_id.partition("://")[2]
        status = await _status(client, bare)
        if status is None or status.state is ContainerState.EXITED:
            return False
        _check(status, pod, container)
        self._around.record(pod, "Killing", f"Stopping container {container}: {reason}", action="Stop")
        seconds = float(pod.spec.termination_grace_period_seconds if grace is None else grace)
        place = HookPlace(client, bare, pod.status.pod_ip, _container(pod, container))
        until = self._now() + seconds
        journal, about = self._around.journal, Subject(pod, container, container_id)
        journal.step(about, "PreStop" if place.container.lifecycle.pre_stop else "Stopping", why=reason)
        if not await self._prepared(pod, place, seconds):
            return False
        journal.step(about, "Stopping")
        await client.stop_container(bare, max(LEAST_GRACE, until - self._now()))
        journal.step(about, "Successor")
        return True

    async def _prepared(self, pod: LocalPod, place: HookPlace, seconds: float) -> bool:
        """Run the preStop, for so many seconds at most; return whether the container is still ours to stop.

        A hook that fails is told and changes nothing, as with the kubelet.
        """
        handler = place.container.lifecycle.pre_stop
        if handler is None or seconds <= 0:
            return True
        hook = _Hook(asyncio.timeout(seconds))
        try:
            async with hook.bound:
                with self._known(pod, hook):
                    await run_hook(handler, place, seconds)
        except HookError as error:
            self._tell(pod, place, str(error))
        except TimeoutError:
            if not hook.deleted:
                self._tell(pod, place, f"it did not end within the grace period of {seconds:g} seconds")
        return not hook.deleted

    def _tell(self, pod: LocalPod, place: HookPlace, why: str) -> None:
        note = f"preStop of container {place.container.name} failed: {why}; it is stopped all the same"
        self._around.record(pod, "FailedPreStopHook", note, action="Stop", type_="Warning")
        log.warning("preStop failed", pod=str(pod.metadata.key), container=place.container.name, why=why)

    @contextmanager
    def _known(self, pod: LocalPod, hook: _Hook) -> Iterator[None]:
        """Have *hook* ended when the pod is deleted."""
        uid = pod.metadata.uid
        self._hooks.setdefault(uid, []).append(hook)
        try:
            yield
        finally:
            self._hooks[uid].remove(hook)
            if not self._hooks[uid]:
                del self._hooks[uid]

    def _on_pod(self, before: LocalPod | None, after: LocalPod | None) -> None:
        if before is not None and _is_going(before.metadata.uid, after):
            for hook in self._hooks.get(before.metadata.uid, ()):
                hook.end()

    def _now(self) -> float:
        return self._around.clock.monotonic()

    def _client(self, container_id: str) -> CriClient:
        runtime = self._around.runtime_of(container_id)
        if runtime is None:
            raise NoRuntimeError(
                f"no container runtime of the node is known that {container_id} belongs to;"
                " is its socket among those the agent looks at (--runtime)?"
            )
        return runtime.client


def _is_going(uid: str, pod: LocalPod | None) -> bool:
    """Whether the pod with that UID is gone or being deleted, if *pod* is what has its name now."""
    return pod is None or pod.metadata.uid != uid or pod.metadata.deletion_timestamp is not None


async def _status(client: CriClient, bare: str) -> ContainerStatus | None:
    try:
        return await client.container_status(bare)
    except NotFoundError:
        return None


def _check(status: ContainerStatus, pod: LocalPod, container: str) -> None:
    """Raise OtherContainerError unless the runtime says that this is that pod's container of that name."""
    uid = status.labels.get(POD_UID_LABEL, "")
    if (uid, status.name) != (pod.metadata.uid, container):
        raise OtherContainerError(
            f"{status.id} is container {status.name!r} of pod UID {uid!r},"
            f" not {container!r} of {pod.metadata.key} with UID {pod.metadata.uid!r}"
        )


def _container(pod: LocalPod, name: str) -> Container:
    """What the pod asks of that container; an ephemeral one asks for no hooks."""
    asked = (*pod.spec.containers, *pod.spec.init_containers)
    return next((each for each in asked if each.name == name), Container(name=name))
