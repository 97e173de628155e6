"""What the leader does, from taking over to losing the lead: all that it knows is read anew each time."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import structlog

from daemon import names
from daemon.config import ControllerConfig
from daemon.engine.clock import Clock
from daemon.engine.reconciling import Controller
from daemon.kube.client import ApiClient
from daemon.kube.events import EventRecorder
from daemon.kube.informer import Informer
from daemon.kube.leases import Pulses
from daemon.kube.objects import KubeObjects
from daemon.kube.resources import (
    IMAGE_LIST_PULL_JOBS,
    IMAGE_PULL_JOBS,
    LEASES,
    NODE_IMAGES,
    NODES,
    PODS,
    SECRETS,
)
from daemon.kube.selections import Selection
from daemon.metrics import Metrics
from daemon.objects.images import ImageListPullJob, ImagePullJob, Secret
from daemon.objects.leases import Lease
from daemon.objects.meta import Key
from daemon.objects.pods import Pod
from daemon.pulljobs.list_reconciler import ImageLists
from daemon.pulljobs.nodes import NodeKeeper
from daemon.pulljobs.places import places_of
from daemon.pulljobs.reconciler import JobObjects, PullJobs
from daemon.pulljobs.sealing import Sealer
from daemon.pulljobs.shares import Followed

_LOOK = 2.0
"""Seconds between two looks for silent agents."""

log = structlog.get_logger()


class Leading:
    """One term of leading. *version* is the one in which the API server serves our kinds."""

    def __init__(
        self, config: ControllerConfig, client: ApiClient, version: str, metrics: Metrics, clock: Clock
    ) -> None:
        self._config = config
        self._client = client
        self._clock = clock
        self._job_kind = IMAGE_PULL_JOBS.served_as(version)
        self._list_kind = IMAGE_LIST_PULL_JOBS.served_as(version)
        secrets_namespace = f"{config.namespace}{names.NODE_SECRETS_SUFFIX}"
        self.jobs = Informer(client, self._job_kind, metrics)
        self.lists = Informer(client, self._list_kind, metrics)
        self.node_images = Informer(client, NODE_IMAGES.served_as(version), metrics)
        self._nodes = Informer(client, NODES, metrics)
        self._pods = Informer(client, PODS, metrics)
        self._leases = Informer(client, LEASES, metrics, selection=Selection(namespace=config.namespace))
        self._sealed = Informer(client, SECRETS, metrics, selection=Selection(namespace=secrets_namespace))
        self._pulses = Pulses(self._leases, patience=config.silence)
        self._recorder = EventRecorder(
            client, metrics, clock, controller=f"{names.PREFIX}controller", instance=config.identity
        )
        images = KubeObjects(client, self.node_images)
        objects = JobObjects(KubeObjects(client, self.jobs), KubeObjects(client, self.lists), images)
        self._pull_jobs = PullJobs(
            objects,
            metrics,
            clock,
            default_ttl=config.default_ttl_seconds,
            announce=self._announce,
            places=self._places,
        )
        self._image_lists = ImageLists(objects, metrics, clock, announce=self._announce)
        self._keeper = NodeKeeper(KubeObjects(client, self._nodes), images, metrics)
        self._sealer = Sealer(
            images,
            KubeObjects(client, self._sealed),
            self._read_secret,
            metrics,
            clock,
            namespace=secrets_namespace,
        )
        self._silent: dict[str, datetime] = {}
        self._known_since: dict[str, float] = {}

    @property
    def informers(self) -> Sequence[Informer[Any]]:
        """Everything that is followed."""
        return (
            self.jobs,
            self.lists,
            self.node_images,
            self._nodes,
            self._pods,
            self._leases,
            self._sealed,
        )

    @property
    def behind(self) -> float:
        """Seconds for which changes may have been missed."""
        return max(informer.behind for informer in self.informers)

    async def run(self) -> None:
        """Lead until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self.informers:
                group.create_task(informer.run(), name=f"follow-{informer.resource.plural}")
            group.create_task(self._recorder.run(), name="events")
            for informer in self.informers:
                await informer.synced()
            log.info("knows all", jobs=len(self.jobs.list()), nodes=len(self.node_images.list()))
            await self._keeper.settle()
            self._watch()
            for controller in self._controllers():
                group.create_task(controller.run(), name=controller.name)
            group.create_task(self._pulses.run(), name="pulses")
            group.create_task(self._listen_on(), name="listen")

    def _watch(self) -> None:
        self._keeper.watch()
        self._pull_jobs.watch()
        self._image_lists.watch()
        self._sealer.watch()
        self._pods.on_change(self._on_pod)
        self._pulses.on_change(lambda _key, _alive: self._listen())

    def _controllers(self) -> Sequence[Controller[Key] | Controller[str]]:
        return (
            self._pull_jobs.controller,
            self._pull_jobs.specs.controller,
            self._image_lists.controller,
            self._keeper.controller,
            self._sealer.controller,
        )

    def _announce(
        self, job: ImagePullJob | ImageListPullJob, reason: str, note: str, *, warning: bool
    ) -> None:
        kind = self._job_kind if isinstance(job, ImagePullJob) else self._list_kind
        self._recorder.record(
            kind, job, reason, note, action="Pull", type_="Warning" if warning else "Normal"
        )

    def _places(self, job: ImagePullJob) -> Followed:
        return places_of(job, self._pods.list())

    def _on_pod(self, before: Pod | None, after: Pod | None) -> None:
        pod = after or before
        if pod is not None and (before is None or after is None or _place(before) != _place(after)):
            self._pull_jobs.look_at_followers(pod.metadata.namespace)

    async def _read_secret(self, key: Key) -> Secret:
        return await self._client.get(SECRETS, key)

    async def _listen_on(self) -> None:
        while True:
            self._listen()
            await asyncio.sleep(_LOOK)

    def _listen(self) -> None:
        """Find the nodes whose agents are silent; one that never spoke has as long to."""
        now = asyncio.get_running_loop().time()
        silent: dict[str, datetime] = {}
        known: dict[str, float] = {}
        for image in self.node_images.list():
            name = image.metadata.name
            if self._pulses.alive(Key(self._config.namespace, names.lease_name(name))):
                continue
            known[name] = self._known_since.get(name, now)
            if self._is_silent(name, now - known[name]):
                silent[name] = self._silent.get(name, self._clock.now())
        self._known_since = known
        if silent != self._silent:
            self._silent = silent
            log.info("silent agents", nodes=sorted(silent))
            self._pull_jobs.hear(silent)

    def _is_silent(self, name: str, seconds: float) -> bool:
        lease: Lease | None = self._leases.get(Key(self._config.namespace, names.lease_name(name)))
        return lease is not None or seconds >= self._config.silence


def _place(pod: Pod) -> tuple[object, ...]:
    return pod.spec.node_name, pod.status.phase, pod.metadata.labels, pod.metadata.deletion_timestamp
