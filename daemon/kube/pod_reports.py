"""What the agent says of a pod of its node: conditions and annotations of ours, in one write."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from daemon import names
from daemon.kube.client import ApiClient
from daemon.kube.errors import ChangedError
from daemon.kube.informer import Informer
from daemon.kube.patches import strategic_merge_patch
from daemon.objects.local_pods import LocalPod, LocalPodCondition
from daemon.objects.planned_restarts import counted, updated

_TRIES = 5
"""So often a count is made anew as the pod has changed since."""


@dataclass(frozen=True, slots=True)
class _Report:
    """What is to be told of a pod, as that was looked at."""

    pod: LocalPod
    conditions: Sequence[LocalPodCondition]
    annotations: Mapping[str, str | None]
    stopped: Mapping[str, str]

    def on(self, known: LocalPod) -> Mapping[str, Any]:
        """The patch of the version *known*; of that alone when it is about counts: others write them, too."""
        counts = counted(known, self.stopped)
        marks = names.REPLACED_ANNOTATION in self.annotations
        annotations = {**self.annotations, **counts}
        if marks and updated(known) != updated(self.pod):  # of another update by now
            annotations.pop(names.REPLACED_ANNOTATION)
        metadata: dict[str, Any] = {"uid": self.pod.metadata.uid}
        if counts or marks:
            metadata["resourceVersion"] = known.metadata.resource_version
        if annotations:
            metadata["annotations"] = annotations
        document: dict[str, Any] = {"metadata": metadata}
        if self.conditions:
            document["status"] = {"conditions": [msgspec.to_builtins(each) for each in self.conditions]}
        return document


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
        are counted as planned restarts, each once however often it is told (``objects.planned_restarts``):
        on the very version that is stored, as the controller counts as well.
        Raises MissingError when the pod is gone, ChangedError or RefusedError when another has its name.
        """
        turn = self._turns.setdefault(pod.metadata.uid, asyncio.Lock())
        wanted = _Report(pod, conditions, annotations or {}, stopped or {})
        async with turn:
            return await self._tell(wanted, self._known(pod))

    async def _tell(self, wanted: _Report, known: LocalPod) -> LocalPod:
        for _ in range(_TRIES):
            try:
                return await self._write(wanted, known)
            except ChangedError:
                known = await self._client.get(self._informer.resource, known.metadata.key)
                self._informer.learn(known)
                if known.metadata.uid != wanted.pod.metadata.uid:
                    raise
        return await self._write(wanted, known)

    async def _write(self, wanted: _Report, known: LocalPod) -> LocalPod:
        key, patch = known.metadata.key, strategic_merge_patch(wanted.on(known))
        told = await self._client.patch(self._informer.resource, key, patch, subresource="status")
        self._informer.learn(told)
        return told

    def _known(self, pod: LocalPod) -> LocalPod:
        """What is known by now: another feature may have counted while this one waited for its turn."""
        known = self._informer.get(pod.metadata.key)
        return known if known is not None and known.metadata.uid == pod.metadata.uid else pod
