"""Takes pods out of traffic and back, by their readiness gate ``KruisePodReady``."""

from collections.abc import Callable
from typing import Final

import msgspec

from daemon.engine.clock import Clock
from daemon.kube.client import ApiClient
from daemon.kube.errors import ChangedError, MissingError
from daemon.kube.patches import strategic_merge_patch
from daemon.kube.resources import WHOLE_PODS
from daemon.kube.single_pods import read_pod
from daemon.objects.local_pods import LocalPod, LocalPodCondition
from daemon.objects.meta import Key
from daemon.objects.pod_readiness import Blocker, blocked_by, blockers, has_gate, unready

_TRIES: Final = 5
"""How often a pod is read anew because the kubelet wrote its status meanwhile."""


class PodReadiness:
    """Writes the condition on fresh pods; a pod without the gate, or of another UID, is left alone."""

    def __init__(self, client: ApiClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    async def block(self, key: Key, uid: str, blocker: Blocker) -> None:
        """Have *blocker* keep the pod out of traffic. Raises ApiError."""
        await self._change(key, uid, lambda now: now | {blocker})

    async def unblock(self, key: Key, uid: str, blocker: Blocker) -> None:
        """Have *blocker* keep it out no longer. Raises ApiError."""
        await self._change(key, uid, lambda now: now - {blocker})

    async def begin(self, key: Key, uid: str) -> None:
        """Have the condition say who keeps the pod out, if it says nothing yet. Raises ApiError."""
        await self._change(key, uid, lambda now: now)

    async def _change(
        self, key: Key, uid: str, wanted: Callable[[frozenset[Blocker]], frozenset[Blocker]]
    ) -> None:
        for left in reversed(range(_TRIES)):
            pod = await read_pod(self._client, key)
            if pod is None or pod.metadata.uid != uid or not has_gate(pod):
                return
            condition = blocked_by(pod, wanted(blockers(pod)), self._clock.now())
            try:
                if condition is not None:
                    await self._write(pod, condition)
            except MissingError:
                return
            except ChangedError:  # the kubelet writes there all the time
                if not left:
                    raise
            else:
                return

    async def _write(self, pod: LocalPod, condition: LocalPodCondition) -> None:
        """Write it as long as the pod is the one that was read: others write to the same list.

        With it goes that the pod is not ready, so that traffic ends before the kubelet has seen why.
        """
        ready = unready(pod, condition.type, self._clock.now()) if condition.status == "False" else None
        conditions = [each for each in (condition, ready) if each is not None]
        document = {
            "metadata": {"uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version},
            "status": {"conditions": [msgspec.to_builtins(each) for each in conditions]},
        }
        patch = strategic_merge_patch(document)
        await self._client.patch(WHOLE_PODS, pod.metadata.key, patch, subresource="status")
