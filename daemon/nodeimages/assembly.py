"""Puts the node's half together from its settings. Used by every process that talks to a runtime."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import aiohttp
import msgspec

from daemon.config import Config
from daemon.cri.runtimes import Runtimes
from daemon.debug.views import DiskView, PullView, RuntimeView
from daemon.engine.clock import Clock
from daemon.engine.objects import Objects
from daemon.metrics import Metrics
from daemon.nodeimages.access import Access
from daemon.nodeimages.attempts import Attempts, Tools
from daemon.nodeimages.hosts import HostsConfig
from daemon.nodeimages.live import Live
from daemon.nodeimages.measuring import ImageDisk, Measuring
from daemon.nodeimages.pins import Pins
from daemon.nodeimages.reconciler import Limits, Node, NodeImages
from daemon.nodeimages.records import Backoff
from daemon.nodeimages.registry import RegistryClient
from daemon.nodeimages.reports import Manner, Pace, Reports
from daemon.nodeimages.views import Known, pull_views
from daemon.objects.images import NodeImage

if TYPE_CHECKING:
    from daemon.nodeimages.plugins import CredentialPlugins

_MIB = 2**20
_GATHER = 0.1
"""Seconds in which ends of pulls are told together, while others go on."""


class Surroundings(msgspec.Struct, frozen=True):
    """What the node's half gets from the process around it."""

    runtimes: Runtimes
    node_images: Objects[NodeImage]
    session: aiohttp.ClientSession
    metrics: Metrics
    clock: Clock
    manner: Manner | None = None
    """How the node reports, where that is not told by the settings alone."""


def plugins_of(config: Config, environ: Mapping[str, str], clock: Clock) -> "CredentialPlugins | None":
    """The kubelet's credential provider plugins, if they are configured. Raises PluginError."""
    if config.credential_provider_config is None or config.credential_provider_bin_dir is None:
        return None
    from daemon.nodeimages.plugins import load_plugins  # only a node that has plugins pays for them

    return load_plugins(config.credential_provider_config, config.credential_provider_bin_dir, environ, clock)


def measuring_of(config: Config, access: Access, session: aiohttp.ClientSession) -> Measuring:
    """The looks before a pull."""
    sizes = (
        RegistryClient(session, HostsConfig((config.registry_hosts_dir,), config.host_root))
        if config.measure_images
        else None
    )
    return Measuring(
        access,
        sizes,
        timeout=config.registry_timeout,
        factor=config.unpack_factor,
        floor=config.disk_floor_mib * _MIB,
    )


class NodeHalf:
    """The node's reconciler with everything it works with, and what can be seen of it."""

    def __init__(
        self, config: Config, around: Surroundings, access: Access, on_change: Callable[[], None]
    ) -> None:
        self.images = NodeImages(config.node_name, around.metrics)
        self.live = Live(around.clock, interval=config.progress_interval, on_change=on_change)
        self.pins = Pins(around.metrics, self.images.wake)
        manner = around.manner or Manner(pace=Pace(interval=config.status_interval, gather=_GATHER))
        self.reports = Reports(around.node_images, around.metrics, around.clock, manner)
        tools = Tools(
            access=access,
            measuring=measuring_of(config, access, around.session),
            live=self.live,
            metrics=around.metrics,
            clock=around.clock,
            backoff=Backoff(config.pull_backoff, config.pull_backoff_max, config.space_retry),
        )
        self.attempts = Attempts(
            tools,
            on_change=self.images.wake,
            on_runtime_down=around.runtimes.suspect,
            on_pulled=self.pins.renew,
            workers=config.pull_workers,
        )
        self._config = config
        self._around = around
        self._on_change = on_change

    def start(self) -> None:
        """Begin to follow the node's object. Call when the store is filled."""
        limits = Limits(
            workers=self._config.pull_workers,
            reserve_percent=self._config.disk_reserve_percent,
            space_retry=self._config.space_retry,
            status_interval=self._config.status_interval,
        )
        node = Node(
            node_images=self._around.node_images,
            runtimes=self._around.runtimes,
            attempts=self.attempts,
            pins=self.pins,
            reports=self.reports,
            disk=ImageDisk(self._config.host_root),
            metrics=self._around.metrics,
            clock=self._around.clock,
            limits=limits,
        )
        self.images.equip(node, self._on_change)

    def pulls(self) -> tuple[PullView, ...]:
        """A row for each wanted image."""
        return pull_views(
            Known(
                wanted=self.images.wanted,
                report=self.images.report,
                records=self.attempts.records,
                running=self.live.running,
                held=self.images.held,
                pinned=self.pins.pinned or (),
                last=self.attempts.ended,
            )
        )

    def disk(self) -> DiskView | None:
        """The image file system, as of the last plan."""
        state = self.images.disk
        if state is None:
            return None
        return DiskView(
            mountpoint=state.mountpoint,
            capacity=state.capacity,
            free=state.free,
            reserve=state.reserve,
            available=state.available,
        )

    @property
    def runtime_problem(self) -> str:
        """Why nothing can be pulled now; empty when it can."""
        return self._around.runtimes.problem or self.images.problem

    def runtimes(self) -> tuple[RuntimeView, ...]:
        """A row for each runtime."""
        return tuple(
            RuntimeView(
                socket=runtime.socket,
                ready=runtime.ready,
                name=runtime.name,
                version=runtime.version.runtime_version,
                message=runtime.problem,
                progress=runtime.extras.capabilities.progress,
                pins=runtime.extras.capabilities.pins,
            )
            for runtime in self._around.runtimes.all
        )
