"""``inplaced pull --direct``: pulls without an agent, by the node's own half in this process.

The same plans, retries, credentials and disk guard as the agent's. Only pins are left alone: nobody would
release ours, and those that are there belong to an agent that may be running beside.
"""

import asyncio
import math
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import aiohttp

from daemon import logs
from daemon.cli.errors import CliError, UnreachableError, UsageError
from daemon.cli.following import Followed, look_directly
from daemon.cli.memory import OneNodeImage, wanted_on
from daemon.cli.pull import PullOptions, code_of, print_end, reporter
from daemon.cli.reporting import Reporter
from daemon.cli.usage import Exit
from daemon.config import Config
from daemon.cri.channel import Channel
from daemon.cri.containerd.extras import connect_extras
from daemon.cri.extras import Capabilities, ImageExtras, Ingest, PhasesOnly
from daemon.cri.runtimes import Runtimes
from daemon.cri.sockets import candidates
from daemon.engine.clock import SystemClock
from daemon.metrics import Metrics
from daemon.names import PROGRAM
from daemon.nodeimages.access import Access
from daemon.nodeimages.assembly import NodeHalf, Surroundings, plugins_of
from daemon.nodeimages.credentials import PluginError
from daemon.nodeimages.plugins import CredentialPlugins
from daemon.objects.images import Secret, SecretReference
from daemon.objects.references import parse
from daemon.pulljobs.requests import secret_of
from daemon.settings import ConfigError, load

RUNTIME_TIMEOUT = 10.0
"""Seconds in which a runtime must be found."""


def pull_directly(options: PullOptions, runtime: str | None, environ: Mapping[str, str]) -> Exit:
    """Pull and wait, with the agent's settings as *environ* has them. Raises CliError."""
    config = _config(runtime, environ)
    # What is wrong with a pull is told in its line; beside bars, a log would be noise.
    logs.configure(level="error", form="text", stream=sys.stderr)
    started = time.monotonic()
    try:
        every, code = asyncio.run(_Direct(options, config, environ).run())
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the pulls ended with this command\n")
        return Exit.INTERRUPTED
    print_end(every, time.monotonic() - started, options.form)
    if code == Exit.TIMED_OUT:
        sys.stderr.write("waited too long; the pulls ended with this command\n")
    return code


def _config(runtime: str | None, environ: Mapping[str, str]) -> Config:
    try:
        config = load(Config, f"{PROGRAM} pull", ["--runtime", runtime] if runtime else [], environ)
        candidates(config.runtime)
    except ConfigError as error:
        raise UsageError(str(error)) from error
    except ValueError as error:
        raise UsageError(f"--runtime {error}") from error
    return config


class _Direct:
    """The node's half around one object in memory."""

    def __init__(self, options: PullOptions, config: Config, environ: Mapping[str, str]) -> None:
        self._options = options
        self._config = config
        self._environ = environ
        self._clock = SystemClock()
        self._changed = asyncio.Event()
        self._metrics = Metrics()
        self._runtimes = Runtimes(
            candidates(config.runtime, config.host_root), _connect_without_pins, on_change=self._changed.set
        )

    async def run(self) -> tuple[list[Followed], Exit]:
        """Pull all images. Raises CliError."""
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            return await self._work(self._equip(session))

    def _equip(self, session: aiohttp.ClientSession) -> NodeHalf:
        request, name = self._options.request, self._config.node_name
        secret = secret_of(request.docker_config) if request.docker_config else None
        around = Surroundings(
            runtimes=self._runtimes,
            node_images=OneNodeImage(wanted_on(name, request, secret, self._clock.now())),
            session=session,
            metrics=self._metrics,
            clock=self._clock,
        )

        async def find_secret(_reference: SecretReference) -> Secret | None:
            return secret

        access = Access(find_secret, docker_config=self._config.docker_config, plugins=self._plugins())
        return NodeHalf(self._config, around, access, self._changed.set)

    def _plugins(self) -> CredentialPlugins | None:
        try:
            return plugins_of(self._config, self._environ, self._clock)
        except PluginError as error:
            raise UsageError(str(error)) from error

    async def _work(self, node: NodeHalf) -> tuple[list[Followed], Exit]:
        """Run the parts until all images ended. Raises CliError."""
        failure: CliError | None = None
        every, code = list[Followed](), Exit.UNREACHABLE
        parts = (self._runtimes.run, node.live.run, node.images.controller.run, node.attempts.run)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(part(), name=part.__qualname__) for part in parts]
            try:
                await self._wait_for_runtime()
                node.start()
                every, code = await self._follow(node)
            except CliError as error:
                failure = error  # raised after the group, which would wrap it
            for task in tasks:
                task.cancel()
        if failure is not None:
            raise failure
        return every, code

    async def _wait_for_runtime(self) -> None:
        try:
            async with asyncio.timeout(min(RUNTIME_TIMEOUT, self._options.wait_timeout)):
                await self._runtimes.wait_ready()
        except TimeoutError:
            remedy = "Start the runtime, name its socket with --runtime, or run this as root."
            raise UnreachableError(f"{self._runtimes.problem}. {remedy}") from None

    async def _follow(self, node: NodeHalf) -> tuple[list[Followed], Exit]:
        every = [Followed(image, "") for image in self._options.request.images]
        limit = self._options.wait_timeout
        with reporter(self._options.form) as shown:
            try:
                async with asyncio.timeout(None if math.isinf(limit) else limit):
                    await self._show_until_ended(every, node, shown)
            except TimeoutError:
                return every, Exit.TIMED_OUT
        return every, code_of(every)

    async def _show_until_ended(
        self, every: list[Followed], node: NodeHalf, shown: Reporter[Sequence[Followed]]
    ) -> None:
        """Keep *every* up to date until all have ended."""
        started = time.monotonic()
        while True:
            self._changed.clear()
            pulls, now = node.pulls(), time.monotonic() - started
            every[:] = [look_directly(item, pulls, parse(item.image).canonical, now) for item in every]
            every[:] = without_hope(every)
            shown.show(every)
            if all(item.ended for item in every):
                return
            await self._changed.wait()


def without_hope(every: list[Followed]) -> list[Followed]:
    """Give up what only waits for disk space: where no pull of this command runs, nobody here makes any."""
    waiting = [item for item in every if item.pull is not None and item.pull.reason == "NoSpace"]
    if any(not item.ended and item not in waiting for item in every):
        return every
    return [_given_up(item) if item in waiting and not item.ended else item for item in every]


def _given_up(item: Followed) -> Followed:
    assert item.pull is not None
    pull = item.pull
    return replace(item, result="Failed", reason=pull.reason, message=pull.message, remedy=pull.remedy)


async def _connect_without_pins(channel: Channel, name: str, version: str) -> ImageExtras:
    return _WithoutPins(await connect_extras(channel, name, version))


class _WithoutPins(PhasesOnly):
    """Progress as the runtime tells it; pins as of a runtime that has none."""

    def __init__(self, extras: ImageExtras) -> None:
        self._extras = extras

    @property
    def capabilities(self) -> Capabilities:
        """Those of the runtime, but pins."""
        return Capabilities(progress=self._extras.capabilities.progress)

    async def ingests(self) -> tuple[Ingest, ...]:
        """As of the runtime."""
        return await self._extras.ingests()

    async def present(self, digests: Collection[str]) -> frozenset[str]:
        """As of the runtime."""
        return await self._extras.present(digests)

    async def release(self, digests: Collection[str]) -> None:
        """As of the runtime."""
        await self._extras.release(digests)
