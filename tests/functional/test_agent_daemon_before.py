"""Our agent in kruise-daemon's place: on a NodeImage whose status that daemon has written.

It writes one entry a tag in the order of the spec, ends each with a completionTime, tells no progress until a
pull is done, and leaves what it was at as it stood when it is killed.
"""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.functional.agent_world import NODE, AgentWorld, agent_world

BEGUN, ENDED = "2026-05-01T12:00:02Z", "2026-05-01T12:00:09Z"
OWNER = {
    "apiVersion": "apps.kruise.io/v1beta1",
    "kind": "ImagePullJob",
    "name": "app",
    "namespace": "shop",
    "uid": "0f7c0e51-6f0e-4c53-9c9a-1b1f6ad2b4c1",
}


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[AgentWorld]:
    async with agent_world(tmp_path) as made:
        yield made


def wanted(*tags: str, version: int = 0) -> Mapping[str, Any]:
    entries = [
        {
            "tag": tag,
            "createdAt": "2026-05-01T12:00:00Z",
            "version": version,
            "pullPolicy": {"timeoutSeconds": 600, "backoffLimit": 3, "ttlSecondsAfterFinished": 1017},
            "imagePullPolicy": "Always",
            "ownerReferences": [OWNER],
        }
        for tag in tags
    ]
    return {"reg.test/app": {"tags": entries}} if tags else {}


def left(cluster: AgentWorld, spec: Mapping[str, Any], *told: Mapping[str, Any], **status: Any) -> None:
    """Store the node's object as manager and daemon left it."""
    cluster.server.store(
        "nodeimages",
        {
            "apiVersion": "apps.kruise.io/v1beta1",
            "kind": "NodeImage",
            "metadata": {"name": NODE},
            "spec": {"images": spec},
            "status": {
                "desired": len(told),
                "succeeded": 0,
                "failed": 0,
                "pulling": 0,
                "waiting": 0,
                "imageStatuses": {"reg.test/app": {"tags": [*told]}},
                **status,
            },
        },
    )


def succeeded(tag: str, version: int = 0) -> Mapping[str, Any]:
    return {
        "tag": tag,
        "phase": "Succeeded",
        "progress": 100,
        "startTime": BEGUN,
        "completionTime": ENDED,
        "version": version,
        "imageID": f"reg.test/app@sha256:{'b' * 64}",
    }


def begun(tag: str, phase: str) -> Mapping[str, Any]:
    return {"tag": tag, "phase": phase, "startTime": BEGUN, "version": 0}


async def test_what_it_had_pulled_is_not_pulled_again(cluster: AgentWorld) -> None:
    cluster.node.node.offer("reg.test/app:v2")
    left(cluster, wanted("v1", "v2"), succeeded("v1"), begun("v2", "Pulling"), succeeded=1, pulling=1)

    async with cluster.running():
        await cluster.phase("reg.test/app", "v2", "Succeeded")

    assert cluster.node.pulled() == ["reg.test/app:v2"]
    assert succeeded("v1").items() <= cluster.tag("reg.test/app", "v1").items()
    status = cluster.node_image()["status"]
    assert (status["desired"], status["succeeded"], status["pulling"]) == (2, 2, 0)


@pytest.mark.parametrize("phase", ["Waiting", "Pulling"])
async def test_what_it_had_begun_is_brought_to_an_end(cluster: AgentWorld, phase: str) -> None:
    cluster.node.node.offer("reg.test/app:v1")
    left(cluster, wanted("v1"), begun("v1", phase))

    async with cluster.running():
        told = await cluster.phase("reg.test/app", "v1", "Succeeded")

    assert cluster.node.pulled() == ["reg.test/app:v1"]
    assert (told["version"], told["progress"]) == (0, 100)
    assert told["completionTime"]


async def test_a_tag_that_was_asked_for_again_meanwhile_is_pulled_again(cluster: AgentWorld) -> None:
    cluster.node.node.offer("reg.test/app:v1")
    left(cluster, wanted("v1", version=2), succeeded("v1", version=1), succeeded=1)

    async with cluster.running():
        await cluster.until(lambda: cluster.tag("reg.test/app", "v1").get("version") == 2, "version 2")
        await cluster.phase("reg.test/app", "v1", "Succeeded")

    assert cluster.node.pulled() == ["reg.test/app:v1"]


async def test_what_nobody_wants_any_more_goes_from_its_status(cluster: AgentWorld) -> None:
    left(cluster, wanted(), succeeded("v1"), succeeded=1)

    async with cluster.running():
        await cluster.until(
            lambda: not cluster.node_image()["status"].get("imageStatuses"), "nothing is told any more"
        )

    status = cluster.node_image()["status"]
    assert (status["desired"], status["succeeded"]) == (0, 0)


async def test_a_list_that_go_writes_as_null_is_an_empty_one(cluster: AgentWorld) -> None:
    cluster.node.node.offer("reg.test/app:v1")
    left(cluster, wanted("v1"), imageStatuses={"reg.test/app": {"tags": None}})

    async with cluster.running():
        await cluster.phase("reg.test/app", "v1", "Succeeded")

    assert cluster.node.pulled() == ["reg.test/app:v1"]
