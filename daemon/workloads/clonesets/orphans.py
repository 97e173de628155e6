"""Gives pods back to their traffic that sets let go while they changed: nobody else would end that.

A set lets a pod go when it selects it no longer, and all of its pods when it goes itself without them
(``kubectl delete --cascade=orphan``).
"""

from daemon.engine.objects import ConflictError, NotFoundError
from daemon.engine.reconciling import Controller
from daemon.inplace.abandoned import is_kept_out
from daemon.kube.pod_readiness import PodReadiness
from daemon.localpods.indexes import orphans_of
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key
from daemon.objects.pod_readiness import Blocker, blockers
from daemon.workloads.clonesets.lifecycle import UPDATE_KEY, USER_AGENT
from daemon.workloads.clonesets.surroundings import SetSurroundings, Updates

_AGAIN = 1.0
"""Seconds after which a pod is looked at anew that changed while it was written to."""
_HELD = Blocker(USER_AGENT, UPDATE_KEY)


class Orphans:
    """Follows the pods that a set made and nobody controls."""

    def __init__(self, around: SetSurroundings, updates: Updates) -> None:
        self.controller: Controller[Key] = Controller(
            "clonesetorphans", self.reconcile, around.metrics, workers=2
        )
        self._pods = around.pods
        self._updates = updates
        self._readiness = PodReadiness(around.client, around.clock)

    def watch(self) -> None:
        """Look at a pod when it changes, and at all at first."""
        self._pods.on_change(self._on_pod)
        for pod in self._pods.list():
            self._on_pod(None, pod)

    def _on_pod(self, _before: LocalPod | None, after: LocalPod | None) -> None:
        if after is not None and orphans_of(after) and (is_kept_out(after) or _HELD in blockers(after)):
            self.controller.queue.add(after.metadata.key)

    async def reconcile(self, key: Key) -> float | None:
        """Have nothing keep the pod from its traffic for the sake of a change that nobody ends."""
        pod = self._pods.get(key)
        if pod is None or not orphans_of(pod):
            return None
        try:
            if _HELD in blockers(pod):
                await self._readiness.unblock(key, pod.metadata.uid, _HELD)
            return await self._updates.leave(pod, "nobody controls this pod any more")
        except NotFoundError:
            return None
        except ConflictError:  # adopted, or its kubelet told of it: the watch says so, too
            return _AGAIN
