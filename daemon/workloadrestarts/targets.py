"""Finds the pods that a WorkloadRestart means: by its selector, or by the workload that controls them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from daemon.engine.together import together
from daemon.kube.client import ApiClient
from daemon.kube.errors import MissingError
from daemon.kube.resources import TARGETS
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key, LabelSelector, OwnerReference
from daemon.objects.parts import PodPart
from daemon.objects.workload_restarts import Target, WorkloadReference

_REPLICA_SET = ("apps/v1", "ReplicaSet")
_DEPLOYMENT = "Deployment"
_AT_ONCE = 8
"""ReplicaSets that are read at the same time."""


class NoTargetError(Exception):
    """There is no such workload; the message says which."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where the pods of a restart are."""

    part: PodPart
    target: Target | None = None
    """The workload that controls them; None where a selector alone says which they are."""

    @property
    def wanted(self) -> int:
        """How many pods there are to be; 0 where nobody says."""
        return self.target.wanted if self.target is not None else 0


class Targets:
    """Reads workloads as they are stored now."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._deployments: dict[str, str] = {}
        """By UID of a ReplicaSet, that of the Deployment which controls it: it never changes."""

    def forget(self) -> None:
        """Nothing is restarted now: what was learnt of workloads can be learnt again."""
        self._deployments.clear()

    async def find(
        self, namespace: str, reference: WorkloadReference | None, selector: LabelSelector | None
    ) -> Found:
        """Where the pods are that one of the two means. Raises NoTargetError, or ApiError's other kinds."""
        if reference is None:
            assert selector is not None, "the schema demands one of the two"
            return Found(PodPart(namespace, selector))
        resource = TARGETS.get((reference.api_version, reference.kind))
        if resource is None:
            raise NoTargetError(
                f"spec.workloadRef: {reference.api_version} has no {reference.kind} to restart"
            )
        try:
            target = await self._client.get(resource, Key(namespace, reference.name))
        except MissingError as error:
            raise NoTargetError(
                f"spec.workloadRef: there is no {reference} in namespace {namespace}"
            ) from error
        return Found(PodPart(namespace, target.spec.selector), target)

    async def owned(self, pods: Sequence[LocalPod], found: Found) -> list[LocalPod]:
        """Those of *pods* that the workload controls, by itself or by a ReplicaSet of its own."""
        target = found.target
        if target is None:
            return list(pods)
        if target.kind == _DEPLOYMENT:
            await self._learn(pods)
        uid = target.metadata.uid
        return [pod for pod in pods if self._is_of(uid, pod.metadata.controller)]

    def _is_of(self, uid: str, owner: OwnerReference | None) -> bool:
        return owner is not None and (owner.uid == uid or self._deployments.get(owner.uid) == uid)

    async def _learn(self, pods: Sequence[LocalPod]) -> None:
        """Learn which Deployments control the ReplicaSets that control *pods*."""
        unknown: dict[str, Key] = {}
        for pod in pods:
            owner = pod.metadata.controller
            if owner is not None and owner.kind == "ReplicaSet" and owner.uid not in self._deployments:
                unknown[owner.uid] = Key(pod.metadata.namespace, owner.name)
        limit = asyncio.Semaphore(_AT_ONCE)
        await together(self._read(uid, key, limit) for uid, key in unknown.items())

    async def _read(self, uid: str, key: Key, limit: asyncio.Semaphore) -> None:
        async with limit:
            try:
                found = await self._client.get(TARGETS[_REPLICA_SET], key)
            except MissingError:
                return
        owner = found.metadata.controller
        if found.metadata.uid == uid:
            self._deployments[uid] = owner.uid if owner is not None else ""
