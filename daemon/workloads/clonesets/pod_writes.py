"""What is written to pods of a CloneSet, and to their claims. Own writes are seen at once."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import structlog

from daemon import names
from daemon.engine.objects import AlreadyExistsError, NotFoundError
from daemon.kube.errors import ApiError, ChangedError
from daemon.kube.patches import strategic_merge_patch
from daemon.kube.pod_readiness import PodReadiness
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key
from daemon.objects.pod_readiness import Blocker, blockers
from daemon.objects.revisions import PersistentVolumeClaim
from daemon.workloads.clonesets.lifecycle import USER_AGENT, Turn
from daemon.workloads.clonesets.making import ID_ALPHABET, ID_LENGTH, NewPod
from daemon.workloads.clonesets.surroundings import SetSurroundings
from daemon.workloads.clonesets.views import NORMAL, shut_gates

T = TypeVar("T")

log = structlog.get_logger()

_AT_ONCE = 16
"""Writes on their way at the same time at most."""


class PodWrites:
    """Every write is bound to the pod's UID: a successor of the same name is never hit."""

    def __init__(self, around: SetSurroundings) -> None:
        self._around = around
        self._readiness = PodReadiness(around.client, around.clock)

    async def create(self, new: NewPod) -> LocalPod:
        """Store a pod after its claims, and open its readiness gates. Raises ApiError's kinds."""
        for claim in new.claims:
            await self._claim(claim)
        pod = await self._around.client.make(self._around.pods.resource, new.pod)
        self._around.pods.learn(pod)
        return await self.open_gates(pod)

    async def _claim(self, document: Mapping[str, Any]) -> None:
        try:
            made = await self._around.client.make(self._around.claims.resource, document)
        except AlreadyExistsError:  # made by a pass that did not come to its end
            return
        self._around.claims.learn(made)

    async def delete(self, pod: LocalPod) -> None:
        """Delete exactly this pod; one that is gone is no error. Raises ApiError's kinds."""
        informer, metadata = self._around.pods, pod.metadata
        try:
            left = await self._around.client.delete(informer.resource, metadata.key, uid=metadata.uid)
        except (NotFoundError, ChangedError):  # gone, or another object has its name
            left = None
        if left is None:
            informer.forget(pod)
        else:
            informer.learn(left)

    async def delete_claim(self, claim: PersistentVolumeClaim) -> None:
        """Delete exactly this claim; its data goes as its storage class says. Raises ApiError's kinds."""
        informer, metadata = self._around.claims, claim.metadata
        try:
            left = await self._around.client.delete(informer.resource, metadata.key, uid=metadata.uid)
        except (NotFoundError, ChangedError):
            left = None
        if left is None:
            informer.forget(claim)
        else:
            informer.learn(left)

    async def turn(self, pod: LocalPod, turn: Turn, *, labels: Mapping[str, str] | None = None) -> LocalPod:
        """Bring the pod to another state of its life, out of traffic first. Raises ApiError's kinds.

        A turn to the state that it is in only lets it into traffic again.
        """
        key, uid = pod.metadata.key, pod.metadata.uid
        if turn.acquire:
            await self._readiness.block(key, uid, Blocker(USER_AGENT, turn.acquire))
        state = pod.metadata.labels.get(names.LIFECYCLE_STATE_LABEL) or NORMAL
        if turn.state != state or labels:
            pod = await self._stated(pod, turn, labels or {})
        if turn.release and Blocker(USER_AGENT, turn.release) in blockers(pod):
            await self._readiness.unblock(key, uid, Blocker(USER_AGENT, turn.release))
        return pod

    async def _stated(self, pod: LocalPod, turn: Turn, labels: Mapping[str, str]) -> LocalPod:
        stamp = self._around.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata: dict[str, Any] = {
            "labels": {**turn.labels, **labels, names.LIFECYCLE_STATE_LABEL: turn.state},
            "annotations": {names.LIFECYCLE_TIMESTAMP_ANNOTATION: stamp},
        }
        if turn.finalizers:  # the list is merged: one that somebody took off meanwhile stays off
            metadata["finalizers"] = _absent(turn.finalizers, pod)
        return await self.patch(pod, {"metadata": metadata})

    async def patch(self, pod: LocalPod, document: dict[str, Any], subresource: str = "") -> LocalPod:
        """Merge *document* into exactly this pod. Raises ApiError's kinds."""
        document["metadata"] = {**document.get("metadata", {}), "uid": pod.metadata.uid}
        patch, informer = strategic_merge_patch(document), self._around.pods
        made = await self._around.client.patch(
            informer.resource, pod.metadata.key, patch, subresource=subresource
        )
        informer.learn(made)
        return made

    async def open_gates(self, pod: LocalPod) -> LocalPod:
        """Say for the first time that nothing of ours keeps the pod unready. Raises ApiError's kinds."""
        missing = shut_gates(pod)
        if not missing:
            return pod
        at = self._around.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        conditions = [{"type": each, "status": "True", "lastTransitionTime": at} for each in missing]
        return await self.patch(pod, {"status": {"conditions": conditions}}, "status")

    def new_id(self, key: Key, taken: Callable[[str], bool]) -> str:
        """An id that no pod of the set has."""
        while True:
            made = "".join(random.choices(ID_ALPHABET, k=ID_LENGTH))  # noqa: S311 - a name, no secret
            name = Key(key.namespace, f"{key.name}-{made}")
            if not taken(made) and self._around.pods.get(name) is None:
                return made


async def slowly(
    work: Callable[[T], Awaitable[object]], items: Sequence[T], still: Callable[[], bool] = lambda: True
) -> tuple[int, ApiError | None]:
    """Do *work* on all, in batches of 1, 2, 4 … so that what fails for all fails seldom.

    Returns how many came through, and the first error, after which no further batch was begun; none is begun
    either when it is *still* wanted no longer.
    """
    done, size = 0, 1
    while done < len(items) and still():
        batch = items[done : done + size]
        errors = await _together(work, batch)
        done += len(batch)
        if errors:
            return done - len(errors), errors[0]
        size = min(2 * size, _AT_ONCE)
    return done, None


async def each_of(work: Callable[[T], Awaitable[object]], items: Sequence[T]) -> ApiError | None:
    """Do *work* on all, whatever fails; return the first error, but for what is gone by now."""
    errors: list[ApiError] = []
    for start in range(0, len(items), _AT_ONCE):
        errors += await _together(work, items[start : start + _AT_ONCE])
    return next((each for each in errors if not isinstance(each, NotFoundError)), None)


async def _together(work: Callable[[T], Awaitable[object]], batch: Sequence[T]) -> list[ApiError]:
    errors: list[ApiError] = []

    async def one(item: T) -> None:
        try:
            await work(item)
        except ApiError as error:
            errors.append(error)

    async with asyncio.TaskGroup() as group:
        for item in batch:
            group.create_task(one(item))
    return errors


def _absent(finalizers: Sequence[str], pod: LocalPod) -> list[str]:
    return [each for each in finalizers if each not in pod.metadata.finalizers]
