"""Finds the successor of a container that the kubelet replaces, before the kubelet tells of it.

A kubelet looks at a pod again only when it has listed all containers once more, each second. If the update is
ended by the time that it tells of the new container, the pod is ready in that very status, and else a second
or two later. So while pods change in place, the runtime is asked: what it says, the kubelet says next.

One question answers for all pods that wait, and only those of which there is news are looked at again: many
change at the same time, on a node that is busy enough with starting their containers.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec
import structlog
from msgspec.structs import replace

from daemon.cri.errors import CriError
from daemon.cri.runtimes import Runtime
from daemon.cri.types import POD_UID_LABEL
from daemon.cri.types import Container as RuntimeContainer
from daemon.cri.types import ContainerState as RuntimeState
from daemon.localpods.surroundings import PodSurroundings
from daemon.objects.container_hashes import plain_hash
from daemon.objects.local_pods import ContainerState, ContainerStatus, LocalPod, Running
from daemon.objects.meta import Key
from daemon.objects.running_containers import running_containers
from daemon.restarts.judging import asker_of

_PAUSE, _REST, _LATE = 0.02, 5.0, 0.02
"""Seconds between two questions at least; how many times longer than the last one took; and by what part of
the time that it was waited for a successor may be found too late."""
_ALIVE = frozenset({RuntimeState.CREATED, RuntimeState.RUNNING})
"""What a successor is made of is sure once it was created; whether it is ready is the kubelet's matter."""
_PATIENCE = 15.0
"""Seconds after which the kubelet is left to tell by itself."""

log = structlog.get_logger()


class _Wait(msgspec.Struct):
    """What is known of one pod. Times are monotonic."""

    key: Key
    generation: int
    since: float
    """When that version of the pod was seen, or the last of its containers was stopped here."""
    stopped: frozenset[str] = frozenset()
    due: Sequence[ContainerStatus] = ()
    """As the kubelet tells of them, those whose successors are waited for."""
    found: dict[str, ContainerStatus] = {}
    """By name, what the kubelet has not told yet."""


