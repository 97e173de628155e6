"""One node's half joined to its NodeImage on the API server: the agent without its process around it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import aiohttp
import msgspec
import structlog

from daemon import __version__, names
from daemon.config import AgentConfig
from daemon.cri.runtimes import Runtimes
from daemon.engine.clock import Clock
from daemon.engine.lifecycle import Closable, Part
from daemon.kube.client import ApiClient
from daemon.kube.events import EventRecorder
from daemon.kube.informer import Informer
from daemon.kube.leases import Heartbeat
from daemon.kube.objects import KubeObjects
from daemon.kube.pod_reports import PodReports
from daemon.kube.resources import IMAGE_PULL_JOBS, SECRETS, Resource
from daemon.kube.selections import only
from daemon.localpods.journal import Journal
from daemon.localpods.pulls import NodePulls
from daemon.localpods.surroundings import PodSurroundings
from daemon.metrics import Metrics
from daemon.nodeimages.access import Access
from daemon.nodeimages.assembly import NodeHalf, Surroundings
from daemon.nodeimages.cluster_secrets import ClusterSecrets
from daemon.nodeimages.reports import Manner, pace_in_cluster
from daemon.nodeimages.telling import Saying, Telling
from daemon.objects.images import AgentStatus, ImagePullJob, ImagePullJobSpec, NodeImage, Secret
from daemon.objects.meta import Key, ObjectMeta
from daemon.objects.sealing import SealingKey
from daemon.pod_side import PodSide, pods_of

if TYPE_CHECKING:
    from daemon.nodeimages.plugins import CredentialPlugins

log = structlog.get_logger()

CONTROLLER = f"{names.PREFIX}agent"
"""Who reports the events."""
_MISSED = 2.5
"""Signs of life that may fail to come before the Lease lapses."""


class Cluster(msgspec.Struct, frozen=True):
    """The way to the API server, and how it serves the node's object."""

    client: ApiClient
    kind: Resource[NodeImage]
    metrics: Metrics
    clock: Clock
    session: aiohttp.ClientSession
    """For registries."""


class Local(msgspec.Struct, frozen=True):
    """What the node itself has."""

    runtimes: Runtimes
    key: SealingKey
    plugins: "CredentialPlugins | None"
    on_change: Callable[[], None]
    """Called when there is something new to see."""


class Member:
    """Follows the node's object, does what it says and tells what became of it."""

    def __init__(self, config: AgentConfig, cluster: Cluster, local: Local) -> None:
        name = config.node_name
        self._cluster = cluster
        self.informer: Informer[NodeImage] = Informer(
            cluster.client, cluster.kind, cluster.metrics, selection=only(name)
        )
        self._recorder = EventRecorder(
            cluster.client, cluster.metrics, cluster.clock, controller=CONTROLLER, instance=name
        )
        self._telling = Telling(self._record)
        self._heartbeat = Heartbeat(
            cluster.client,
            Key(config.namespace, names.lease_name(name)),
            name,
            interval=config.heartbeat_interval,
            duration=round(config.heartbeat_interval * _MISSED),
        )
        self._pulls = NodePulls()
        self._on_change = local.on_change
        self.node = self._node(config, local)
        self._pulls.follow(self.node.pulls)
        self.pods = PodSide(self._around_pods(config, local))
        self.started = False

    def _node(self, config: AgentConfig, local: Local) -> NodeHalf:
        cluster = self._cluster
        around = Surroundings(
            runtimes=local.runtimes,
            node_images=KubeObjects(cluster.client, self.informer),
            session=cluster.session,
            metrics=cluster.metrics,
            clock=cluster.clock,
            manner=Manner(
                pace=pace_in_cluster(config.status_interval),
                agent=AgentStatus(version=__version__, public_key=local.key.public),
                on_told=self._telling.on_told,
            ),
        )
        own = Key(f"{config.namespace}{names.NODE_SECRETS_SUFFIX}", config.node_name)
        secrets = ClusterSecrets(self._read_secret, own, local.key, cluster.clock)
        access = Access(secrets.find, docker_config=config.docker_config, plugins=local.plugins)
        return NodeHalf(config, around, access, self._changed)

    def _changed(self) -> None:
        """Something of the node's images may be another."""
        self._on_change()
        self._pulls.changed()

    def _around_pods(self, config: AgentConfig, local: Local) -> PodSurroundings:
        cluster = self._cluster
        pods = pods_of(config.node_name, cluster.client, cluster.metrics)
        return PodSurroundings(
            config=config,
            client=cluster.client,
            pods=pods,
            reports=PodReports(cluster.client, pods),
            recorder=self._recorder,
            runtimes=local.runtimes,
            metrics=cluster.metrics,
            clock=cluster.clock,
            pulls=self._pulls,
            journal=Journal(cluster.clock, local.on_change),
        )

    async def _read_secret(self, key: Key) -> Secret:
        return await self._cluster.client.get(SECRETS, key)

    def _record(self, stored: NodeImage, saying: Saying) -> None:
        about = saying.about
        if about is None:
            self._recorder.record(
                self._cluster.kind, stored, saying.reason, saying.note, action="Pull", type_=saying.type
            )
        elif about.kind == ImagePullJob.__name__:
            # Of the job no more is known, nor needed, than what names it.
            metadata = ObjectMeta(name=about.name, namespace=about.namespace, uid=about.uid)
            job = ImagePullJob(metadata=metadata, spec=ImagePullJobSpec(image=""))
            kind = IMAGE_PULL_JOBS.served_as(self._cluster.kind.version)
            self._recorder.record(kind, job, saying.reason, saying.note, action="Pull", type_=saying.type)

    async def begin(self) -> None:
        """Start to work as soon as what is wanted is known: before, every pin would seem to be too much."""
        await self.informer.synced()
        log.info("joined", version=self._cluster.kind.api_version)
        self.node.start()
        self.started = True

    def wake(self) -> None:
        """Look anew at what is to be done."""
        if self.started:
            self.node.images.wake()
        self.pods.wake()

    @property
    def feeders(self) -> Sequence[Part]:
        """What runs until it is cancelled."""
        return (
            self.informer.run,
            self._heartbeat.run,
            self._recorder.run,
            self._telling.run,
            self.node.live.run,
            self.begin,
            *self.pods.feeders,
        )

    @property
    def workers(self) -> Sequence[Part]:
        """What ends by itself when the queues are closed."""
        return (
            self.node.images.controller.run,
            self.node.reports.controller.run,
            self.node.attempts.run,
            *self.pods.workers,
        )

    @property
    def queues(self) -> Sequence[Closable]:
        """What is closed to end the workers."""
        return (
            self.node.images.controller.queue,
            self.node.reports.controller.queue,
            self.node.attempts,
            *self.pods.queues,
        )
