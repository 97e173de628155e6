"""Runtimes under supervision, for tests of what becomes of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from daemon.cri.channel import Channel
from daemon.cri.extras import ImageExtras, PhasesOnly
from daemon.cri.runtimes import Probing, Runtime, Runtimes
from daemon.cri.sockets import Candidate

DEADLINE = 10.0
PROBING = Probing(interval=60.0, first_retry=0.01, last_retry=0.05, timeout=0.3)
NEVER = Probing(interval=3600.0, first_retry=3600.0, last_retry=3600.0, timeout=0.3)


@dataclass
class Watched:
    """Runtimes under supervision, and what they told."""

    runtimes: Runtimes = field(init=False)
    changes: int = 0
    made: list[tuple[str, str]] = field(default_factory=list)
    """Name and version for which extras were made."""
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def changed(self) -> None:
        self.changes += 1
        self.moved.set()

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not reached():
                self.moved.clear()
                await self.moved.wait()

    async def make_extras(self, channel: Channel, name: str, version: str) -> ImageExtras:
        self.made.append((name, version))
        return PhasesOnly()


@contextlib.asynccontextmanager
async def watching(*paths: Path, probing: Probing = PROBING) -> AsyncIterator[Watched]:
    """Supervise runtimes at *paths* until the end of the block."""
    places = [Candidate(path, "settings") for path in paths]
    watched = Watched()
    watched.runtimes = Runtimes(places, watched.make_extras, on_change=watched.changed, probing=probing)
    task = asyncio.create_task(watched.runtimes.run())
    try:
        yield watched
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def ready(watched: Watched) -> Runtime:
    """The default, once there is one."""
    async with asyncio.timeout(DEADLINE):
        return await watched.runtimes.wait_ready()
