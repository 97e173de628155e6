"""Rollouts in place on a real kubelet, with controller and agent: prepared, changed once, verified."""

import asyncio
import json
import random
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
import pytest_asyncio

from daemon import names
from tests.testbed import images
from tests.testbed.cluster import Cluster
from tests.testbed.counting import counter
from tests.testbed.pushing import Image, ImageMaker
from tests.testbed.restarting import Restarting, restarting
from tests.testbed.rollouts import METRICS_PORT, exposition_of, settled_in, watching, writes_in
from tests.testbed.session import Session
from tests.testbed.sets import RealSet, condition, identity, status_of

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.integration]

REPLICAS = 5
LAYER = 100 * 10**6
ALL_AT_ONCE = {"type": "InPlaceIfPossible", "maxUnavailable": "100%"}
ONE_BY_ONE = {"type": "InPlaceIfPossible", "maxUnavailable": 1}
KEPT = {"volumes": [{"name": "count", "emptyDir": {}}]}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(testbed: Session) -> AsyncIterator[Restarting]:
    """A cluster of its own with agent and controller."""
    cluster = Cluster(testbed.new_directory("u"))
    try:
        await cluster.start()
        async with restarting(cluster, central={"listen": f"127.0.0.1:{METRICS_PORT}"}) as started:
            yield started
    finally:
        await cluster.stop()
        cluster.remove()


@pytest_asyncio.fixture(loop_scope="session")
async def web(world: Restarting, prefix: str) -> AsyncIterator[RealSet]:
    """A set of a name of its own, removed in the end."""
    made = RealSet(world.api, f"web-{zlib.crc32(prefix.encode()):x}")
    yield made
    await made.discard()


def _pod(colour: str = "red") -> dict[str, Any]:
    return {"metadata": {"annotations": {"colour": colour}}, "spec": KEPT}


def _app(ref: str, cpu: str = "10m") -> dict[str, Any]:
    return {**counter("app", ref), "resources": {"requests": {"cpu": cpu}}}


async def _begin(web: RealSet, containers: list[dict[str, Any]], **spec: Any) -> list[dict[str, Any]]:
    """Have pods of these containers; return them when they are ready."""
    wanted = {"replicas": REPLICAS, "updateStrategy": ALL_AT_ONCE, "template": _pod(), **spec}
    await web.apply(web.document(containers, **wanted))
    await web.settled()
    return await web.pods()


async def _large(world: Restarting, prefix: str, *tags: str) -> list[Image]:
    """Runnable images, one for each tag, with a large layer of its own."""
    maker = ImageMaker(world.cluster.registry, prefix.lower())
    return [
        await maker.make(
            "large", [images.busybox_layer(), images.random_layer(f"{prefix}/{tag}", LAYER)], tags=[tag]
        )
        for tag in tags
    ]


async def _writes(world: Restarting) -> Counter[str]:
    agent = (await world.agent.get("/metrics")).decode()
    return writes_in(agent) + writes_in(await exposition_of())


def _rounded(seconds: Iterable[float]) -> list[float]:
    return [round(each, 2) for each in seconds]


def _of_pods(writes: Counter[str]) -> dict[str, int]:
    return {kind: count for kind, count in writes.items() if " pods" in kind}


async def test_pods_stay_and_only_the_changed_container_restarts_once(
    world: Restarting, web: RealSet
) -> None:
    first, second = world.image.ref, f"{world.image.name}:v2"
    before = await _begin(web, [_app(first), counter("side", first)])
    written = await _writes(world)

    async with watching(world.api, web.name) as seen:
        await web.set_image(second)
        took = await settled_in(web)
    after = await web.pods()
    cost = _of_pods(await _writes(world) - written)

    print(f"{REPLICAS} pods in {took:.2f} s; out {_rounded(each.out for each in seen.values())}; {cost}")
    assert list(map(identity, after)) == list(map(identity, before))
    for old, new in zip(before, after, strict=True):
        assert status_of(new, "side")["containerID"] == status_of(old, "side")["containerID"]
        assert [status_of(new, each)["restartCount"] for each in ("app", "side")] == [1, 0]
        assert len(world.starts(new)) == 2


