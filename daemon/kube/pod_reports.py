"""What the agent says of a pod of its node: conditions and annotations of ours, in one write."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from daemon.kube.client import ApiClient
from daemon.kube.informer import Informer
from daemon.kube.patches import strategic_merge_patch
from daemon.objects.local_pods import LocalPod, LocalPodCondition


class PodReports:
    """Writes to ``pods/status``, bound to the pod's UID; what the kubelet says there is left alone."""

    def __init__(self, client: ApiClient, informer: Informer[LocalPod]) -> None:
        self._client = client
        self._informer = informer

    async def tell(
        self,
        pod: LocalPod,
        conditions: Sequence[LocalPodCondition] = (),
        annotations: Mapping[str, str] | None = None,
    ) -> LocalPod:
        """Set *conditions* (by type) and *annotations* of exactly this pod; own writes are seen at once.

        Conditions are sent as they are: the caller keeps ``last_transition_time`` when the status stays.
        Raises MissingError when the pod is gone, ChangedError or RefusedError when another has its name.
        """
        metadata: dict[str, Any] = {"uid": pod.metadata.uid}
        if annotations:
            metadata["annotations"] = annotations
        document: dict[str, Any] = {"metadata": metadata}
        if conditions:
            document["status"] = {"conditions": [msgspec.to_builtins(each) for each in conditions]}
        told = await self._client.patch(
            self._informer.resource, pod.metadata.key, strategic_merge_patch(document), subresource="status"
        )
        self._informer.learn(told)
        return told