class Successors:
    """Shows pods that change in place as their kubelet will tell them soon."""

    def __init__(self, around: PodSurroundings, changed: Callable[[Key], None]) -> None:
        """*changed* is called with the pod of which a successor was found."""
        self._around = around
        self._changed = changed
        self._waits: dict[str, _Wait] = {}
        """By UID of the pod."""
        self._wanted = asyncio.Event()

    def forget(self, pod: LocalPod) -> None:
        """The pod is gone."""
        self._waits.pop(pod.metadata.uid, None)

    def ahead(self, pod: LocalPod, stopped: Collection[str] = ()) -> LocalPod:
        """*pod* with the successors that are known; others that are due are waited for from now on.

        *stopped* are the IDs of containers that were stopped here.
        """
        if asker_of(pod) != "update":
            self.forget(pod)
            return pod
        wait = self._wait(pod)
        if frozenset(stopped) - wait.stopped:
            wait.since, wait.stopped = self._around.clock.monotonic(), frozenset(stopped)
        due = awaited(pod, wait.found.keys(), stopped)
        wait.due = [each for each in pod.status.container_statuses if each.name in due]
        if due:
            self._wanted.set()
        return shown_with(pod, wait.found)

    def _wait(self, pod: LocalPod) -> _Wait:
        uid, generation = pod.metadata.uid, pod.metadata.generation
        wait = self._waits.get(uid)
        if wait is None or wait.generation != generation:
            found = wait.found if wait is not None else {}
            now = self._around.clock.monotonic()
            wait = self._waits[uid] = _Wait(pod.metadata.key, generation, now, found=found)
        for status in pod.status.container_statuses:
            known = wait.found.get(status.name)
            if known is not None and status.restart_count >= known.restart_count:
                del wait.found[status.name]  # the kubelet tells of it by now
        return wait

    async def run(self) -> None:
        """Look for what is waited for, until cancelled."""
        while True:
            await self._wanted.wait()
            began = self._around.clock.monotonic()
            if await self.look():
                now = self._around.clock.monotonic()
                newest = max((each.since for each in self._waits.values() if each.due), default=now)
                await asyncio.sleep(pause_after(now - began, now - newest))
            else:
                self._wanted.clear()

    async def look(self) -> bool:
        """Ask the runtimes once; return whether anything was waited for."""
        by_runtime: dict[Runtime, dict[str, _Wait]] = {}
        for uid, wait in self._waits.items():
            runtime = self._runtime_of(wait)
            if runtime is not None:
                by_runtime.setdefault(runtime, {})[uid] = wait
        for runtime, waits in by_runtime.items():
            await self._ask(runtime, waits)
        return bool(by_runtime)

    def _runtime_of(self, wait: _Wait) -> Runtime | None:
        """The runtime to ask for that pod, if there is something to be asked."""
        if self._around.clock.monotonic() - wait.since >= _PATIENCE:
            wait.due = ()
        ids = (each.container_id for each in wait.due if each.container_id)
        return next((self._around.runtime_of(each) for each in ids), None)

    async def _ask(self, runtime: Runtime, waits: Mapping[str, _Wait]) -> None:
        only = next(iter(waits)) if len(waits) == 1 else ""
        try:
            listed = await runtime.client.list_containers(pod_uid=only)
        except CriError as error:
            log.debug("cannot look for successors", runtime=runtime.name, error=str(error))
            return
        by_pod: dict[str, list[RuntimeContainer]] = {}
        for container in listed:
            by_pod.setdefault(container.labels.get(POD_UID_LABEL, ""), []).append(container)
        for uid in by_pod.keys() & waits.keys():
            self._take(waits[uid], by_pod[uid])

    def _take(self, wait: _Wait, containers: Sequence[RuntimeContainer]) -> None:
        """Keep what is new, and have the pod looked at."""
        there = {each.name: successor_of(each, containers) for each in wait.due}
        found = {name: successor for name, successor in there.items() if successor is not None}
        if found:
            wait.found |= found
            wait.due = [each for each in wait.due if each.name not in found]
            self._changed(wait.key)


def pause_after(took: float, waited: float) -> float:
    """Seconds until the next question, after one that *took* so long, for pods that have waited so long.

    A node may have hundreds of containers, and each question for several pods lists them all.
    """
    return max(_PAUSE, _REST * took, _LATE * waited)


def awaited(pod: LocalPod, found: Collection[str], stopped: Collection[str]) -> frozenset[str]:
    """The containers that the kubelet replaces, or has replaced and not told, by what we told of them."""
    told = running_containers(pod)
    statuses = {each.name: each for each in pod.status.container_statuses}
    return frozenset(
        container.name
        for container in pod.spec.containers
        if container.name not in found
        and container.name in statuses
        and (before := told.get(container.name)) is not None
        and (
            before.image not in {0, plain_hash(container.name, container.image)}
            or before.id != statuses[container.name].container_id
            or before.id in stopped
        )
    )


def successor_of(status: ContainerStatus, listed: Iterable[RuntimeContainer]) -> ContainerStatus | None:
    """What the kubelet will say of the container that runs in the place of the one in *status*."""
    scheme = status.container_id.partition("://")[0]
    newer = [
        each
        for each in listed
        if each.name == status.name and each.attempt > status.restart_count and each.state in _ALIVE
    ]
    if not newer:
        return None
    latest = max(newer, key=lambda each: each.attempt)
    return replace(
        status,
        container_id=f"{scheme}://{latest.id}",
        restart_count=latest.attempt,
        state=ContainerState(running=Running(started_at=latest.created_at)),
    )


def shown_with(pod: LocalPod, found: dict[str, ContainerStatus]) -> LocalPod:
    """*pod*, with those statuses in the place of what the kubelet has told."""
    if not found:
        return pod
    statuses: Sequence[ContainerStatus] = [
        found.get(each.name, each) for each in pod.status.container_statuses
    ]
    return replace(pod, status=replace(pod.status, container_statuses=tuple(statuses)))
