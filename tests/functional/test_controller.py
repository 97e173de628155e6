"""The central controller on a fake API server, with a real agent below where images are pulled."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from tests.fakes.apistorage import RefusalError
from tests.functional.agent_world import NODE, agent_world
from tests.functional.controller_world import ControllerWorld, job, node


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[ControllerWorld]:
    async with agent_world(tmp_path) as below:
        for tag in ("v1", "v2"):
            below.node.node.offer(f"reg.test/app:{tag}")
        yield ControllerWorld(below)


def exists(cluster: ControllerWorld, plural: str, name: str, namespace: str = "") -> bool:
    try:
        return bool(cluster.agent.server.document(plural, name, namespace))
    except (RefusalError, KeyError):
        return False


async def test_a_job_fills_the_node_and_tells_the_truth(cluster: ControllerWorld) -> None:
    cluster.agent.store(node())

    async with cluster.leading(), cluster.agent.running():
        await cluster.node_image_is_there()
        cluster.agent.store(job("web", "reg.test/app:v1"))
        status = await cluster.ended("web")

    assert (status["desired"], status["succeeded"], status["failed"]) == (1, 1, 0)
    assert status["message"] == "job has completed"


@pytest.mark.parametrize("missing", ["workloadrestarts", "clonesets"])
async def test_it_leads_where_kinds_of_workloads_are_not_installed(
    cluster: ControllerWorld, missing: str
) -> None:
    del cluster.agent.server.kinds[missing]
    cluster.agent.store(node())

    async with cluster.leading(), cluster.agent.running():
        await cluster.node_image_is_there()
        cluster.agent.store(job("web", "reg.test/app:v1"))
        status = await cluster.ended("web")

    assert status["succeeded"] == 1


async def test_a_small_job_costs_few_writes(cluster: ControllerWorld) -> None:
    cluster.agent.store(node())

    async with cluster.leading(), cluster.agent.running():
        await cluster.agent.until(lambda: "agent" in cluster.agent.node_image().get("status", {}), "joined")
        before = len(cluster.agent.server.requests)
        cluster.agent.store(job("web", "reg.test/app:v1"))
        await cluster.ended("web")

    writes = [
        (each.verb, each.resource)
        for each in cluster.agent.server.requests[before:]
        if each.verb in {"create", "patch", "update", "delete"}
        and not each.resource.startswith(("leases", "events"))
    ]
    assert len(writes) <= 4, writes


async def test_a_nodes_labels_are_mirrored_and_its_object_goes_with_it(cluster: ControllerWorld) -> None:
    cluster.agent.store(node(zone="a"))

    async with cluster.leading():
        await cluster.agent.until(lambda: exists(cluster, "nodeimages", NODE), "made")
        assert cluster.agent.node_image()["metadata"]["labels"] == {"zone": "a"}
        cluster.agent.store(node(zone="b"))
        await cluster.agent.until(
            lambda: cluster.agent.node_image()["metadata"]["labels"] == {"zone": "b"}, "relabelled"
        )
        cluster.agent.server.remove("nodes", NODE)
        await cluster.agent.until(lambda: not exists(cluster, "nodeimages", NODE), "gone")


async def test_a_job_that_was_there_before_the_controller_reaches_all_nodes(cluster: ControllerWorld) -> None:
    cluster.agent.store(node())
    cluster.agent.store(job("web", "reg.test/app:v1"))

    async with cluster.leading(), cluster.agent.running():
        status = await cluster.ended("web")

    assert status["succeeded"] == 1


async def test_a_node_that_is_not_ready_or_virtual_has_no_object(cluster: ControllerWorld) -> None:
    cluster.agent.store(node("broken", ready=False))
    cluster.agent.store(node("virtual", type="virtual-kubelet"))
    cluster.agent.store(node("sound"))

    async with cluster.leading():
        await cluster.agent.until(lambda: exists(cluster, "nodeimages", "sound"), "made")

    assert not exists(cluster, "nodeimages", "broken")
    assert not exists(cluster, "nodeimages", "virtual")


async def test_a_never_job_serves_a_node_that_comes_later(cluster: ControllerWorld) -> None:
    async with cluster.leading():
        cluster.agent.store(job("all", "reg.test/app:v1", completionPolicy={"type": "Never"}))
        cluster.agent.store(node("late"))
        await cluster.agent.until(
            lambda: "reg.test/app" in cluster.agent.node_image("late")["spec"].get("images", {}), "asked"
        )


async def test_a_deleted_job_leaves_nothing_behind(cluster: ControllerWorld) -> None:
    cluster.agent.store(node())

    async with cluster.leading():
        await cluster.node_image_is_there()
        cluster.agent.store(job("web", "reg.test/app:v1"))
        await cluster.agent.until(
            lambda: "reg.test/app" in cluster.agent.node_image()["spec"].get("images", {}), "asked"
        )
        cluster.agent.server.remove("imagepulljobs", "web", "shop")
        await cluster.agent.until(lambda: not cluster.agent.node_image()["spec"].get("images"), "taken back")


async def test_pull_secrets_reach_the_node_sealed_and_go_with_the_job(cluster: ControllerWorld) -> None:
    config = {"auths": {"reg.test": {"username": "ada", "password": "lovelace-1815"}}}
    text = base64.b64encode(json.dumps(config).encode()).decode()
    cluster.agent.store(node())
    cluster.agent.store(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "pull", "namespace": "shop"},
                "type": "kubernetes.io/dockerconfigjson",
                "data": {".dockerconfigjson": text},
            }
        )
    )

    async with cluster.leading(), cluster.agent.running():
        await cluster.node_image_is_there()
        cluster.agent.store(job("web", "reg.test/app:v1", pullSecrets=["pull"]))
        await cluster.agent.until(lambda: exists(cluster, "secrets", NODE, "inplaced-node-secrets"), "sealed")
        sealed = cluster.agent.server.document("secrets", NODE, "inplaced-node-secrets")
        await cluster.ended("web")
        cluster.agent.server.remove("imagepulljobs", "web", "shop")
        await cluster.agent.until(
            lambda: not exists(cluster, "secrets", NODE, "inplaced-node-secrets"), "removed"
        )

    assert text not in json.dumps(dict(sealed))
    auth = cluster.agent.node.runtime.requests("PullImage")[-1].auth
    assert (auth.username, auth.password) == ("ada", "lovelace-1815")


async def test_a_second_candidate_takes_over_and_doubles_nothing(cluster: ControllerWorld) -> None:
    cluster.agent.store(node())

    async with cluster.agent.running():
        async with cluster.leading("one"):
            await cluster.agent.until(lambda: exists(cluster, "nodeimages", NODE), "made")
            async with cluster.leading("two"):
                pass
            cluster.agent.store(job("first", "reg.test/app:v1"))
            await cluster.ended("first")
        async with cluster.leading("two"):
            cluster.agent.store(job("second", "reg.test/app:v2"))
            await cluster.ended("second")

    assert len(cluster.agent.node.runtime.requests("PullImage")) == 2


@pytest.mark.parametrize("others", [[], ["example.com/mine"]])
async def test_jobs_that_openkruises_manager_protected_can_be_removed(
    cluster: ControllerWorld, others: list[str]
) -> None:
    """It takes its finalizer from a job that is over: from those that ran when it went, nobody would."""
    server = cluster.agent.server
    cluster.agent.store(node())
    protected = yaml.safe_load(job("web", "reg.test/app:v1"))
    protected["metadata"]["finalizers"] = ["apps.kruise.io/deletion-protection", *others]
    server.store("imagepulljobs", protected)

    async with cluster.leading():
        await cluster.agent.until(
            lambda: "reg.test/app" in cluster.agent.node_image()["spec"].get("images", {}), "asked"
        )
        server.remove("imagepulljobs", "web", "shop")
        if others:
            await cluster.agent.until(
                lambda: server.document("imagepulljobs", "web", "shop")["metadata"]["finalizers"] == others,
                "its own is gone",
            )
            return
        await cluster.agent.until(lambda: not cluster.agent.node_image()["spec"].get("images"), "taken back")

    assert not exists(cluster, "imagepulljobs", "web", "shop")
