"""The command line against a whole agent over a container runtime that is made up."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.command import Command, piped
from tests.fakes.containerd import Served, serving_containerd

pytestmark = pytest.mark.e2e

IMAGE = "registry.example/team/app:v2"
MISSING = "registry.example/nope:1"


@dataclass(frozen=True, slots=True)
class Node:
    """A running agent and the runtime under it."""

    served: Served
    settings: dict[str, str]

    async def inplaced(self, *words: str) -> tuple[int, str]:
        """Run a command to its end: exit code and output. In a thread, as this one serves the runtime."""
        with piped(*words, env=self.settings) as command:
            code = await asyncio.to_thread(command.ends)
        return code, command.text


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    settings = {
        "INPLACED_SOCKET": str(tmp_path / "agent.sock"),
        "INPLACED_LISTEN": "",
        "INPLACED_MANIFESTS": str(tmp_path / "manifests"),
        "INPLACED_STATE": str(tmp_path / "state"),
        "INPLACED_RUNTIME": str(tmp_path / "cri.sock"),
        # The made-up registry cannot be asked; the machine's disk is not what is tested.
        "INPLACED_MEASURE_IMAGES": "false",
        "INPLACED_DISK_FLOOR_MIB": "1",
        "INPLACED_DISK_RESERVE_PERCENT": "0",
    }
    (tmp_path / "manifests").mkdir()
    async with serving_containerd(tmp_path / "cri.sock") as served:
        served.node.mountpoint = str(tmp_path)
        with piped("standalone", env=settings) as agent:
            await asyncio.to_thread(_started, agent)
            yield Node(served, settings)


def _started(agent: Command) -> None:
    agent.wait_for("debug server listens")


async def test_a_pull_is_asked_for_followed_and_listed(node: Node) -> None:
    node.served.node.offer(IMAGE)

    code, said = await node.inplaced("pull", IMAGE, MISSING, "--retries", "0")
    again, present = await node.inplaced("pull", IMAGE)
    _, jobs = await node.inplaced("jobs", "--output", "json")
    _, status = await node.inplaced("status")

    assert code == 1
    assert f"ok      {IMAGE}  on the node after" in said
    assert f"failed  {MISSING}  ImageNotFound: " in said
    assert "2 images: 1 succeeded, 1 failed in" in said
    assert again == 0
    assert f"ok      {IMAGE}  was on the node already" in present
    assert sorted((job["succeeded"], job["failed"]) for job in json.loads(jobs)["items"]) == [
        (0, 1),
        (1, 0),
        (1, 0),
    ]
    assert f"  {MISSING}: failed, ImageNotFound: " in status
    assert "    remedy: " in status


async def test_a_wait_survives_that_the_request_is_kept_for_no_time(node: Node) -> None:
    node.served.node.offer(IMAGE)

    code, said = await node.inplaced("pull", IMAGE, "--ttl", "0", "--output", "wide")

    assert code == 0
    assert "Succeeded" in said.splitlines()[-1]