async def test_image_environment_and_resources_in_one_revision_are_one_restart(
    world: Restarting, web: RealSet
) -> None:
    first, second = world.image.ref, f"{world.image.name}:v2"
    before = await _begin(web, [_app(first), counter("side", first)], replicas=3)

    template = web.document([_app(second, "20m"), counter("side", first)], template=_pod("blue"))
    await web.patch(template=template["spec"]["template"])
    await web.settled()
    after = await web.pods()

    assert list(map(identity, after)) == list(map(identity, before))
    for pod in after:
        assert [[each.colour for each in world.starts(pod, name)] for name in ("app", "side")] == [
            ["red", "blue"],
            ["red", "blue"],
        ]
        assert status_of(pod)["resources"]["requests"]["cpu"] == "20m"
        assert pod["metadata"]["annotations"][names.POD_RESTART_COUNT_ANNOTATION] == "0"
        counts = json.loads(pod["metadata"]["annotations"][names.RESTART_COUNTS_ANNOTATION])
        assert {name: each["restartCount"] for name, each in counts.items()} == {"app": 0, "side": 0}


async def test_a_large_image_is_on_the_node_before_anything_stops(
    world: Restarting, web: RealSet, prefix: str
) -> None:
    first, second = await _large(world, prefix, "v1", "v2")
    await _begin(web, [_app(first.ref)], updateStrategy=ONE_BY_ONE)

    async with watching(world.api, web.name) as seen:
        await web.set_image(second.ref)
        await web.settled()
    pods = await web.pods()

    assert [each.prepared for each in seen.values()] == [["Pulled"]] * REPLICAS
    assert [status_of(pod)["restartCount"] for pod in pods] == [1] * REPLICAS
    assert not any(condition(pod, names.NEXT_REVISION_READY) for pod in pods)


async def test_an_image_that_cannot_be_pulled_costs_nobody_anything(world: Restarting, web: RealSet) -> None:
    before = await _begin(web, [_app(world.image.ref)], replicas=2)

    async with watching(world.api, web.name) as seen:
        await web.set_image(f"{world.image.name}:missing")
        told = await web.says("FailedUpdate", "True")
        await web.set_image(world.image.ref)
        await web.settled()

    assert "PullFailed" in told["message"]
    assert [each.out for each in seen.values()] == [0.0, 0.0]
    after = await web.pods()
    assert [status_of(pod)["containerID"] for pod in after] == [
        status_of(pod)["containerID"] for pod in before
    ]
    assert all(names.NEXT_REVISION_ANNOTATION not in pod["metadata"]["annotations"] for pod in after)


@pytest.mark.parametrize("who", ["controller", "agent"])
async def test_whoever_is_killed_again_and_again_no_pod_is_left_behind(
    world: Restarting, web: RealSet, who: str
) -> None:
    refs, chance = [world.image.ref, f"{world.image.name}:v2"], random.Random(7)
    await _begin(web, [_app(refs[0])], updateStrategy={**ONE_BY_ONE, "maxUnavailable": 2})

    for number in range(1, 5):
        colour = ("red", "blue")[number % 2]
        template = web.document([_app(refs[number % 2])], template=_pod(colour))["spec"]["template"]
        await web.patch(template=template)
        for _ in range(2):
            await asyncio.sleep(chance.uniform(0.0, 1.0))  # whatever is done just then
            await _kill(world, who)
        await web.settled(120)

    pods = await web.pods()
    assert [[each.colour for each in world.starts(pod)] for pod in pods] == [
        ["red", "blue", "red", "blue", "red"]
    ] * REPLICAS


async def _kill(world: Restarting, who: str) -> None:
    if who == "agent":
        await world.agent.kill()
        await world.agent.start()
    else:
        await world.centre.process.kill()
        world.centre.process.start()
