"""Rollouts of a CloneSet with the image on the node: how long, how long each pod is away, what it is written.

    .venv/bin/python -m tests.testbed.enter -- .venv/bin/python -m tests.bench.rollouts --replicas 10

A whole cluster of one node; the controller is a process of its own. Of each pod two times are told: how long
it was not Ready, and how long the kubelet took for the container alone, from changed spec to readiness.
"""

import argparse
import asyncio
import json
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from daemon import names
from tests.bench.processes import effort_of
from tests.testbed.cluster import Cluster
from tests.testbed.processes import until
from tests.testbed.pushing import ImageMaker
from tests.testbed.restarting import Restarting, restarting
from tests.testbed.session import current_session
from tests.testbed.sets import OBEDIENT, PODS, RealSet, condition, identity, status_of, timed

LISTEN = "127.0.0.1:10241"
_REQUEST = re.compile(
    r'^inplaced_api_requests_total\{code="2\d\d",resource="([^"]+)",verb="([^"]+)"\} (\S+)$', re.MULTILINE
)
_WRITES = frozenset({"create", "patch", "delete"})


class Watched:
    """What became of each pod while it was watched, by the time at which that was told."""

    def __init__(self) -> None:
        self.away: dict[str, float] = {}
        self.back: dict[str, float] = {}
        self.changed: dict[str, float] = {}
        self.started: dict[str, float] = {}

    def take(self, pod: Mapping[str, Any], image: str) -> None:
        """A pod looks like this now."""
        name, now = pod["metadata"]["name"], time.monotonic()
        ready = condition(pod, names.READY).get("status") == "True"
        wanted = pod["spec"]["containers"][0]["image"] == image
        if not ready:
            self.away.setdefault(name, now)
        elif wanted and name in self.away:
            self.back.setdefault(name, now)
        if wanted:
            self.changed.setdefault(name, now)
        status = status_of(pod)
        if wanted and status.get("image") == image and status.get("ready"):
            self.started.setdefault(name, now)

    def outages(self) -> list[float]:
        """Seconds that each pod was not Ready."""
        return [self.back[name] - at for name, at in self.away.items() if name in self.back]

    def restarts(self) -> list[float]:
        """Seconds from each pod's changed spec to the readiness of its container: the kubelet's own."""
        return [self.started[name] - at for name, at in self.changed.items() if name in self.started]


@asynccontextmanager
async def watching(web: RealSet, image: str) -> AsyncIterator[Watched]:
    """Follow the pods of *web* on their way to *image*."""
    watched = Watched()
    selected = f"{PODS}?labelSelector=app={web.name}"
    version = (await web.api.get(selected))["metadata"]["resourceVersion"]

    async def follow() -> None:
        path = f"{selected}&watch=1&resourceVersion={version}"
        async with (
            web.api.session() as session,
            session.get(path, timeout=aiohttp.ClientTimeout(None)) as answer,
        ):
            async for line in answer.content:
                watched.take(json.loads(line)["object"], image)

    task = asyncio.create_task(follow())
    try:
        yield watched
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Place:
    """A cluster with controller and agent in it, each a process of its own."""

    def __init__(self, world: Restarting) -> None:
        self.cluster = world.cluster
        self.controller = world.centre.process
        self._agent = world.agent

    async def leads(self) -> bool:
        """Whether the controller has begun."""
        try:
            return 'inplaced_reconciles_total{controller="clonesets"' in await self._metrics()
        except aiohttp.ClientError:
            return False

    async def _metrics(self) -> str:
        async with aiohttp.ClientSession() as session, session.get(f"http://{LISTEN}/metrics") as answer:
            return await answer.text()

    async def writes(self) -> Counter[str]:
        """What controller and agent have written, by who, verb and resource."""
        told = {"controller": await self._metrics(), "agent": (await self._agent.get("/metrics")).decode()}
        return Counter(
            {
                f"{who} {verb} {what}": int(float(number))
                for who, text in told.items()
                for what, verb, number in _REQUEST.findall(text)
                if verb in _WRITES
            }
        )


async def rollout(place: Place, web: RealSet, image: str, strategy: Mapping[str, Any]) -> dict[str, Any]:
    """One image change under *strategy*, measured."""
    await web.patch(updateStrategy=strategy)
    await web.settled()
    before, pods = await place.writes(), await web.pods()
    cpu = effort_of(place.controller.pid).cpu_seconds
    async with watching(web, image) as watched:
        await web.set_image(image)
        seconds = await timed(web.settled(120))
    after = await web.pods()
    stayed = list(map(identity, after)) == list(map(identity, pods))
    written = await place.writes() - before
    written_to_pods = {key: count for key, count in written.items() if " pods" in key}
    outages, restarts = watched.outages(), watched.restarts()
    return {
        "strategy": dict(strategy),
        "seconds": round(seconds, 2),
        "pods stayed": stayed,
        "not Ready, median s": round(statistics.median(outages), 2) if outages else None,
        "not Ready, worst s": round(max(outages), 2) if outages else None,
        "kubelet alone, median s": round(statistics.median(restarts), 2) if restarts else None,
        "over the kubelet, median s": _over(watched),
        "writes to pods each": round(sum(written_to_pods.values()) / len(pods), 2),
        "writes": dict(written),
        "controller cpu s": round(effort_of(place.controller.pid).cpu_seconds - cpu, 2),
    }


def _over(watched: Watched) -> float | None:
    """What is left of the time out of Ready over the kubelet's own time, for the pod in the middle."""
    left = [
        (watched.back[name] - watched.away[name]) - (watched.started[name] - watched.changed[name])
        for name in watched.back.keys() & watched.started.keys() & watched.changed.keys()
    ]
    return round(statistics.median(left), 2) if left else None


async def measure(replicas: int) -> list[dict[str, Any]]:
    """The same change at once, one after the other, and by replacing pods."""
    cluster = Cluster(current_session().new_directory("k"), kubelet_settings={"maxPods": 50})
    try:
        await cluster.start()
        async with restarting(cluster, central={"listen": LISTEN}) as world:
            place = Place(world)
            await until(place.leads, timeout=120, what="the controller to lead", pause=0.2)
            return await _rollouts(place, replicas)
    finally:
        await cluster.stop()
        cluster.remove()


async def _rollouts(place: Place, replicas: int) -> list[dict[str, Any]]:
    maker = ImageMaker(place.cluster.registry, "rollouts")
    images = [
        (await maker.make_runnable("app", [*OBEDIENT, str(number)], tags=[f"v{number}"])).ref
        for number in range(4)
    ]
    warm = RealSet(place.cluster.api, "warm")
    each = [{"name": f"c{number}", "image": image} for number, image in enumerate(images)]
    await warm.apply(warm.document(each, replicas=1))
    await warm.settled()
    await warm.delete()
    web = RealSet(place.cluster.api, "web")
    in_place = {"type": "InPlaceIfPossible"}
    containers = [{"name": "app", "image": images[0]}]
    await web.apply(web.document(containers, replicas=replicas, updateStrategy=in_place))
    await web.settled(180)
    return [
        await rollout(place, web, images[1], {**in_place, "maxUnavailable": "100%"}),
        await rollout(place, web, images[2], {**in_place, "maxUnavailable": 1}),
        await rollout(place, web, images[3], {"type": "ReCreate", "maxUnavailable": "100%"}),
    ]


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, default=10)
    for line in asyncio.run(measure(parser.parse_args(arguments).replicas)):
        print(json.dumps(line))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
