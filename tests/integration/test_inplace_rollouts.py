"""Rollouts in place on a real kubelet, with controller and agent: prepared, changed once, verified."""

import asyncio
import json
import random
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from daemon import names
from tests.testbed import images
from tests.testbed.cluster import Cluster
from tests.testbed.counting import counter
from tests.testbed.faults import hold
from tests.testbed.faulty import FaultyRegistry
from tests.testbed.pushing import Image, ImageMaker
from tests.testbed.restarting import Restarting, boot_time, restarting
from tests.testbed.rollouts import (
    METRICS_PORT,
    exposition_of,
    of_pods,
    ranked,
    rounded,
    settled_in,
    watching,
    writes_in,
)
from tests.testbed.session import Session
from tests.testbed.sets import RealSet, condition, identity, status_of

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.integration]

REPLICAS = 5
LAYER = 100 * 10**6
LAG = 0.1
"""Seconds after which a container on a busy machine writes down that it runs: a restart takes far longer."""
ALL_AT_ONCE = {"type": "InPlaceIfPossible", "maxUnavailable": "100%"}
ONE_BY_ONE = {"type": "InPlaceIfPossible", "maxUnavailable": 1}
KEPT = {"volumes": [{"name": "count", "emptyDir": {}}]}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(testbed: Session) -> AsyncIterator[Restarting]:
    """A cluster of its own with agent and controller; the other sets are on containerd 1.6."""
    cluster = Cluster(testbed.new_directory("u"), "2.3")
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


def _template(web: RealSet, *containers: dict[str, Any], colour: str = "red") -> dict[str, Any]:
    found: dict[str, Any] = web.document(containers, template=_pod(colour))["spec"]["template"]
    return found


async def _begin(web: RealSet, containers: list[dict[str, Any]], **spec: Any) -> list[dict[str, Any]]:
    """Have pods of these containers; return them when they are ready."""
    wanted = {"replicas": REPLICAS, "updateStrategy": ALL_AT_ONCE, "template": _pod(), **spec}
    await web.apply(web.document(containers, **wanted))
    await web.settled()
    return await web.pods()


async def _large(world: Restarting, prefix: str, *tags: str) -> list[Image]:
    """Runnable images, one for each tag, with a large layer of its own."""
    maker, layer = ImageMaker(world.cluster.registry, prefix.lower()), images.busybox_layer()
    large = {tag: images.random_layer(f"{prefix}/{tag}", LAYER) for tag in tags}
    return [await maker.make("large", [layer, each], tags=[tag]) for tag, each in large.items()]


def _progress(pod: dict[str, Any]) -> str:
    return str(condition(pod, names.NEXT_REVISION_READY).get("message", ""))


def _containers(pods: list[dict[str, Any]]) -> list[str]:
    return [status_of(pod)["containerID"] for pod in pods]


async def _writes(world: Restarting) -> Counter[str]:
    agent = (await world.agent.get("/metrics")).decode()
    return writes_in(agent) + writes_in(await exposition_of())


async def test_pods_stay_and_only_the_changed_container_restarts_once(
    world: Restarting, web: RealSet
) -> None:
    first, second = world.image.ref, f"{world.image.name}:v2"
    before = await _begin(web, [_app(first), counter("side", first)])
    written, central = await _writes(world), writes_in(await exposition_of())

    async with watching(world.api, web.name) as seen:
        await web.set_image(second)
        took = await settled_in(web)
    after = await web.pods()
    cost = of_pods(await _writes(world) - written)
    central = writes_in(await exposition_of()) - central

    print(f"{REPLICAS} pods in {took:.2f} s; out {rounded(each.out for each in seen.values())}; {cost}")
    # Out of traffic, the change, back in traffic; the agent's own depend on how long a restart takes.
    assert [central[f"patch {what}"] for what in ("pods/status", "pods")] == [2 * REPLICAS, REPLICAS]
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

    await web.patch(template=_template(web, _app(second, "20m"), counter("side", first), colour="blue"))
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

    print(f"out {rounded(each.out for each in seen.values())}")
    for pod in await web.pods():
        told = [(reason, note) for _, reason, note in await world.events(pod["metadata"]["name"])]
        assert not [note for reason, note in told if reason == "Pulling" and second.ref in note]
        assert status_of(pod)["restartCount"] == 1


