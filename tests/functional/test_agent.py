"""The agent of a cluster: told by the API server, telling it no more than its own status."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.functional.agent_world import NODE, AgentWorld, agent_world

WANTED = f"""
apiVersion: apps.kruise.io/v1beta1
kind: NodeImage
metadata: {{name: {NODE}}}
spec:
  images:
    reg.test/app:
      tags:
        - tag: v1
          createdAt: "2026-05-01T12:00:00Z"
          version: 0
          pullPolicy: {{timeoutSeconds: 600, backoffLimit: 3}}
          imagePullPolicy: IfNotPresent
          ownerReferences:
            - {{apiVersion: apps.kruise.io/v1beta1, kind: ImagePullJob, namespace: shop, name: app, uid: u-1}}
"""


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[AgentWorld]:
    async with agent_world(tmp_path) as made:
        yield made


async def test_what_the_node_is_told_to_have_is_pulled_and_told(cluster: AgentWorld) -> None:
    cluster.node.node.offer("reg.test/app:v1")
    cluster.store(WANTED)

    async with cluster.running():
        tag = await cluster.phase("reg.test/app", "v1", "Succeeded")

    assert cluster.node.pulled() == ["reg.test/app:v1"]
    assert (tag["version"], tag["progress"]) == (0, 100)
    status = cluster.node_image()["status"]
    assert (status["desired"], status["succeeded"], status["observedGeneration"]) == (1, 1, 1)
