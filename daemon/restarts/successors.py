"""Finds the successor of a container that the kubelet replaces, before the kubelet tells of it.

A kubelet looks at a pod again only when it has listed all containers once more, each second. If the update is
ended by the time that it tells of the new container, the pod is ready in that very status, and else a second
or two later. So while a pod changes in place, the runtime is asked: what it says, the kubelet says next.
"""

from collections.abc import Collection, Iterable, Sequence
from math import inf

import msgspec
import structlog
from msgspec.structs import replace

from daemon.cri.errors import CriError
from daemon.cri.types import Container as RuntimeContainer
from daemon.cri.types import ContainerState as RuntimeState
from daemon.localpods.surroundings import PodSurroundings
from daemon.objects.container_hashes import plain_hash
from daemon.objects.local_pods import ContainerState, ContainerStatus, LocalPod, Running
from daemon.objects.running_containers import running_containers
from daemon.restarts.judging import asker_of

PAUSE = 0.05
"""Seconds between two questions while a successor is waited for."""
_ALIVE = frozenset({RuntimeState.CREATED, RuntimeState.RUNNING})
"""What a successor is made of is sure once it was created; whether it is ready is the kubelet's matter."""
_PATIENCE = 15.0
"""Seconds after which the kubelet is left to tell by itself."""

log = structlog.get_logger()


class _Wait(msgspec.Struct):
    """What is known of one pod. Times are monotonic."""

    generation: int
    since: float
    found: dict[str, ContainerStatus]
    """By name, what the kubelet has not told yet."""


class Successors:
    """Shows pods that change in place as their kubelet will tell them soon."""

    def __init__(self, around: PodSurroundings) -> None:
        self._around = around
        self._waits: dict[str, _Wait] = {}
        """By UID of the pod."""

    def forget(self, pod: LocalPod) -> None:
        """The pod is gone."""
        self._waits.pop(pod.metadata.uid, None)

    async def ahead(self, pod: LocalPod, stopped: Collection[str] = ()) -> tuple[LocalPod, float]:
        """*pod* with the successors that are there, and the seconds until it is to be looked at again.

        *stopped* are the IDs of containers that were stopped here.
        """
        if asker_of(pod) != "update":
            self.forget(pod)
            return pod, inf
        wait = self._wait(pod)
        due = awaited(pod, wait.found.keys(), stopped)
        if due and self._around.clock.monotonic() - wait.since < _PATIENCE:
            wait.found.update(await self._look(pod, due))
            due -= wait.found.keys()
        else:
            due = frozenset()
        return shown_with(pod, wait.found), PAUSE if due else inf

    def _wait(self, pod: LocalPod) -> _Wait:
        uid, generation = pod.metadata.uid, pod.metadata.generation
        wait = self._waits.get(uid)
        if wait is None or wait.generation != generation:
            found = wait.found if wait is not None else {}
            wait = self._waits[uid] = _Wait(generation, self._around.clock.monotonic(), found)
        for status in pod.status.container_statuses:
            known = wait.found.get(status.name)
            if known is not None and status.restart_count >= known.restart_count:
                del wait.found[status.name]  # the kubelet tells of it by now
        return wait

    async def _look(self, pod: LocalPod, due: Collection[str]) -> dict[str, ContainerStatus]:
        ids = (each.container_id for each in pod.status.container_statuses if each.container_id)
        runtime = next((self._around.runtime_of(each) for each in ids), None)
        if runtime is None:
            return {}
        try:
            listed = await runtime.client.list_containers(pod_uid=pod.metadata.uid)
        except CriError as error:
            log.debug("cannot look for successors", pod=str(pod.metadata.key), error=str(error))
            return {}
        return {
            status.name: successor
            for status in pod.status.container_statuses
            if status.name in due and (successor := successor_of(status, listed)) is not None
        }


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
