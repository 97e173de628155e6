"""The agent tells pods that will change whether their node is prepared for it."""

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from daemon import names
from daemon.cri.v1 import runtime_pb2 as pb
from daemon.debug.views import PullView
from daemon.objects.local_pods import LocalPod
from daemon.preflight.reconciler import Preflight
from tests.fakes.following import running
from tests.functional.pod_world import NODE, PodWorld, pod_world

IMAGE = "registry.example.com:5000/shop/web:v2"
STATUS = "patch pods/status"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[PodWorld]:
    async with pod_world(tmp_path) as made:
        yield made


@pytest.fixture
async def rows(world: PodWorld) -> AsyncIterator[list[PullView]]:
    """The node's pulls; the feature runs beside it."""
    found: list[PullView] = []
    world.around.pulls.follow(lambda: found)
    feature = Preflight(world.around)
    feature.start()
    async with running(feature.controller.run()):
        yield found


def _bring(world: PodWorld, image: str) -> None:
    """Have the image on the node."""
    known = pb.Image(id=f"sha256:{hash(image):x}", repo_tags=[image], size=1000)
    world.runtime.node.images[known.id] = known


def _put(world: PodWorld, name: str = "web", **announced: Any) -> LocalPod:
    text = json.dumps({"revision": "web-2", "images": {"app": IMAGE}, **announced})
    return world.store(
        {
            "metadata": {
                "name": name,
                "namespace": "shop",
                "annotations": {names.NEXT_REVISION_ANNOTATION: text},
            },
            "spec": {
                "nodeName": NODE,
                "containers": [{"name": "app", "image": "a:1", "resources": {"requests": {"cpu": "500m"}}}],
            },
            "status": {"phase": "Running"},
        }
    )


def _condition(world: PodWorld, name: str = "web") -> Mapping[str, Any]:
    conditions = world.server.document("pods", name, "shop")["status"].get("conditions", [])
    return next((each for each in conditions if each["type"] == names.NEXT_REVISION_READY), {})


async def _told(world: PodWorld, reason: str, name: str = "web") -> Mapping[str, Any]:
    await world.server.until(lambda: _condition(world, name).get("reason") == reason)
    return _condition(world, name)


async def test_an_image_that_is_there_is_told_in_one_write(world: PodWorld, rows: list[PullView]) -> None:
    _bring(world, IMAGE)

    _put(world)
    told = await _told(world, "Pulled")

    assert not rows
    assert told["status"] == "True"
    assert told["message"].startswith("web-2: ")
    assert world.server.writes[STATUS] == 1


async def test_a_pull_is_told_with_its_bytes_and_again_when_it_is_done(
    world: PodWorld, rows: list[PullView]
) -> None:
    rows.append(PullView(image=IMAGE, phase="Pulling", percent=40, bytes_done=4 << 20, bytes_total=10 << 20))

    _put(world)
    pulling = await _told(world, "Pulling")
    _bring(world, IMAGE)
    rows[:] = [PullView(image=IMAGE, phase="Succeeded", percent=100)]
    world.around.pulls.changed()
    await _told(world, "Pulled")

    assert pulling["message"] == f"web-2: {IMAGE}: 40 %, 4.0 of 10.0 MiB"
    assert world.server.writes[STATUS] == 2


async def test_a_pull_that_is_done_at_once_is_one_write(world: PodWorld, rows: list[PullView]) -> None:
    rows.append(PullView(image=IMAGE, phase="Pulling"))
    pod = _put(world)
    await world.seen(pod)
    _bring(world, IMAGE)
    rows[:] = [PullView(image=IMAGE, phase="Succeeded")]
    world.around.pulls.changed()

    await _told(world, "Pulled")

    assert world.server.writes[STATUS] == 1


async def test_an_image_that_cannot_be_pulled_is_told_and_an_event_says_so(
    world: PodWorld, rows: list[PullView]
) -> None:
    rows.append(PullView(image=IMAGE, phase="Failed", reason="ImageNotFound", message="no such tag"))

    _put(world)
    told = await _told(world, "PullFailed")
    await world.server.until(lambda: bool(world.events()))

    assert "no such tag" in told["message"]
    assert [reason for reason, _ in world.events()] == ["PullFailed"]


async def test_what_failed_is_ready_once_the_image_is_there_after_all(
    world: PodWorld, rows: list[PullView]
) -> None:
    rows.append(PullView(image=IMAGE, phase="Failed", reason="TimedOut", message="slow"))
    _put(world)
    await _told(world, "PullFailed")

    _bring(world, IMAGE)
    world.around.pulls.changed()

    assert (await _told(world, "Pulled"))["status"] == "True"


async def test_resources_that_the_node_has_not_are_told(world: PodWorld, rows: list[PullView]) -> None:
    assert not rows
    world.server.store(
        "nodes", {"metadata": {"name": NODE}, "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}}}
    )
    other = {"metadata": {"name": "other", "namespace": "shop"}, "status": {"phase": "Running"}}
    size = [{"name": "c", "image": "b", "resources": {"requests": {"cpu": "1"}}}]
    await world.seen(world.store({**other, "spec": {"nodeName": NODE, "containers": size}}))

    _put(world, images={}, resources={"app": {"requests": {"cpu": "1500m"}}})
    _put(world, "fits", images={}, resources={"app": {"requests": {"cpu": "500m"}}})

    assert "1 more is needed" in (await _told(world, "WouldNotFit"))["message"]
    assert (await _told(world, "Pulled", "fits"))["status"] == "True"


async def test_another_announcement_is_answered_anew(world: PodWorld, rows: list[PullView]) -> None:
    assert not rows
    _bring(world, IMAGE)
    _bring(world, "docker.io/library/b:3")
    _put(world)
    await _told(world, "Pulled")

    _put(world, revision="web-3", images={"app": "b:3"})
    await world.server.until(lambda: _condition(world).get("message", "").startswith("web-3: "))

    assert _condition(world)["status"] == "True"


async def test_an_annotation_that_cannot_be_read_costs_nothing(world: PodWorld, rows: list[PullView]) -> None:
    assert not rows
    _bring(world, IMAGE)
    _put(world, "broken", images="none")
    _put(world)

    await _told(world, "Pulled")

    assert not _condition(world, "broken")
