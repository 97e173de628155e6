"""Sealed pull secrets on their way to a node: shown by nobody, opened by one agent, renewed at a change."""

import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from daemon.objects.images import Secret
from daemon.objects.meta import Key, ObjectMeta
from daemon.objects.sealing import box_name, seal
from tests.functional.agent_world import NODE, AgentWorld, agent_world, wanting

IMAGE = "reg.test/app"
PASSWORD = "hunter2-secret"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[AgentWorld]:
    async with agent_world(tmp_path) as made:
        made.node.node.offer(f"{IMAGE}:v1")
        yield made


def private(version: int = 0) -> str:
    """The NodeImage of a job whose pull secret our controller has sealed."""
    document = yaml.safe_load(wanting(app="v1"))
    entry = document["spec"]["images"][IMAGE]
    entry["pullSecrets"] = [{"namespace": "shop", "name": "registry"}]
    entry["tags"][0] |= {"version": version, "imagePullPolicy": "Always"}
    return yaml.safe_dump(document)


def put_sealed(cluster: AgentWorld, public_key: str, password: str = PASSWORD) -> None:
    """What the controller does for a node that needs a secret."""
    config = json.dumps({"auths": {"reg.test": {"username": "puller", "password": password}}})
    source = Secret(
        metadata=ObjectMeta(name="registry", namespace="shop"),
        type="kubernetes.io/dockerconfigjson",
        data={".dockerconfigjson": base64.b64encode(config.encode()).decode()},
    )
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "inplaced.dev/sealed",
        "metadata": {"name": NODE, "namespace": "inplaced-node-secrets"},
        "data": {box_name(Key("shop", "registry")): seal(source, public_key)},
    }
    cluster.server.store("secrets", document)


async def public_key(cluster: AgentWorld) -> str:
    """What the agent tells of itself."""
    await cluster.until(lambda: cluster.node_image()["status"]["agent"]["publicKey"], "a public key")
    return str(cluster.node_image()["status"]["agent"]["publicKey"])


def passwords(cluster: AgentWorld) -> list[str]:
    return [request.auth.password for request in cluster.node.runtime.requests("PullImage")]


async def test_a_pull_uses_what_was_sealed_for_the_node(cluster: AgentWorld) -> None:
    cluster.store(wanting())

    async with cluster.running():
        put_sealed(cluster, await public_key(cluster))
        cluster.store(private())
        await cluster.phase(IMAGE, "v1", "Succeeded")

    assert passwords(cluster) == [PASSWORD]
    asked = {(each.verb, each.name) for each in cluster.server.requests if each.resource == "secrets"}
    assert asked == {("get", NODE)}


async def test_a_node_without_private_images_asks_for_no_secret(cluster: AgentWorld) -> None:
    cluster.store(wanting(app="v1"))

    async with cluster.running():
        await cluster.phase(IMAGE, "v1", "Succeeded")

    assert cluster.server.count("get", "list", "watch", resource="secrets") == 0


async def test_after_a_restart_a_pull_waits_for_the_secret_to_be_sealed_anew(cluster: AgentWorld) -> None:
    cluster.store(wanting())
    async with cluster.running():
        old = await public_key(cluster)
        put_sealed(cluster, old)

    cluster.store(private())
    async with cluster.running():
        await cluster.until(lambda: cluster.server.count("get", resource="secrets") >= 2, "waited for")
        await cluster.until(
            lambda: cluster.node_image()["status"]["agent"]["publicKey"] != old, "another key"
        )
        put_sealed(cluster, await public_key(cluster))
        await cluster.phase(IMAGE, "v1", "Succeeded")

    assert passwords(cluster) == [PASSWORD]


async def test_a_rotated_secret_is_used_by_the_next_request(cluster: AgentWorld) -> None:
    cluster.store(wanting())
    async with cluster.running():
        key = await public_key(cluster)
        put_sealed(cluster, key)
        cluster.store(private())
        await cluster.phase(IMAGE, "v1", "Succeeded")

        put_sealed(cluster, key, "rotated")
        begun = time.monotonic()
        await cluster.until(lambda: time.monotonic() - begun > 1.1, "what was read is no longer fresh")
        cluster.store(private(version=1))
        await cluster.until(lambda: len(passwords(cluster)) == 2, "pulled again")

    assert passwords(cluster) == [PASSWORD, "rotated"]


async def test_a_rotated_secret_mends_a_pull_that_is_being_retried(cluster: AgentWorld) -> None:
    cluster.store(wanting())
    async with cluster.running(pull_backoff="1.2", pull_backoff_max="1.2"):
        key = await public_key(cluster)
        put_sealed(cluster, key, "old")
        del cluster.node.node.offered[f"{IMAGE}:v1"]
        cluster.store(private())
        await cluster.until(lambda: len(passwords(cluster)) == 2, "refused, also without a password")
        cluster.node.node.offer(f"{IMAGE}:v1")
        put_sealed(cluster, key, "new")
        await cluster.phase(IMAGE, "v1", "Succeeded")

    assert passwords(cluster) == ["old", "", "new"]


async def test_neither_the_key_nor_a_secret_is_ever_shown(
    cluster: AgentWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.store(wanting())
    state = tmp_path / "keys"
    async with cluster.running(state=str(state), log_level="debug") as agent:
        put_sealed(cluster, await public_key(cluster))
        cluster.store(private())
        await cluster.phase(IMAGE, "v1", "Succeeded")
        paths = (
            "/",
            "/statusz",
            "/flagz",
            "/metrics",
            "/debug/tasks",
            "/debug/config",
            "/debug/pulls",
            "/debug/pods",
        )
        shown = "".join([await agent.get(path) for path in paths])

    said = "".join(capsys.readouterr()) + shown + str(cluster.server.storage.of("events"))
    private_half = (state / "sealing.key").read_bytes()
    for secret in (PASSWORD, base64.b64encode(private_half).decode(), private_half.hex()):
        assert secret not in said
