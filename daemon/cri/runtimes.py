"""The container runtimes of a node: found, probed and kept connected, without anybody waiting for them."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
import structlog

from daemon.cri.channel import Channel, Observer
from daemon.cri.client import CriClient
from daemon.cri.errors import CriError
from daemon.cri.extras import ImageExtras, PhasesOnly
from daemon.cri.sockets import Candidate, present
from daemon.cri.types import RuntimeCondition, Version

MakeExtras = Callable[[Channel, str, str], Awaitable[ImageExtras]]
"""Makes what CRI lacks from the channel, the runtime's name and its version. Raises CriError."""

_UNKNOWN: Final = Version("", "", "")

log = structlog.get_logger()


class Probing(msgspec.Struct, frozen=True):
    """How often runtimes are asked. All in seconds."""

    interval: float = 30.0
    """Between two probes of a runtime that is ready, and two looks for further sockets."""
    first_retry: float = 0.2
    last_retry: float = 2.0
    """Pauses while a runtime is not ready, or none is there: doubling from the first to the last."""
    timeout: float = 5.0
    """Of each call of a probe."""


class Runtime:
    """One runtime behind one socket, as last seen. The same object however often the runtime restarts."""

    def __init__(self, place: Candidate, observe: Observer | None = None) -> None:
        self.socket = str(place.path)
        self.channel = Channel(self.socket, observe=observe, on_doubt=self.suspect)
        self.client = CriClient(self.channel)
        self.extras: ImageExtras = PhasesOnly()
        self.version: Version = _UNKNOWN
        self.ready = False
        self.problem = "not asked yet"
        """Why it is not ready; empty when it is."""
        self.suspected = asyncio.Event()
        """Set to have it probed at once."""

    @property
    def name(self) -> str:
        """What stands before ``://`` in a pod's containerID. Empty until it was reached once."""
        return self.version.runtime_name

    def suspect(self) -> None:
        """Have it probed at once, if it is ready; else it is probed soon anyway."""
        self.suspected.set()

    def __repr__(self) -> str:
        return f"Runtime({self.socket}, {self.name or '?'}, {'ready' if self.ready else self.problem})"


class Runtimes:
    """All runtimes of the node. ``run`` finds and supervises them; everything else reads what it found."""

    def __init__(
        self,
        places: Sequence[Candidate],
        make_extras: MakeExtras,
        *,
        on_change: Callable[[], None] = lambda: None,
        observe: Observer | None = None,
        probing: Probing | None = None,
    ) -> None:
        """*on_change* is called when a runtime becomes ready, ceases to be, or becomes another one."""
        self._places = tuple(places)
        self._make_extras = make_extras
        self._on_change = on_change
        self._observe = observe
        self._probing = probing or Probing()
        self._known: dict[Candidate, Runtime] = {}
        self._some_ready = asyncio.Event()

    @property
    def all(self) -> tuple[Runtime, ...]:
        """Every runtime whose socket was seen, in the order of the places."""
        return tuple(self._known[place] for place in self._places if place in self._known)

    @property
    def default(self) -> Runtime | None:
        """The first that is ready."""
        return next((runtime for runtime in self.all if runtime.ready), None)

    @property
    def problem(self) -> str:
        """Why there is no default; empty when there is one."""
        if self.default is not None:
            return ""
        if not self._known:
            return f"no container runtime found at {', '.join(str(place.path) for place in self._places)}"
        return "; ".join(f"{runtime.socket}: {runtime.problem}" for runtime in self.all)

    def by_name(self, name: str) -> Runtime | None:
        """The runtime that a containerID ``name://…`` belongs to, rather one that is ready."""
        named = [runtime for runtime in self.all if runtime.name == name]
        return next((runtime for runtime in named if runtime.ready), named[0] if named else None)

    def suspect(self, runtime: Runtime) -> None:
        """Have *runtime* probed at once: a call to it failed as if it were down."""
        runtime.suspect()

    async def wait_ready(self) -> Runtime:
        """Wait until there is a default and return it. The caller bounds the wait."""
        while (runtime := self.default) is None:
            await self._some_ready.wait()
        return runtime

    async def run(self) -> None:
        """Find and supervise runtimes until cancelled; their connections are closed at the end."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._discover(group)
        finally:
            for runtime in self.all:
                await runtime.channel.close()

    async def _discover(self, group: asyncio.TaskGroup) -> None:
        looks = 0
        while len(self._known) < len(self._places):
            for place in present(self._places):
                if place not in self._known:
                    runtime = self._known[place] = Runtime(place, self._observe)
                    log.info("runtime socket found", runtime=runtime.socket, origin=place.origin)
                    group.create_task(self._supervise(runtime), name=f"runtime {runtime.socket}")
            looks = 0 if self.default is not None else looks + 1
            await asyncio.sleep(self._pause(looks))

    async def _supervise(self, runtime: Runtime) -> None:
        failures = 0
        while True:
            before = (runtime.ready, runtime.version, runtime.problem)
            runtime.problem = await self._probe(runtime)
            runtime.ready = not runtime.problem
            self._announce(runtime, before)
            runtime.suspected.clear()  # What was suspected until now has been looked into.
            failures = 0 if runtime.ready else failures + 1
            # Also when it is ready: one that cuts each connection is not to be asked without end.
            await asyncio.sleep(self._pause(max(failures, 1)))
            if runtime.ready:
                await _set_within(runtime.suspected, self._pause(0))

    async def _probe(self, runtime: Runtime) -> str:
        """Ask *runtime* how it is. Returns why it is not ready, empty when it is."""
        client = CriClient(runtime.channel, timeout=self._probing.timeout)
        try:
            version = await client.version()
            conditions = await client.status()
            if version != runtime.version:
                made = self._make_extras(runtime.channel, version.runtime_name, version.runtime_version)
                runtime.extras = await made
                runtime.version = version
        except CriError as error:
            return str(error)
        return _unready(conditions)

    def _announce(self, runtime: Runtime, before: tuple[bool, Version, str]) -> None:
        now = (runtime.ready, runtime.version, runtime.problem)
        if now == before:
            return
        about = {"runtime": runtime.socket, "name": runtime.name, "version": runtime.version.runtime_version}
        if runtime.ready:
            log.info("runtime ready", **about)
        else:
            log.warning("runtime not ready", problem=runtime.problem, **about)
        if self.default is not None:
            self._some_ready.set()
        else:
            self._some_ready.clear()
        if now[:2] != before[:2]:
            self._on_change()

    def _pause(self, failures: int) -> float:
        """Seconds until the next try; jittered, so that the runtimes of a node are not asked in step."""
        doubled = self._probing.first_retry * 2.0 ** min(failures - 1, 30)
        pause = min(doubled, self._probing.last_retry) if failures else self._probing.interval
        return pause * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, is no secret


def _unready(conditions: Sequence[RuntimeCondition]) -> str:
    """Why the runtime itself says that it is not ready. Its network does not matter to us."""
    ready = next((each for each in conditions if each.type == "RuntimeReady"), None)
    if ready is None:
        return "it reports no RuntimeReady condition"
    return "" if ready.ok else f"{ready.reason or 'not ready'}: {ready.message}".removesuffix(": ")


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
