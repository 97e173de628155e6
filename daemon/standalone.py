"""Composition root of the embedded default: manifests, the controller and the node in one process."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial

import aiohttp
import structlog

from daemon import __version__, logs
from daemon.config import StandaloneConfig
from daemon.cri.containerd.extras import connect_extras
from daemon.cri.runtimes import Runtimes
from daemon.cri.sockets import Candidate, candidates
from daemon.debug.server import DebugServer
from daemon.debug.sockets import ListenError
from daemon.embedded import Asking, Overview, ensure_node
from daemon.engine.clock import SystemClock
from daemon.engine.lifecycle import Part, run_parts, stop_on_signals
from daemon.engine.reconciling import Controller
from daemon.engine.watchdog import Watchdog
from daemon.metrics import Metrics
from daemon.nodeimages.access import Access
from daemon.nodeimages.assembly import NodeHalf, Surroundings, plugins_of
from daemon.nodeimages.credentials import PluginError
from daemon.objects.images import ImageListPullJob, ImagePullJob, NodeImage, Secret, SecretReference
from daemon.objects.meta import Key
from daemon.pulljobs.list_reconciler import ImageLists
from daemon.pulljobs.reconciler import JobObjects, PullJobs
from daemon.settings import ConfigError, load
from daemon.store.directory import DirectoryStore
from daemon.store.files import StateDirectoryError

log = structlog.get_logger()
PROGRAM = "inplaced standalone"
_TROUBLE = (ConfigError, ListenError, PluginError, StateDirectoryError)


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM or SIGINT. Exit codes: 0 stopped, 1 cannot work, 2 wrong settings."""
    try:
        config = load(StandaloneConfig, PROGRAM, argv, os.environ)
        places = candidates(config.runtime, config.host_root)
    except (ConfigError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logs.configure(level=config.log_level, form=config.log_format, stream=sys.stderr)
    log.info("starting", version=__version__, node=config.node_name)
    try:
        asyncio.run(Standalone(config, places, os.environ).run())
    except _TROUBLE as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        return 1
    except Exception:
        log.exception("ended by a failure")  # not as a bare traceback: that could hold a secret
        return 1
    return 0


class Standalone:
    """Everything of one process, wired together from the bottom up and stopped in the reverse order."""

    def __init__(
        self, config: StandaloneConfig, places: Sequence[Candidate], environ: Mapping[str, str]
    ) -> None:
        self._config = config
        self._metrics = Metrics()
        self._environ = environ
        self._clock = SystemClock()
        self._watchdog = Watchdog(environ)
        self._store = DirectoryStore(config.manifests, config.state, self._clock)
        self._jobs = self._store.objects(ImagePullJob)
        self._node_images = self._store.objects(NodeImage)
        self._secrets = self._store.objects(Secret)
        objects = JobObjects(self._jobs, self._store.objects(ImageListPullJob), self._node_images)
        self._pull_jobs = PullJobs(
            objects, self._metrics, self._clock, default_ttl=config.default_ttl_seconds
        )
        self._lists = ImageLists(objects, self._metrics, self._clock)
        self._runtimes = Runtimes(
            places, connect_extras, on_change=self._on_runtime, observe=self._metrics.observe_call
        )
        self._node: NodeHalf | None = None
        self._overview: Overview | None = None

    def _on_runtime(self) -> None:
        if self._node is not None:
            self._node.images.wake()
            self._on_change()

    def _on_change(self, *_: object) -> None:
        if self._overview is not None:
            self._overview.changes.announce()

    async def _find_secret(self, reference: SecretReference) -> Secret | None:
        return self._secrets.get(Key(reference.namespace, reference.name))

    async def run(self) -> None:
        """Work until a signal. Raises ListenError, PluginError or StateDirectoryError."""
        stop = stop_on_signals()
        async with AsyncExitStack() as opened:
            await opened.enter_async_context(self._store)
            session = await opened.enter_async_context(
                # No cookies: requests share nothing.
                aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
            )
            await ensure_node(self._node_images, self._config.node_name, self._config.node_labels)
            node = self._node = self._equip(session)
            overview = self._overview = Overview(self._config, node, self._store, self._metrics, self._clock)
            server = DebugServer(
                overview,
                Asking(self._jobs, self._secrets),
                address=self._config.listen,
                socket_path=self._config.socket or None,
                allowed_uids=self._config.allowed_uids,
            )
            await opened.enter_async_context(server)
            self._watch()
            self._watchdog.ready(f"watching {self._config.manifests}")
            await self._work(node, stop)

    def _equip(self, session: aiohttp.ClientSession) -> NodeHalf:
        access = Access(
            self._find_secret,
            docker_config=self._config.docker_config,
            plugins=plugins_of(self._config, self._environ, self._clock),
        )
        around = Surroundings(
            runtimes=self._runtimes,
            node_images=self._node_images,
            session=session,
            metrics=self._metrics,
            clock=self._clock,
        )
        return NodeHalf(self._config, around, access, self._on_change)

    def _watch(self) -> None:
        assert self._node is not None
        self._node.start()
        self._pull_jobs.watch()
        self._lists.watch()
        for objects in (self._jobs, self._store.objects(ImageListPullJob)):
            objects.subscribe(self._on_change)
        self._store.on_problems(self._on_change)

    async def _work(self, node: NodeHalf, stop: asyncio.Event) -> None:
        controllers: list[Controller[Key] | Controller[str]] = [
            self._pull_jobs.controller,
            self._pull_jobs.specs.controller,
            self._lists.controller,
            node.images.controller,
            node.reports.controller,
        ]
        feeders: list[Part] = [
            self._runtimes.run,
            self._store.run,
            node.live.run,
            self._watchdog.run,
            partial(self._watchdog.announce_stop, stop),
        ]
        workers: list[Part] = [*(controller.run for controller in controllers), node.attempts.run]
        await run_parts(
            feeders=feeders,
            workers=workers,
            queues=[*(controller.queue for controller in controllers), node.attempts],
            stop=stop,
            grace=self._config.shutdown_grace,
        )
