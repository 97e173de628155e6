"""What the controller says in events of jobs: ``kubectl describe`` tells what became of them, and why."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from tests.functional.agent_world import agent_world
from tests.functional.controller_world import ControllerWorld, job, node

CONTROLLER = "inplaced.dev/controller"
Told = tuple[str, str, str]


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[ControllerWorld]:
    async with agent_world(tmp_path) as below:
        below.node.node.offer("reg.test/app:v1")
        below.store(node())
        yield ControllerWorld(below)


def told(cluster: ControllerWorld, kind: str, name: str) -> list[Told]:
    """Type, reason and note of each event of the controller on that job."""
    events = cluster.agent.server.storage.of("events").values()
    return [
        (each["type"], each["reason"], each["note"])
        for each in events
        if each["reportingController"] == CONTROLLER
        and (each["regarding"]["kind"], each["regarding"]["name"]) == (kind, name)
    ]


@pytest.mark.parametrize("completion", ["Always", "Never"])
async def test_a_job_whose_image_is_everywhere_says_so_once(
    cluster: ControllerWorld, completion: str
) -> None:
    async with cluster.leading(), cluster.agent.running():
        cluster.agent.store(job("web", "reg.test/app:v1", completionPolicy={"type": completion}))
        await cluster.agent.until(lambda: told(cluster, "ImagePullJob", "web"), "it is said")

    assert told(cluster, "ImagePullJob", "web") == [("Normal", "Completed", "1 of 1 nodes have the image")]


async def test_a_failure_is_a_warning_with_its_reason(cluster: ControllerWorld) -> None:
    async with cluster.leading(), cluster.agent.running():
        cluster.agent.store(job("web", "reg.test/missing:v1", pullPolicy={"backoffLimit": 0}))
        await cluster.agent.until(lambda: told(cluster, "ImagePullJob", "web"), "it is said")

    ((type_, reason, note),) = told(cluster, "ImagePullJob", "web")
    assert (type_, reason) == ("Warning", "ImageNotFound")
    assert note.startswith("1 of 1 nodes failed; ")


async def test_a_secret_that_is_missing_is_named(cluster: ControllerWorld) -> None:
    async with cluster.leading(), cluster.agent.running():
        cluster.agent.store(job("web", "reg.test/app:v1", pullSecrets=["gone"]))
        await cluster.agent.until(lambda: told(cluster, "ImagePullJob", "web"), "it is said")

    type_, reason, note = told(cluster, "ImagePullJob", "web")[0]
    assert (type_, reason) == ("Warning", "PullSecretNotFound")
    assert "there is no Secret shop/gone" in note


async def test_a_list_names_the_image_that_failed(cluster: ControllerWorld) -> None:
    made = yaml.safe_load(job("base", ""))
    spec = {"images": ["reg.test/app:v1", "reg.test/missing:v1"], "pullPolicy": {"backoffLimit": 0}}
    async with cluster.leading(), cluster.agent.running():
        cluster.agent.store(yaml.safe_dump(made | {"kind": "ImageListPullJob", "spec": spec}))
        await cluster.agent.until(lambda: told(cluster, "ImageListPullJob", "base"), "it is said")

    ((type_, reason, note),) = told(cluster, "ImageListPullJob", "base")
    assert (type_, reason) == ("Warning", "PullFailed")
    assert "reg.test/missing:v1: 1 of 1 nodes failed" in note
