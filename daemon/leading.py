"""What the leader does, from taking over to losing the lead: all that it knows is read anew each time."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from daemon import names
from daemon.config import ControllerConfig
from daemon.engine.clock import Clock
from daemon.engine.reconciling import Controller
from daemon.inplace.announcing import Announcing
from daemon.inplace.updates import PodUpdates
from daemon.kube.client import ApiClient
from daemon.kube.events import EventRecorder
from daemon.kube.informer import Informer
from daemon.kube.leases import Pulses
from daemon.kube.objects import KubeObjects
from daemon.kube.pod_readiness import PodReadiness
from daemon.kube.pod_reports import PodReports
from daemon.kube.resources import (
    CLUSTER_NODE_IMAGES,
    CLUSTER_PODS,
    IMAGE_LIST_PULL_JOBS,
    IMAGE_PULL_JOBS,
    LEASES,
    NODES,
    PODS,
    RECREATE_REQUESTS,
    SECRETS,
)
from daemon.kube.selections import Selection
from daemon.launchorder.reconciler import LaunchOrder
from daemon.localpods.indexes import POD_INDEXES
from daemon.metrics import Metrics
from daemon.objects.images import ImageListPullJob, ImagePullJob, Secret
from daemon.objects.meta import Key
from daemon.objects.parts import PodPart
from daemon.objects.pods import Pod
from daemon.pulljobs.list_reconciler import ImageLists
from daemon.pulljobs.nodes import NodeKeeper, NodeObjects
from daemon.pulljobs.reconciler import JobObjects, PullJobs, Surroundings
from daemon.pulljobs.sealing import Sealer, SealObjects
from daemon.pulljobs.silence import Signs, Silence
from daemon.recreaterequests import reconciler as recreating
from daemon.recreaterequests.gates import PodGates
from daemon.restartgrants.reconciler import RestartGrants
from daemon.workloadrestarts.assembly import Surroundings as RestartSurroundings
from daemon.workloadrestarts.assembly import WorkloadRestartController
from daemon.workloads.clonesets.assembly import CloneSetController
from daemon.workloads.clonesets.assembly import Surroundings as CloneSetSurroundings
from daemon.workloads.clonesets.upcoming import Upcoming

log = structlog.get_logger()


class Leading:
    """One term of leading. *version* is the one in which the API server serves our kinds."""

    def __init__(
        self, config: ControllerConfig, client: ApiClient, version: str, metrics: Metrics, clock: Clock
    ) -> None:
        self._config = config
        self._client = client
        self._metrics = metrics
        self._recorder = EventRecorder(
            client, metrics, clock, controller=f"{names.PREFIX}controller", instance=config.identity
        )
        self._follow(version)
        self._look_after_images(clock)
        self._look_after_pods(version, clock)
        self._silence = Silence(self._signs(), clock, self._hear, patience=config.silence)

    def _follow(self, version: str) -> None:
        client, config, metrics = self._client, self._config, self._metrics
        self._job_kind = IMAGE_PULL_JOBS.served_as(version)
        self._list_kind = IMAGE_LIST_PULL_JOBS.served_as(version)
        self._secrets_namespace = f"{config.namespace}{names.NODE_SECRETS_SUFFIX}"
        self.jobs = Informer(client, self._job_kind, metrics)
        self.lists = Informer(client, self._list_kind, metrics)
        self.node_images = Informer(client, CLUSTER_NODE_IMAGES.served_as(version), metrics)
        self._nodes = Informer(client, NODES, metrics)
        self._leases = Informer(client, LEASES, metrics, selection=Selection(namespace=config.namespace))
        self.pods = Informer(client, CLUSTER_PODS, metrics, indexes=POD_INDEXES)
        self.recreates = Informer(
            client, RECREATE_REQUESTS.served_as(version), metrics, indexes=recreating.INDEXES
        )
        self._sealed = Informer(
            client, SECRETS, metrics, selection=Selection(namespace=self._secrets_namespace)
        )
        self._pulses = Pulses(self._leases, patience=config.silence)

    def _look_after_images(self, clock: Clock) -> None:
        client, config, metrics = self._client, self._config, self._metrics
        images = KubeObjects(client, self.node_images)
        objects = JobObjects(KubeObjects(client, self.jobs), KubeObjects(client, self.lists), images)
        self._sealer = Sealer(
            SealObjects(
                images,
                objects.jobs,
                KubeObjects(client, self._sealed),
                self._secrets_namespace,
                self._read_secret,
            ),
            metrics,
            clock,
            announce=self._announce,
        )
        self._pull_jobs = PullJobs(
            objects,
            metrics,
            clock,
            default_ttl=config.default_ttl_seconds,
            around=Surroundings(
                announce=self._announce, open_pods=self._follow_pods, prepare=self._sealer.prepare
            ),
        )
        self._image_lists = ImageLists(objects, metrics, clock, announce=self._announce)
        self._keeper = NodeKeeper(
            NodeObjects(
                KubeObjects(client, self._nodes), images, KubeObjects(client, self._leases), config.namespace
            ),
            metrics,
        )

    def _look_after_pods(self, version: str, clock: Clock) -> None:
        client, config, metrics = self._client, self._config, self._metrics
        self._launch_order = LaunchOrder(self.pods, PodReports(client, self.pods), metrics)
        self._restart_grants = RestartGrants(
            client,
            self.pods,
            metrics,
            clock,
            strategy=config.restart_strategy,
            debounce=config.restart_debounce,
        )
        self._clone_sets = self._sets(version, clock) if config.clone_sets else None
        around = (client, self.recreates, self.pods, self._recorder, metrics, clock)
        self._recreate_requests = recreating.RecreateRequests(
            recreating.Surroundings(*around, alone=config.clone_sets)
        )
        self._pod_gates = PodGates(self.pods, PodReadiness(client, clock), metrics)
        self._workload_restarts = WorkloadRestartController(
            RestartSurroundings(
                client=client,
                requests=self.recreates,
                of_pod=lambda key: self.recreates.indexed(recreating.BY_POD, str(key)),
                recorder=self._recorder,
                metrics=metrics,
                clock=clock,
            )
        )

    def _signs(self) -> Signs:
        return Signs(
            nodes=lambda: [image.metadata.name for image in self.node_images.list()],
            alive=lambda node: self._pulses.alive(self._lease(node)),
            begun=lambda node: self._leases.get(self._lease(node)) is not None,
            lapse=self._config.silence,
        )

    def _sets(self, version: str, clock: Clock) -> CloneSetController:
        updates = PodUpdates(
            self._client,
            self.pods,
            self._metrics,
            clock,
            record=partial(self._recorder.record, CLUSTER_PODS),
            agent_alive=self._lives,
        )
        announcing = Announcing(
            self._client,
            self.pods,
            KubeObjects(self._client, self.jobs),
            clock,
            node_image=lambda node: self.node_images.get(Key("", node)),
        )
        return CloneSetController(
            CloneSetSurroundings(
                client=self._client,
                version=version,
                pods=self.pods,
                updates=updates,
                upcoming=Upcoming(announcing, self._lives, self.node_images, clock),
                recorder=self._recorder,
                metrics=self._metrics,
                clock=clock,
            )
        )

    @property
    def informers(self) -> Sequence[Informer[Any]]:
        """Everything that must be followed for a leader to lead."""
        return (
            self.jobs,
            self.lists,
            self.node_images,
            self._nodes,
            self._leases,
            self._sealed,
            self.pods,
            self.recreates,
        )

    @property
    def followed(self) -> Sequence[Informer[Any]]:
        """What is to be up to date: kinds that need not be installed, from their first time on."""
        sets = self._clone_sets.informers if self._clone_sets is not None else ()
        once = (self._workload_restarts.restarts, *sets)
        return (*self.informers, *(each for each in once if each.followed_since))

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
            group.create_task(self._silence.run(), name="silence")
            if self._pull_jobs.pods is not None:
                group.create_task(self._pull_jobs.pods.watches.run(), name="pods")
            group.create_task(self._workload_restarts.run(), name="restarts")
            if self._clone_sets is not None:
                group.create_task(self._look_after(self._clone_sets), name="clone-sets")

    def _watch(self) -> None:
        self._keeper.watch()
        self._pull_jobs.watch()
        self._image_lists.watch()
        self._sealer.watch()
        self._launch_order.watch()
        self._recreate_requests.watch()
        self._pod_gates.watch()
        self._restart_grants.watch()

    def _controllers(self) -> Sequence[Controller[Key] | Controller[str]]:
        return (
            self._pull_jobs.controller,
            self._pull_jobs.specs.controller,
            self._image_lists.controller,
            self._keeper.controller,
            self._sealer.controller,
            self._sealer.sources.controller,
            self._launch_order.controller,
            self._recreate_requests.controller,
            self._pod_gates.controller,
            self._restart_grants.controller,
            self._workload_restarts.controller,
        )

    def _hear(self, silent: Mapping[str, datetime]) -> None:
        self._pull_jobs.hear(silent)
        self._recreate_requests.hear(silent)

    def _announce(
        self, job: ImagePullJob | ImageListPullJob, reason: str, note: str, *, warning: bool
    ) -> None:
        kind = self._job_kind if isinstance(job, ImagePullJob) else self._list_kind
        self._recorder.record(
            kind, job, reason, note, action="Pull", type_="Warning" if warning else "Normal"
        )

    def _follow_pods(self, part: PodPart) -> Informer[Pod]:
        selection = Selection(namespace=part.namespace, labels=part.labels)
        return Informer(self._client, PODS, self._metrics, selection=selection)

    async def _look_after(self, sets: CloneSetController) -> None:
        """Look after CloneSets: apart from all the rest, as their kind may be missing."""
        async with asyncio.TaskGroup() as group:
            for informer in sets.informers:
                group.create_task(informer.run(), name=f"follow-{informer.resource.plural}")
            for informer in sets.informers:
                await informer.synced()
            sets.watch()
            for controller in sets.controllers:
                group.create_task(controller.run(), name=controller.name)

    def _lives(self, node: str) -> bool:
        """Whether the node's agent gives signs of life."""
        return self._pulses.alive(self._lease(node))

    def _lease(self, node: str) -> Key:
        return Key(self._config.namespace, names.lease_name(node))

    async def _read_secret(self, key: Key) -> Secret:
        return await self._client.get(SECRETS, key)
