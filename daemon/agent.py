"""Composition root of the node agent: one node's NodeImage from the API server, its images in the runtime."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import aiohttp
import structlog

from daemon import __version__, logs, names
from daemon.clustered import ClusteredOverview, TellsTheCluster
from daemon.config import AgentConfig
from daemon.cri.containerd.extras import connect_extras
from daemon.cri.runtimes import Runtimes
from daemon.cri.sockets import Candidate, candidates
from daemon.debug.server import DebugServer
from daemon.debug.sockets import ListenError
from daemon.debug.sources import Following
from daemon.engine.lifecycle import run_parts, stop_on_signals
from daemon.engine.watchdog import Watchdog
from daemon.kube.access import Access, AccessError, InCluster
from daemon.kube.client import ApiClient
from daemon.kube.errors import ApiError
from daemon.kube.resources import NODE_IMAGES, Resource
from daemon.member import Cluster, Local, Member
from daemon.metrics import Metrics
from daemon.nodeimages.agent_key import KeyFileError, load_key
from daemon.nodeimages.assembly import plugins_of
from daemon.nodeimages.credentials import PluginError
from daemon.objects.images import NodeImage
from daemon.settings import ConfigError, load

log = structlog.get_logger()
PROGRAM = "inplaced agent"
_TROUBLE = (ConfigError, ListenError, PluginError, KeyFileError, AccessError)
_FIRST_PAUSE, _LAST_PAUSE = 0.5, 10.0
"""Seconds between two looks for the kind: at an API server that is away, or has no such kind yet."""


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM or SIGINT. Exit codes: 0 stopped, 1 cannot work, 2 wrong settings."""
    try:
        config = load(AgentConfig, PROGRAM, argv, _with_node_name(os.environ))
        places = candidates(config.runtime, config.host_root)
    except (ConfigError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logs.configure(level=config.log_level, form=config.log_format, stream=sys.stderr)
    log.info("starting", version=__version__, node=config.node_name)
    try:
        agent = Agent(config, places, _access(config.kubeconfig, os.environ), os.environ)
        asyncio.run(agent.run())
    except _TROUBLE as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        return 1
    except Exception:
        log.exception("ended by a failure")  # not as a bare traceback: that could hold a secret
        return 1
    return 0


def _with_node_name(environ: Mapping[str, str]) -> Mapping[str, str]:
    """NODE_NAME is what DaemonSets of many makes call it."""
    given = environ.get("NODE_NAME")
    return {"INPLACED_NODE_NAME": given, **environ} if given else environ


def _access(kubeconfig: Path | None, environ: Mapping[str, str]) -> Access:
    if kubeconfig is None:
        return InCluster(environ)
    from daemon.kube.kubeconfig import Kubeconfig

    return Kubeconfig(kubeconfig)


class Agent:
    """Everything of one process, wired together from the bottom up and stopped in the reverse order."""

    def __init__(
        self,
        config: AgentConfig,
        places: Sequence[Candidate],
        access: Access,
        environ: Mapping[str, str],
    ) -> None:
        self._config = config
        self._access = access
        self._environ = environ
        self._metrics = Metrics()
        self._watchdog = Watchdog(environ)
        self._client = ApiClient(access, self._metrics, user_agent=f"{names.PROGRAM}-agent/{__version__}")
        self._clock = self._client.clock
        self._overview = ClusteredOverview(config, self._metrics, self._clock)
        self._runtimes = Runtimes(
            places, connect_extras, on_change=self._on_runtime, observe=self._metrics.observe_call
        )
        self._member: Member | None = None

    def _on_runtime(self) -> None:
        if self._member is not None:
            self._member.wake()
        self._overview.changes.announce()

    async def run(self) -> None:
        """Work until a signal. Raises ListenError, PluginError, KeyFileError or AccessError."""
        stop = stop_on_signals()
        async with AsyncExitStack() as opened:
            await self._access.server()  # without a way to the API server there is nothing to wait for
            plugins = plugins_of(self._config, self._environ, self._clock)
            key = await asyncio.to_thread(load_key, self._config.state)
            await opened.enter_async_context(self._client)
            session = await opened.enter_async_context(
                # No cookies: requests share nothing.
                aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
            )
            await opened.enter_async_context(self._server())
            self._watchdog.ready(f"working for {self._config.node_name}")
            async with asyncio.TaskGroup() as group:
                beside = [
                    group.create_task(self._watchdog.run(), name="watchdog"),
                    group.create_task(self._watchdog.announce_stop(stop), name="announce-stop"),
                ]
                kind = await self._find_kind(stop)
                if kind is not None:
                    local = Local(self._runtimes, key, plugins, self._overview.changes.announce)
                    await self._work(self._join(kind, session, local), stop)
                for task in beside:
                    task.cancel()

    def _server(self) -> DebugServer:
        return DebugServer(
            self._overview,
            TellsTheCluster(),
            address=self._config.listen,
            socket_path=self._config.socket or None,
            allowed_uids=self._config.allowed_uids,
        )

    async def _find_kind(self, stop: asyncio.Event) -> Resource[NodeImage] | None:
        """How the API server serves NodeImages, as soon as it does; None when told to stop before."""
        async with asyncio.TaskGroup() as group:
            finding = group.create_task(self._insist_on_kind(), name="find-kind")
            stopping = group.create_task(stop.wait(), name="stop")
            await asyncio.wait({finding, stopping}, return_when=asyncio.FIRST_COMPLETED)
            finding.cancel()
            stopping.cancel()
        with suppress(asyncio.CancelledError):
            return finding.result()
        return None

    async def _insist_on_kind(self) -> Resource[NodeImage]:
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._client.served(NODE_IMAGES, names.KRUISE_VERSIONS)
            except (ApiError, AccessError) as error:
                self._overview.api_problem = str(error)
                log.warning("cannot join yet", error=str(error), retry_in=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE)

    def _join(self, kind: Resource[NodeImage], session: aiohttp.ClientSession, local: Local) -> Member:
        cluster = Cluster(self._client, kind, self._metrics, self._clock, session)
        member = self._member = Member(self._config, cluster, local)
        following: Mapping[str, Following] = {"api": member.informer, "pods": member.pods.pods}
        self._overview.attach(member.node, following, member.pods)
        return member

    async def _work(self, member: Member, stop: asyncio.Event) -> None:
        await run_parts(
            feeders=[self._runtimes.run, *member.feeders],
            workers=member.workers,
            queues=member.queues,
            stop=stop,
            grace=self._config.shutdown_grace,
        )
