"""Looks after ContainerRecreateRequests from the centre: fills in what is meant, and ends what has no end."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from msgspec.structs import replace

from daemon.engine.clock import Clock
from daemon.engine.objects import NotFoundError
from daemon.engine.reconciling import Controller
from daemon.kube.client import ApiClient
from daemon.kube.events import EventRecorder
from daemon.kube.informer import Informer
from daemon.kube.objects import KubeObjects
from daemon.kube.pod_readiness import PodReadiness
from daemon.kube.single_pods import read_pod
from daemon.metrics import Metrics
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key
from daemon.objects.pod_readiness import Blocker
from daemon.objects.recreate_ends import why_ended
from daemon.objects.recreates import ContainerRecreateRequest
from daemon.recreaterequests.planner import (
    Block,
    Look,
    Mark,
    Observed,
    Remove,
    Tell,
    Unblock,
    plan,
)

USER_AGENT = "ContainerRecreateRequest"
"""Who keeps a pod out of traffic, as OpenKruise's manager calls itself there."""
_WORKERS = 16
BY_POD = "pod"
_BY_NODE = "node"
INDEXES = {
    BY_POD: lambda request: (str(request.pod_key),),
    _BY_NODE: lambda request: (request.status.node_name,) if request.status.node_name else (),
}
"""What the informer of the requests must be filed by."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What requests are looked after with."""

    client: ApiClient
    requests: Informer[ContainerRecreateRequest]
    """Filed by ``INDEXES``."""
    pods: Informer[LocalPod]
    """All of the cluster; their identity is enough."""
    recorder: EventRecorder
    metrics: Metrics
    clock: Clock
    alone: bool = False
    """Whether OpenKruise's manager is gone, so that nobody else looks after its requests."""


class RecreateRequests:
    """The requests of the cluster, each a key of its own."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._objects = KubeObjects(around.client, around.requests)
        self._readiness = PodReadiness(around.client, around.clock)
        self._silent: Mapping[str, datetime] = {}
        self.controller: Controller[Key] = Controller(
            "recreaterequests", self.reconcile, around.metrics, workers=_WORKERS
        )

    def watch(self) -> None:
        """Follow requests and their pods."""
        self._around.requests.on_change(self._on_request)
        self._around.pods.on_change(self._on_pod)
        self._add(self._around.requests.list())

    def hear(self, silent: Mapping[str, datetime]) -> None:
        """Learn which nodes' agents give no sign of life, and since when."""
        self._silent = silent
        for node in silent:
            self._add(self._around.requests.indexed(_BY_NODE, node))

    def _on_request(
        self, before: ContainerRecreateRequest | None, after: ContainerRecreateRequest | None
    ) -> None:
        if after is not None:
            self.controller.queue.add(after.metadata.key)
        elif before is not None:
            self.controller.queue.add(before.metadata.key)
        if before is not None and (after is None or after.completed) and not before.completed:
            self._add(self._of_pod(before))  # the next one's turn

    def _on_pod(self, before: LocalPod | None, after: LocalPod | None) -> None:
        if before is not None and (after is None or after.metadata.uid != before.metadata.uid):
            self._add(self._around.requests.indexed(BY_POD, str(before.metadata.key)))

    def _add(self, requests: Iterable[ContainerRecreateRequest]) -> None:
        for request in requests:
            self.controller.queue.add(request.metadata.key)

    def _of_pod(self, request: ContainerRecreateRequest) -> Iterable[ContainerRecreateRequest]:
        return self._around.requests.indexed(BY_POD, str(request.pod_key))

    async def reconcile(self, key: Key) -> float | None:
        """Do what is to be done for one request; return the seconds after which to look again."""
        request = self._objects.get(key)
        if request is None:
            return None
        for action in plan(await self._observe(request)):
            if isinstance(action, Look):
                return action.seconds
            try:
                request = await self._apply(request, action)
            except NotFoundError:  # removed meanwhile
                return None
        return None

    async def _observe(self, request: ContainerRecreateRequest) -> Observed:
        older = (each for each in self._of_pod(request) if not each.completed and each.order < request.order)
        return Observed(
            request=request,
            pod=await self._pod(request),
            first=not any(older),
            silent_since=self._silent.get(request.status.node_name),
            now=self._around.clock.now(),
            alone=self._around.alone,
        )

    async def _pod(self, request: ContainerRecreateRequest) -> LocalPod | None:
        """The pod: all of it for a new request, and also when it seems to be gone, before that is said."""
        if request.completed or (request.foreign and not self._around.alone):
            return None
        known = self._around.pods.get(request.pod_key)
        if request.status.pod_uid and known is not None and known.metadata.uid == request.status.pod_uid:
            return known
        return await read_pod(self._around.client, request.pod_key)

    async def _apply(
        self, request: ContainerRecreateRequest, action: Mark | Tell | Block | Unblock | Remove
    ) -> ContainerRecreateRequest:
        """Do it to the request in the version that was decided on; return what became of it."""
        match action:
            case Mark(metadata):
                return await self._objects.replace(replace(request, metadata=metadata))
            case Tell(status, warning):
                told = await self._objects.replace_status(replace(request, status=status))
                if told.completed:
                    self._around.metrics.recreate_requests.labels(why_ended(told)).inc()
                if warning:
                    self._warn(told, warning)
                return told
            case Block(uid):
                await self._readiness.block(request.pod_key, uid, _blocker(request))
            case Unblock(uid):
                await self._readiness.unblock(request.pod_key, uid, _blocker(request))
            case Remove():
                await self._objects.delete(request)
            case _:
                assert_never(action)
        return request

    def _warn(self, request: ContainerRecreateRequest, note: str) -> None:
        kind, reason = self._around.requests.resource, why_ended(request)
        self._around.recorder.record(kind, request, reason, note, action="Recreate", type_="Warning")


def _blocker(request: ContainerRecreateRequest) -> Blocker:
    return Blocker(USER_AGENT, str(request.metadata.key))
