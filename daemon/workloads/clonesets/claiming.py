"""Which pods and revisions belong to a CloneSet: those that it selects and nobody else controls.

Pods that it does not select any more are let go.
"""

from typing import Any

from daemon import names
from daemon.engine.objects import NotFoundError
from daemon.kube.errors import ApiError
from daemon.kube.patches import strategic_merge_patch
from daemon.localpods.indexes import ORPHANS
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import selects
from daemon.objects.revisions import ControllerRevision
from daemon.objects.workloads import CloneSet
from daemon.workloads.clonesets.history import is_named_for
from daemon.workloads.clonesets.making import owner
from daemon.workloads.clonesets.pod_writes import PodWrites, each_of
from daemon.workloads.clonesets.surroundings import UNCONTROLLED, SetSurroundings, instance


def controllers_of(obj: Any) -> tuple[str, ...]:
    """Under what the index BY_CONTROLLER files an object: the UID of its controller."""
    found = obj.metadata.controller
    return (found.uid,) if found is not None else ()


def uncontrolled(obj: Any) -> tuple[str, ...]:
    """Under what the index UNCONTROLLED files an object: its namespace, if nobody controls it."""
    return (obj.metadata.namespace,) if obj.metadata.controller is None else ()


def instances_of(claim: Any) -> tuple[str, ...]:
    """Under what the index BY_INSTANCE files a claim: the pod of a set that it belongs to."""
    id_ = claim.metadata.labels.get(names.INSTANCE_ID_LABEL, "")
    return tuple(instance(uid, id_) for uid in controllers_of(claim) if id_)


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
        revisions = [
            revision
            for revision in self._around.revisions.indexed(UNCONTROLLED, obj.metadata.namespace)
            if is_named_for(revision, obj) and selects(selector, revision.metadata.labels)
        ]
        if (orphans or revisions) and await self._is_there(obj):
            # Pods of a revision that is not known would have to be replaced.
            error = await each_of(lambda revision: self._adopt_revision(obj, revision), revisions) or error
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

    async def _adopt_revision(self, obj: CloneSet, revision: ControllerRevision) -> None:
        metadata, informer = revision.metadata, self._around.revisions
        patch = strategic_merge_patch({"metadata": {"uid": metadata.uid, "ownerReferences": [owner(obj)]}})
        informer.learn(await self._around.client.patch(informer.resource, metadata.key, patch))

    async def _release(self, obj: CloneSet, pod: LocalPod) -> None:
        gone = {"$patch": "delete", "uid": obj.metadata.uid}
        await self._writes.patch(pod, {"metadata": {"ownerReferences": [gone]}})
