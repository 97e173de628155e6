"""Composition root of the central controller: one of several candidates leads, all answer probes."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import structlog

from daemon import __version__, logs, names
from daemon.config import ControllerConfig
from daemon.debug.server import DebugServer
from daemon.debug.sockets import ListenError
from daemon.debug.sources import Check, PullAnswer, PullRequest, RefusedError, followed
from daemon.debug.views import NodeView
from daemon.engine.changes import Changes
from daemon.engine.lifecycle import stop_on_signals
from daemon.kube.access import Access, AccessError
from daemon.kube.client import ApiClient
from daemon.kube.election import Election
from daemon.kube.errors import ApiError
from daemon.kube.reaching import reached_by
from daemon.kube.resources import NODE_IMAGES
from daemon.leading import Leading
from daemon.metrics import Metrics
from daemon.objects.meta import Key
from daemon.pulljobs.views import job_views
from daemon.settings import ConfigError, load, shown

log = structlog.get_logger()
PROGRAM = "inplaced controller"
_FIRST_PAUSE, _LAST_PAUSE = 0.5, 10.0
"""Seconds between two looks for the kinds: at an API server that is away, or has none yet."""


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM or SIGINT. Exit codes: 0 stopped, 1 cannot work, 2 wrong settings."""
    try:
        config = load(ControllerConfig, PROGRAM, argv, os.environ)
    except (ConfigError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logs.configure(level=config.log_level, form=config.log_format, stream=sys.stderr)
    log.info("starting", version=__version__, identity=config.identity)
    try:
        asyncio.run(_until_signalled(CentralController(config, reached_by(config.kubeconfig, os.environ))))
    except (ListenError, AccessError) as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        return 1
    except Exception:
        log.exception("ended by a failure")  # not as a bare traceback: that could hold a secret
        return 1
    return 0


async def _until_signalled(candidate: "CentralController") -> None:
    await candidate.run(stop_on_signals())


class CentralController:
    """One candidate. Implements the debug server's ``Sources`` and ``Asks``."""

    def __init__(self, config: ControllerConfig, access: Access) -> None:
        self._config = config
        self._access = access
        self._metrics = Metrics()
        self._changes = Changes()
        self._client = ApiClient(
            access, self._metrics, user_agent=f"{names.PROGRAM}-controller/{__version__}"
        )
        self._clock = self._client.clock
        self._started_at = self._clock.now()
        self._election = Election(self._client, Key(config.namespace, names.ELECTION_LEASE), config.identity)
        self._leading: Leading | None = None
        self._hindrance = ""
        """Why the leader cannot begin; empty when it has, or has not tried."""

    async def run(self, stop: asyncio.Event) -> None:
        """Stand for election and lead until told to stop. Raises ListenError or AccessError."""
        async with AsyncExitStack() as opened:
            await self._access.server()  # without a way to the API server there is nothing to wait for
            await opened.enter_async_context(self._client)
            await opened.enter_async_context(
                DebugServer(self, self, address=self._config.listen, socket_path=None)
            )
            async with asyncio.TaskGroup() as group:
                standing = group.create_task(self._election.run(self._lead), name="standing")
                await stop.wait()
                log.info("stopping")
                standing.cancel()

    async def _lead(self) -> None:
        """Do the leader's work until cancelled."""
        version = await self._served()
        self._leading = Leading(self._config, self._client, version, self._metrics, self._clock)
        try:
            await self._leading.run()
        finally:
            self._leading = None

    async def _served(self) -> str:
        """The version in which our kinds are served, as soon as they are."""
        pause = _FIRST_PAUSE
        while True:
            try:
                version = (await self._client.served(NODE_IMAGES, names.KRUISE_VERSIONS)).version
            except (ApiError, AccessError) as error:
                self._hindrance = str(error)
                log.warning("cannot lead yet", error=str(error), retry_in=pause)
            else:
                self._hindrance = ""
                return version
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE)

    def view(self) -> NodeView:
        """All jobs, at the leader."""
        leading = self._leading
        jobs = leading.jobs.list() if leading is not None else ()
        lists = leading.lists.list() if leading is not None else ()
        return NodeView(
            node=self._config.identity,
            version=__version__,
            started_at=self._started_at,
            now=self._clock.now(),
            ready=all(check.ok for check in self.ready()),
            jobs=job_views(jobs, lists, lambda _kind, _key: ""),
        )

    def live(self) -> Sequence[Check]:
        """That this is answered shows that the loop turns; nothing else would be mended by a restart."""
        return (Check("loop", ok=True),)

    def ready(self) -> Sequence[Check]:
        """A leader must follow the cluster; one that stands by must see another, and be able to take over."""
        leading = self._leading
        if leading is None:
            return (self._standing_by(),)
        return (Check("leader", ok=True, message="leads"), followed("api", *leading.followed))

    def _standing_by(self) -> Check:
        if self._election.leading:
            return Check(
                "leader", ok=False, message=f"leads, but has not begun: {self._hindrance or 'starts'}"
            )
        leader, trouble = self._election.leader or "nobody", self._election.trouble
        message = f"stands by; {leader} leads{f'; {trouble}' if trouble else ''}"
        return Check("leader", ok=bool(self._election.leader) and not trouble, message=message)

    def flags(self) -> Mapping[str, Any]:
        """Every setting with its value."""
        return shown(self._config)

    def metrics(self) -> bytes:
        """The Prometheus text exposition."""
        self._metrics.leading.set(self._leading is not None)
        return self._metrics.exposition()

    async def changed(self, seen: int) -> int:
        """Wait until the view's number is above *seen*, and return it."""
        return await self._changes.after(seen)

    async def pull(self, request: PullRequest) -> PullAnswer:
        """Refuse. Raises RefusedError."""
        raise RefusedError(f"create ImagePullJobs for {' '.join(request.images)} instead")
