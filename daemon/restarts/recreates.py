"""Serves the ContainerRecreateRequests for pods of this node: one after another for each pod."""

from collections.abc import Sequence

import structlog
from msgspec.structs import replace

from daemon.debug.views import PodsView
from daemon.engine.lifecycle import Closable, Part
from daemon.engine.objects import NotFoundError
from daemon.engine.reconciling import Controller
from daemon.kube.informer import Informer
from daemon.kube.objects import KubeObjects
from daemon.kube.single_pods import read_pod
from daemon.localpods.surroundings import PodSurroundings
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key
from daemon.objects.recreate_ends import why_ended
from daemon.objects.recreates import ContainerRecreateRequest, Phase
from daemon.restarts.recreate_planner import plan
from daemon.restarts.recreate_plans import Look, Observed, Stop, Tell
from daemon.restarts.recreate_stops import Stops
from daemon.restarts.shown import requested
from daemon.restarts.stopping import Stopper

_WORKERS = 16
"""Pods whose requests' status is on its way at the same time; a stop occupies none."""
BY_POD = "pod"
INDEXES = {BY_POD: lambda request: (str(request.pod_key),)}
"""What the informer of the requests must be filed by."""

log = structlog.get_logger()


class Recreates:
    """The requests of one node, each pod a key of its own."""

    def __init__(self, around: PodSurroundings, stopper: Stopper) -> None:
        self._around = around
        self._requests: Informer[ContainerRecreateRequest] | None = None
        self.controller: Controller[Key] = Controller(
            "recreates", self.reconcile, around.metrics, workers=_WORKERS
        )
        self._stops = Stops(stopper, around.clock, self.controller.queue.add)

    @property
    def workers(self) -> Sequence[Part]:
        """What ends by itself when the queues are closed."""
        return (self.controller.run, self._stops.run)

    @property
    def queues(self) -> Sequence[Closable]:
        """What is closed to end the workers."""
        return (self.controller.queue, self._stops)

    def follow(self, requests: Informer[ContainerRecreateRequest]) -> None:
        """Serve *requests*, those of the node, filed by ``INDEXES`` and known by now. Called once."""
        self._requests = requests
        requests.on_change(self._on_request)
        self._around.pods.on_change(self._on_pod)
        self.wake()

    def wake(self) -> None:
        """Try again what failed: a runtime came or went."""
        self._stops.hurry()
        if self._requests is not None:
            for request in self._requests.list():
                if not request.completed:
                    self.controller.queue.add(request.pod_key)

    def view(self) -> PodsView:
        """The containers that wait to be stopped."""
        requests = self._requests.list() if self._requests is not None else ()
        return PodsView(restarts=tuple(requested(self._around.journal, requests)))

    def _of_pod(self, key: Key) -> Sequence[ContainerRecreateRequest]:
        return () if self._requests is None else self._requests.indexed(BY_POD, str(key))

    def _on_request(
        self, before: ContainerRecreateRequest | None, after: ContainerRecreateRequest | None
    ) -> None:
        request = after or before
        assert request is not None
        if after is None:
            for state in request.status.container_recreate_states:
                self._around.journal.withdraw(state.container_id)
        self.controller.queue.add(request.pod_key)

    def _on_pod(self, before: LocalPod | None, after: LocalPod | None) -> None:
        pod = after or before
        assert pod is not None
        if self._of_pod(pod.metadata.key):
            self.controller.queue.add(pod.metadata.key)

    async def reconcile(self, key: Key) -> float | None:
        """Do what is to be done for one pod; return the seconds after which to look again."""
        seen = Observed(
            requests=self._of_pod(key),
            pod=self._around.pods.get(key),
            stops=self._stops.known(),
            now=self._around.clock.now(),
        )
        self._stops.keep_only(key, {each.metadata.uid for each in seen.requests if not each.completed})
        actions = plan(seen)
        try:
            for tell in (each for each in actions if isinstance(each, Tell)):
                await self._tell(tell)
        except NotFoundError:  # removed meanwhile: what it asked for is not asked for any more
            return None
        await self._stop(key, [each for each in actions if isinstance(each, Stop)], seen)
        return next((each.seconds for each in actions if isinstance(each, Look)), None)

    async def _tell(self, tell: Tell) -> None:
        assert self._requests is not None
        wanted = replace(tell.request, status=tell.status)
        await KubeObjects(self._around.client, self._requests).replace_status(wanted)
        if wanted.completed:
            self._around.metrics.recreate_requests.labels(why_ended(wanted)).inc()
            self._end(wanted)
        pod = self._around.pods.get(wanted.pod_key)
        if tell.warning and pod is not None:
            self._around.journal.error(pod, why_ended(wanted), tell.warning)
        if tell.warning:
            self._around.recorder.record(
                self._requests.resource,
                wanted,
                why_ended(wanted),
                tell.warning,
                action="Recreate",
                type_="Warning",
            )

    def _end(self, request: ContainerRecreateRequest) -> None:
        """Have it seen what became of the containers, and of the request if that is a pity."""
        for state in request.status.container_recreate_states:
            if state.phase == Phase.FAILED:
                self._around.journal.end(state.container_id, state.message)

    async def _stop(self, key: Key, stops: Sequence[Stop], seen: Observed) -> None:
        """Count the stops as planned restarts, then begin them: a crash in between counts none twice."""
        if not stops:
            return
        pod = await read_pod(self._around.client, key)
        if pod is None or pod.metadata.uid != stops[0].request.pod_uid:
            return  # the centre ends the request
        if pod.spec.node_name != self._around.config.node_name:
            log.warning("request names a pod of another node", pod=str(key), node=pod.spec.node_name)
            return
        fresh = [each for each in stops if each.key not in seen.stops]
        if fresh:
            await self._around.reports.tell(
                pod, stopped={each.container: each.container_id for each in fresh}
            )
        for stop in stops:
            self._stops.begin(pod, stop)
