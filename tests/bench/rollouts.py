"""Rollouts of a CloneSet with the image on the node: how long, how long each pod is away, what it is written.

    .venv/bin/python -m tests.testbed.enter -- .venv/bin/python -m tests.bench.rollouts --replicas 10

A whole cluster of one node; the controller is a process of its own. Of each pod is told for how long it was
not Ready, how long the kubelet took for the container alone, from changed spec to readiness, what is left
over that, and when each step was. One write is not a pod's: each revision is tried once (``dryRun``).
"""

import argparse
import asyncio
import json
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from tests.bench.processes import effort_of
from tests.bench.timelines import known, watching
from tests.testbed.cluster import Cluster
from tests.testbed.processes import until
from tests.testbed.pushing import ImageMaker
from tests.testbed.restarting import Restarting, restarting
from tests.testbed.session import current_session
from tests.testbed.sets import OBEDIENT, RealSet, identity, timed

LISTEN = "127.0.0.1:10241"
_REQUEST = re.compile(
    r'^inplaced_api_requests_total\{code="2\d\d",resource="([^"]+)",verb="([^"]+)"\} (\S+)$', re.MULTILINE
)
_WRITES = frozenset({"create", "patch", "delete"})


class Place:
    """A cluster with controller and agent in it, each a process of its own."""

    def __init__(self, world: Restarting) -> None:
        self.cluster = world.cluster
        self.controller = world.centre.process
        self._agent = world.agent

    def efforts(self) -> dict[str, float]:
        """Seconds of processor time so far."""
        pids = {"controller": self.controller.pid, "agent": self._agent.pid}
        return {who: effort_of(pid).cpu_seconds for who, pid in pids.items()}

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
    await web.at_rest()
    before, pods = await place.writes(), await web.pods()
    cpu = place.efforts()
    async with watching(web, image) as seen:
        began = time.monotonic()
        await web.set_image(image)
        seconds = await timed(web.settled(120))
    after = await web.pods()
    stayed = list(map(identity, after)) == list(map(identity, pods))
    written = await place.writes() - before
    to_pods = {key: round(count / len(pods), 2) for key, count in written.items() if "patch pods" in key}
    out, restarts = known(each.out for each in seen.values()), known(each.restart for each in seen.values())
    over = known(each.over for each in seen.values())
    return {
        "strategy": dict(strategy),
        "seconds": round(seconds, 2),
        "pods stayed": stayed,
        "not Ready, median s": _median(out),
        "not Ready, worst s": round(max(out), 2) if out else None,
        "kubelet alone, median s": _median(restarts),
        "kubelet alone, worst s": round(max(restarts), 2) if restarts else None,
        "over the kubelet, median s": _median(over),
        "writes to a pod": round(sum(to_pods.values()), 2),
        "of these": to_pods,
        "writes in all": dict(written),
        "cpu s": {who: round(now - cpu[who], 2) for who, now in place.efforts().items()},
        "pods": [timeline.row(name, began) for name, timeline in sorted(seen.items())],
    }


def _median(figures: Sequence[float]) -> float | None:
    return round(statistics.median(figures), 2) if figures else None


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
    for figures in asyncio.run(measure(parser.parse_args(arguments).replicas)):
        pods = figures.pop("pods")
        print(json.dumps(figures))
        for row in pods:
            print(f"  {json.dumps(row)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