async def test_pods_are_told_how_far_an_image_is_that_takes_long_and_serve_meanwhile(
    world: Restarting, web: RealSet, prefix: str
) -> None:
    slow = FaultyRegistry()
    await slow.start()
    try:
        layers = [images.busybox_layer(), images.random_layer(prefix, LAYER // 10)]
        image = await ImageMaker(slow, prefix.lower()).make("slow", layers)
        slow.go_wrong(hold(LAYER // 20, layers[1].digest))
        await _begin(web, [_app(world.image.ref)], replicas=2, updateStrategy=ONE_BY_ONE)

        async with watching(world.api, web.name) as seen:
            await web.set_image(image.ref)
            for pod in await web.pods():
                await world.until(pod["metadata"]["name"], lambda each: "MiB" in _progress(each), "told")
            outages = [each.out for each in seen.values()]
            slow.recover()
            await web.settled()
        pods = await web.pods()
    finally:
        await slow.stop()

    assert outages == [0.0, 0.0]
    assert [each.prepared for each in seen.values()] == [["Pulled"]] * 2
    assert not any(condition(pod, names.NEXT_REVISION_READY) for pod in pods)


async def test_resources_for_which_the_node_has_no_room_cost_nobody_anything(
    world: Restarting, web: RealSet
) -> None:
    first, second = world.image.ref, f"{world.image.name}:v2"
    before = await _begin(web, [_app(first)], replicas=2)

    async with watching(world.api, web.name) as seen:
        await web.patch(template=_template(web, _app(second, "1000")))
        told = await web.says("FailedUpdate", "True")
        answers = [condition(pod, names.NEXT_REVISION_READY) for pod in await web.pods()]
        await web.patch(template=_template(web, _app(first)))
        await web.settled()

    assert "WouldNotFit" in told["message"]
    assert [each["reason"] for each in answers] == ["WouldNotFit"] * 2
    assert "cpu" in answers[0]["message"]
    assert [each.out for each in seen.values()] == [0.0, 0.0]
    after = await web.pods()
    assert _containers(after) == _containers(before)
    assert not any(condition(pod, names.NEXT_REVISION_READY) for pod in after)


async def test_a_pod_is_out_of_traffic_for_its_grace_period_before_it_changes(
    world: Restarting, web: RealSet
) -> None:
    grace = {"inPlaceUpdateStrategy": {"gracePeriodSeconds": 2}}
    await _begin(web, [_app(world.image.ref)], replicas=2, updateStrategy={**ALL_AT_ONCE, **grace})

    async with watching(world.api, web.name) as seen:
        await web.set_image(f"{world.image.name}:v2")
        await web.settled()

    since_boot = boot_time() - time.monotonic()
    for pod in await web.pods():
        (out,) = [at for at, open_ in seen[pod["metadata"]["name"]].gate if not open_]
        (ended,) = world.terms(pod)
        # Conditions tell whole seconds, by which the period may be shorter.
        assert 1.0 <= ended - (out + since_boot) < 10.0
        assert len(world.starts(pod)) == 2
        assert names.GRACE_ANNOTATION not in pod["metadata"]["annotations"]


async def test_containers_change_by_priority_each_batch_when_the_one_before_is_ready(
    world: Restarting, web: RealSet
) -> None:
    refs = world.image.ref, f"{world.image.name}:v2"
    before, after = ([ranked("app", ref, 1), ranked("side", ref, 5)] for ref in refs)
    await _begin(web, before, replicas=2)

    await web.patch(template=_template(web, *after))
    await web.settled()

    for pod in await web.pods():
        state = json.loads(pod["metadata"]["annotations"][names.STATE_ANNOTATION])
        assert [each["containers"] for each in state["containerBatchesRecord"]] == [["side"], ["app"]]
        assert world.starts(pod, "side")[1].at <= world.terms(pod, "app")[0] + LAG
        assert [status_of(pod, each)["restartCount"] for each in ("app", "side")] == [1, 1]


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
    assert _containers(after) == _containers(before)
    assert all(names.NEXT_REVISION_ANNOTATION not in pod["metadata"]["annotations"] for pod in after)


@pytest.mark.parametrize("who", ["controller", "agent"])
async def test_whoever_is_killed_again_and_again_no_pod_is_left_behind(
    world: Restarting, web: RealSet, who: str
) -> None:
    refs, chance = [world.image.ref, f"{world.image.name}:v2"], random.Random(7)
    await _begin(web, [_app(refs[0])], updateStrategy={**ONE_BY_ONE, "maxUnavailable": 2})

    for number in range(1, 5):
        colour = ("red", "blue")[number % 2]
        await web.patch(template=_template(web, _app(refs[number % 2]), colour=colour))
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
