"""Which pods belong to a CloneSet: those that it selects and nobody else controls; others are let go."""

from typing import Any

from daemon import names
from daemon.engine.objects import NotFoundError
from daemon.kube.errors import ApiError
from daemon.localpods.indexes import ORPHANS
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import OwnerReference, selects
from daemon.objects.workloads import CloneSet
from daemon.workloads.clonesets.making import owner
from daemon.workloads.clonesets.pod_writes import PodWrites, each_of
from daemon.workloads.clonesets.surroundings import SetSurroundings, instance


def controllers_of(obj: Any) -> tuple[str, ...]:
    """Under what the index BY_CONTROLLER files an object: the UID of its controller."""
    found = controller_of(obj)
    return (found.uid,) if found is not None else ()


def instances_of(claim: Any) -> tuple[str, ...]:
    """Under what the index BY_INSTANCE files a claim: the pod of a set that it belongs to."""
    id_ = claim.metadata.labels.get(names.INSTANCE_ID_LABEL, "")
    return tuple(instance(uid, id_) for uid in controllers_of(claim) if id_)


def controller_of(obj: Any) -> OwnerReference | None:
    """The owner that controls the object."""
    return next((each for each in obj.metadata.owner_references if each.controller), None)


class Claiming:
    """Adopts and lets go."""

    def __init__(self, around: SetSurroundings, writes: PodWrites) -> None:
        self._around = around
        self._writes = writes

    async def claim(self, obj: CloneSet) -> ApiError | None:
        """Take what the selector matches and nobody controls, let go what it does not match any more.

        Returns the first error: a pod that cannot be written to keeps its set from nothing else.
        """
        selector = obj.spec.selector
        lost = [
            pod
            for pod in self._around.pods_of(obj)
            if not selects(selector, pod.metadata.labels) and pod.metadata.deletion_timestamp is None
        ]
        error = await each_of(lambda pod: self._release(obj, pod), lost)
        orphans = [
            pod
            for pod in self._around.pods.indexed(ORPHANS, obj.metadata.namespace)
            if selects(selector, pod.metadata.labels) and pod.metadata.deletion_timestamp is None
        ]
        if orphans and await self._is_there(obj):
            error = await each_of(lambda pod: self._adopt(obj, pod), orphans) or error
        return error

    async def _is_there(self, obj: CloneSet) -> bool:
        """Whether the set is there by the API server's own word.

        Pods become orphans because their set goes (``--cascade=orphan``), of which the watch may not tell
        at once: with an owner that is gone, they would be deleted as garbage.
        """
        try:
            now = await self._around.client.get(self._around.kind, obj.metadata.key)
        except NotFoundError:
            return False
        return now.metadata.uid == obj.metadata.uid and now.metadata.deletion_timestamp is None

    async def _adopt(self, obj: CloneSet, pod: LocalPod) -> None:
        await self._writes.patch(pod, {"metadata": {"ownerReferences": [owner(obj)]}})

    async def _release(self, obj: CloneSet, pod: LocalPod) -> None:
        gone = {"$patch": "delete", "uid": obj.metadata.uid}
        await self._writes.patch(pod, {"metadata": {"ownerReferences": [gone]}})
