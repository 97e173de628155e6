"""A cluster in the test's own process: a fake API server, candidates for leading, and one node's agent."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from daemon.config import ControllerConfig
from daemon.controller import CentralController
from daemon.kube.access import Fixed
from tests.functional.agent_world import NODE, AgentWorld
from tests.functional.standalone_world import PATIENCE


def node(name: str = NODE, *, ready: bool = True, **labels: str) -> str:
    """A Node as the kubelet writes it."""
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": labels},
            "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
        }
    )


def job(name: str, image: str, **spec: Any) -> str:
    """An ImagePullJob in the namespace shop."""
    return yaml.safe_dump(
        {
            "apiVersion": "apps.kruise.io/v1beta1",
            "kind": "ImagePullJob",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"image": image, "completionPolicy": {"type": "Always"}, **spec},
        }
    )


@dataclass
class ControllerWorld:
    """What the centre is asked and does."""

    agent: AgentWorld

    def status(self, name: str) -> Mapping[str, Any]:
        """What the job says."""
        status: Mapping[str, Any] = self.agent.server.document("imagepulljobs", name, "shop").get(
            "status", {}
        )
        return status

    async def node_image_is_there(self) -> None:
        """Wait until the node has its object."""
        await self.agent.until(self.agent.node_image, "the node's object is made")

    async def ended(self, name: str) -> Mapping[str, Any]:
        """Wait for the job's end."""
        await self.agent.until(lambda: self.status(name).get("completionTime"), f"job {name} is over")
        return self.status(name)

    @asynccontextmanager
    async def leading(self, identity: str = "one", **settings: Any) -> AsyncIterator[CentralController]:
        """Run a candidate until the end of the block."""
        config = ControllerConfig(identity=identity, listen="", **settings)
        candidate = CentralController(config, Fixed(self.agent.server.url))
        stop = asyncio.Event()
        task = asyncio.create_task(candidate.run(stop))
        try:
            yield candidate
        finally:
            stop.set()
            async with asyncio.timeout(PATIENCE):
                await task
