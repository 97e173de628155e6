"""What the agent says of a pod of its node: conditions and annotations of ours, in one write."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from daemon.kube.client import ApiClient
from daemon.kube.informer import Informer
from daemon.kube.patches import strategic_merge_patch
from daemon.objects.local_pods import LocalPod, LocalPodCondition
from daemon.objects.planned_restarts import counted


class PodReports:
    """Writes to ``pods/status``, bound to the pod's UID; what the kubelet says there is left alone.

    Of one pod, one write at a time: features that count restarts do not overwrite each other's counts.
    """

    def __init__(self, client: ApiClient, informer: Informer[LocalPod]) -> None:
        self._client = client
        self._informer = informer
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def tell(
        self,
        pod: LocalPod,
        conditions: Sequence[LocalPodCondition] = (),
        annotations: Mapping[str, str | None] | None = None,
        *,
        stopped: Mapping[str, str] | None = None,
    ) -> LocalPod:
        """Set *conditions* (by type) and *annotations* of exactly this pod; own writes are seen at once.

        Conditions are sent as they are: the caller keeps ``last_transition_time`` when the status stays. An
        annotation that is None is removed. Containers in *stopped* (ID by name, as the pod's status has it)
        are counted as planned restarts, each once however often it is told (``objects.planned_restarts``).
        Raises MissingError when the pod is gone, ChangedError or RefusedError when another has its name.
        """
        turn = self._turns.setdefault(pod.metadata.uid, asyncio.Lock())
        async with turn:
            document = _document(pod, conditions, {**(annotations or {}), **self._counts(pod, stopped or {})})
            told = await self._client.patch(
                self._informer.resource,
                pod.metadata.key,
                strategic_merge_patch(document),
                subresource="status",
            )
            self._informer.learn(told)
        return told

    def _counts(self, pod: LocalPod, stopped: Mapping[str, str]) -> Mapping[str, str | None]:
        """On what is known by now: another feature may have counted while this one waited for its turn."""
        known = self._informer.get(pod.metadata.key)
        same = known is not None and known.metadata.uid == pod.metadata.uid
        return counted(known if same and known is not None else pod, stopped)


def _document(
    pod: LocalPod, conditions: Sequence[LocalPodCondition], annotations: Mapping[str, str | None]
) -> Mapping[str, Any]:
    metadata: dict[str, Any] = {"uid": pod.metadata.uid}
    if annotations:
        metadata["annotations"] = annotations
    document: dict[str, Any] = {"metadata": metadata}
    if conditions:
        document["status"] = {"conditions": [msgspec.to_builtins(each) for each in conditions]}
    return document
