"""The agent of a cluster within the test's own process: a fake API server above, a fake containerd below."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from daemon.agent import Agent
from daemon.config import AgentConfig
from daemon.cri.sockets import candidates
from daemon.kube.access import Fixed
from daemon.settings import load
from tests.fakes.apiserver import KINDS, FakeApiServer
from tests.fakes.apistorage import RefusalError
from tests.functional.standalone_world import PATIENCE, QUICK, Process, World, listening, world

NODE = "node-7"
QUIET = QUICK | {"status-interval": "2"}
"""As in a cluster: what moves is told every two seconds."""


def wanting(node: str = NODE, /, **tags: str) -> str:
    """The NodeImage as our controller writes it: of ``reg.test``, each image for a job of its own."""
    images = {
        f"reg.test/{name}": {
            "tags": [
                {
                    "tag": tag,
                    "createdAt": "2026-05-01T12:00:00Z",
                    "version": 0,
                    "pullPolicy": {"timeoutSeconds": 600, "backoffLimit": 1},
                    "imagePullPolicy": "IfNotPresent",
                    "ownerReferences": [
                        {
                            "apiVersion": "apps.kruise.io/v1beta1",
                            "kind": "ImagePullJob",
                            "namespace": "shop",
                            "name": name,
                            "uid": f"u-{name}",
                        }
                    ],
                }
            ]
        }
        for name, tag in tags.items()
    }
    return yaml.safe_dump(
        {
            "apiVersion": "apps.kruise.io/v1beta1",
            "kind": "NodeImage",
            "metadata": {"name": node},
            "spec": {"images": images},
        }
    )


@dataclass
class AgentWorld:
    """A node of a cluster."""

    server: FakeApiServer
    node: World

    def store(self, text: str) -> Mapping[str, Any]:
        """Store a manifest as another client would."""
        document = yaml.safe_load(text)
        plural = next(kind.plural for kind in KINDS if kind.kind == document["kind"])
        return self.server.store(plural, document)

    def node_image(self, name: str = NODE) -> Mapping[str, Any]:
        """The node's object as it is stored."""
        return self.server.document("nodeimages", name)

    def tag(self, image: str, tag: str) -> Mapping[str, Any]:
        """The status of one tag; empty while there is none."""
        statuses = self.node_image().get("status", {}).get("imageStatuses", {})
        every = statuses.get(image, {}).get("tags") or []
        return next((each for each in every if each["tag"] == tag), {})

    async def until(self, reached: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
        """Wait until what is stored, or was asked, is so."""
        async with self._changes() as changed:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    while not self._is(reached):
                        changed.clear()
                        with suppress(TimeoutError):  # what is asked is no change of what is stored
                            async with asyncio.timeout(0.05):
                                await changed.wait()
                    return
        asked = "\n".join(
            f"{each.verb} {each.resource} {each.name} {each.code}" for each in self.server.requests
        )
        raise AssertionError(
            f"{what}: not in time; it was asked:\n{asked}\n{self.server.storage.of('nodeimages')}"
        )

    def _is(self, reached: Callable[[], object]) -> bool:
        try:
            return bool(reached())
        except (RefusalError, KeyError):  # what it asks about is not there yet
            return False

    @asynccontextmanager
    async def _changes(self) -> AsyncIterator[asyncio.Event]:
        changed = asyncio.Event()

        def listen(_change: object) -> None:
            changed.set()

        self.server.storage.listeners.append(listen)
        try:
            yield changed
        finally:
            self.server.storage.listeners.remove(listen)

    async def phase(self, image: str, tag: str, phase: str) -> Mapping[str, Any]:
        """Wait for a phase of one tag."""
        await self.until(lambda: self.tag(image, tag).get("phase") == phase, f"{image}:{tag} {phase}")
        return self.tag(image, tag)

    @asynccontextmanager
    async def running(self, **settings: str) -> AsyncIterator[Process]:
        """Run the agent until the end of the block, and end it by a signal, in order."""
        directory = self.node.directory
        own = {
            "node-name": NODE,
            "runtime": str(self.node.runtime.path),
            "socket": str(directory / "agent.sock"),
            "host-root": str(directory / "host"),
        }
        flags = QUIET | own | {name.replace("_", "-"): value for name, value in settings.items()}
        config = load(AgentConfig, "test", [f"--{name}={value}" for name, value in flags.items()], {})
        agent = Agent(config, candidates(config.runtime, config.host_root), Fixed(self.server.url), {})
        task = asyncio.create_task(agent.run())
        connector = aiohttp.UnixConnector(path=config.socket)
        try:
            async with aiohttp.ClientSession(connector=connector) as client:
                await listening(Path(config.socket), task)
                yield Process(self.node, client)
        finally:
            if not task.done():
                signal.raise_signal(signal.SIGTERM)
            async with asyncio.timeout(PATIENCE):
                await task


@asynccontextmanager
async def agent_world(directory: Path) -> AsyncIterator[AgentWorld]:
    """A cluster with one node, for which nothing is wanted yet."""
    async with FakeApiServer() as server, world(directory) as node:
        yield AgentWorld(server, node)
