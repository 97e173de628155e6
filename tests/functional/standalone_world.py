"""The standalone process within the test's own, over a fake containerd: whole stories, told quickly."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import yaml

from daemon.config import StandaloneConfig
from daemon.cri.sockets import candidates
from daemon.debug.views import JobView, NodeView, PullView
from daemon.settings import load
from daemon.standalone import Standalone
from tests.fakes.containerd import FakeContainerd, Served, serving_containerd
from tests.fakes.holdings import FakeHoldings
from tests.fakes.runtime import FakeRuntime, serving

PATIENCE = 10.0
QUICK = {
    "pull-backoff": "0.01",
    "pull-backoff-max": "0.02",
    "space-retry": "0.05",
    "progress-interval": "0.1",
    "status-interval": "0.5",
    "disk-reserve-percent": "0",
    "disk-floor-mib": "0",
    "measure-images": "false",
    "shutdown-grace": "2",
    "listen": "",
}
"""Settings under which nothing waits for long, and no registry is asked."""


@dataclass
class Process:
    """A standalone process, asked over its own socket as a person's tools would."""

    world: "World"
    client: aiohttp.ClientSession

    async def get(self, path: str) -> str:
        """Body of an answer."""
        async with self.client.get(f"http://agent{path}") as answer:
            return await answer.text()

    async def post(self, path: str, body: object) -> tuple[int, Any]:
        """Status and decoded body of an answer."""
        async with self.client.post(f"http://agent{path}", json=body) as answer:
            return answer.status, await answer.json()

    async def view(self) -> NodeView:
        async with self.client.get("http://agent/statusz", headers={"Accept": "application/json"}) as answer:
            return msgspec.json.decode(await answer.read(), type=NodeView)

    async def until(self, reached: Callable[[NodeView], bool], what: str) -> NodeView:
        """Wait for a state of the view."""
        deadline = time.monotonic() + PATIENCE
        while not reached(view := await self.view()):
            assert time.monotonic() < deadline, f"{what}: not in time; last view: {view}"
            await asyncio.sleep(0.01)
        return view

    async def pull(self, ref: str, reached: Callable[[PullView], bool], what: str) -> PullView:
        """Wait for a state of one wanted image."""
        view = await self.until(
            lambda seen: any(pull.image == ref and reached(pull) for pull in seen.pulls), what
        )
        return next(pull for pull in view.pulls if pull.image == ref)

    async def ended(self, name: str) -> JobView:
        """Wait for the end of a job."""
        view = await self.until(
            lambda seen: any(job.name == name and job.completed_at is not None for job in seen.jobs),
            f"end of {name}",
        )
        return next(job for job in view.jobs if job.name == name)

    async def metric(self, line: str) -> float:
        """The value of one series, as it is scraped."""
        lines = (await self.get("/metrics")).splitlines()
        return next((float(each.rpartition(" ")[2]) for each in lines if each.startswith(f"{line} ")), 0.0)


@dataclass
class World:
    """A node: its runtime, its files, its manifests."""

    directory: Path
    served: Served

    @property
    def runtime(self) -> FakeRuntime:
        return self.served.runtime

    @property
    def containerd(self) -> FakeContainerd:
        return self.served.containerd

    @property
    def node(self) -> FakeHoldings:
        return self.served.node

    @property
    def images(self) -> Path:
        """Where the runtime says that its images lie."""
        return self.directory / "host" / self.node.mountpoint.lstrip("/")

    @property
    def state(self) -> Path:
        return self.directory / "state"

    def write(self, name: str, *documents: Mapping[str, Any]) -> None:
        """Put a manifest file in place in one step."""
        draft = self.directory / f"{name}.draft"
        draft.write_text(yaml.safe_dump_all([dict(document) for document in documents]))
        draft.rename(self.directory / "manifests" / f"{name}.yaml")

    def withdraw(self, name: str) -> None:
        """Remove a manifest file."""
        (self.directory / "manifests" / f"{name}.yaml").unlink()

    def pulled(self) -> list[str]:
        """The references that the runtime was asked to pull, in order."""
        return [request.image.image for request in self.runtime.requests("PullImage")]

    @asynccontextmanager
    async def running(self, **settings: str) -> AsyncIterator[Process]:
        """Run the process until the end of the block, and end it by a signal, in order."""
        own = {
            "manifests": str(self.directory / "manifests"),
            "state": str(self.state),
            "runtime": str(self.runtime.path),
            "socket": str(self.directory / "agent.sock"),
            "host-root": str(self.directory / "host"),
        }
        flags = QUICK | own | {name.replace("_", "-"): value for name, value in settings.items()}
        config = load(StandaloneConfig, "test", [f"--{name}={value}" for name, value in flags.items()], {})
        standalone = Standalone(config, candidates(config.runtime, config.host_root), {})
        task = asyncio.create_task(standalone.run())
        connector = aiohttp.UnixConnector(path=config.socket)
        try:
            async with aiohttp.ClientSession(connector=connector) as client:
                await listening(Path(config.socket), task)
                yield Process(self, client)
        finally:
            if not task.done():
                signal.raise_signal(signal.SIGTERM)
            async with asyncio.timeout(PATIENCE):
                await task


async def listening(path: Path, task: "asyncio.Task[None]") -> None:
    """Wait until the process answers; by then it minds signals."""
    deadline = time.monotonic() + PATIENCE
    while not path.exists() and not task.done():  # noqa: ASYNC240 - a look at a directory in memory
        assert time.monotonic() < deadline, "it does not listen"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def world(directory: Path, *, pins_by_label: bool = True) -> AsyncIterator[World]:
    """A node with a runtime that answers, and room for images."""
    async with serving_containerd(directory / "cri.sock", pins_by_label=pins_by_label) as served:
        made = World(directory, served)
        made.images.mkdir(parents=True)
        (directory / "manifests").mkdir()
        yield made


@asynccontextmanager
async def plain_world(directory: Path, name: str = "cri-o") -> AsyncIterator[World]:
    """A node with a runtime that has CRI and nothing beside it."""
    node = FakeHoldings(name=name, version="1.34.0")
    async with serving(directory / "cri.sock", node) as runtime:
        made = World(directory, Served(runtime, FakeContainerd(node)))
        made.images.mkdir(parents=True)
        (directory / "manifests").mkdir()
        yield made
