"""An image with a layer of 100 MB comes to all pods of a set: prepared, unprepared, and by new pods.

    .venv/bin/python -m tests.testbed.enter -- .venv/bin/python -m tests.bench.preparing --replicas 10

A whole cluster of one node, with controller and agent of the checkout. Told is how long it takes in all, for
how long each pod was not Ready, and the least of that: from the container's end to the start of its
successor, as the container itself has noted both; of each pod, what is left over that. On one node, all pods
wait for the same pull if they change at the same time, and the first alone if they do one after the other:
that is the worst figure then.
"""

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from tests.testbed import images
from tests.testbed.cluster import Cluster
from tests.testbed.counting import counter
from tests.testbed.pushing import ImageMaker
from tests.testbed.restarting import Restarting, restarting
from tests.testbed.rollouts import METRICS_PORT, exposition_of, settled_in, watching, writes_in
from tests.testbed.session import current_session
from tests.testbed.sets import RealSet

LAYER = 100 * 10**6
UNPREPARED = {"imagePreDownloadMinUpdatedReadyPods": 10_000}
"""Nothing is prepared before so many pods are there."""
WAYS: dict[str, dict[str, Any]] = {
    "in place, prepared": {"type": "InPlaceIfPossible"},
    "in place, unprepared": {"type": "InPlaceIfPossible", "inPlaceUpdateStrategy": UNPREPARED},
    "new pods": {"type": "ReCreate"},
}


async def _image(world: Restarting, number: int) -> str:
    maker = ImageMaker(world.cluster.registry, "preparing")
    layers = [images.busybox_layer(), images.random_layer(f"preparing/{number}", LAYER)]
    return (await maker.make("large", layers, tags=[f"v{number}"])).ref


async def _rollout(world: Restarting, web: RealSet, image: str, way: str) -> dict[str, Any]:
    before = writes_in(await exposition_of()) + writes_in((await world.agent.get("/metrics")).decode())
    count = len(await web.pods())
    async with watching(world.api, web.name) as seen:
        await web.set_image(image)
        took = await settled_in(web, 300)
    pods = await web.pods()
    after = writes_in(await exposition_of()) + writes_in((await world.agent.get("/metrics")).decode())
    to_pods = {kind: number for kind, number in (after - before).items() if " pods" in kind}
    out = {name: each.out for name, each in seen.items()}
    own = {
        str(pod["metadata"]["name"]): world.starts(pod)[-1].at - world.terms(pod)[-1]
        for pod in pods
        if len(world.starts(pod)) > len(world.terms(pod)) > 0  # its successor has noted its start
    }
    return {
        "way": way,
        "seconds": round(took, 2),
        "not Ready, median s": round(statistics.median(out.values()), 2),
        "not Ready, worst s": round(max(out.values()), 2),
        "container alone, median s": round(statistics.median(own.values()), 2) if own else None,
        "writes to pods each": {kind: round(number / count, 2) for kind, number in to_pods.items()},
        "pods": [
            {
                "pod": name,
                "not Ready s": round(out[name], 2),
                "container alone s": round(alone, 2),
                "over the container s": round(out[name] - alone, 2),
            }
            for name, alone in sorted(own.items())
        ],
    }


async def measure(replicas: int, away: str) -> list[dict[str, Any]]:
    """All ways, one after the other, in one cluster."""
    cluster = Cluster(current_session().new_directory("p"), kubelet_settings={"maxPods": 60})
    found = []
    try:
        await cluster.start()
        async with restarting(cluster, central={"listen": f"127.0.0.1:{METRICS_PORT}"}) as world:
            web = RealSet(world.api, "web")
            kept = {"volumes": [{"name": "count", "emptyDir": {}}]}
            template = {"metadata": {"annotations": {"colour": "red"}}, "spec": kept}
            containers = [counter("app", await _image(world, 0))]
            begun: dict[str, Any] = {
                "replicas": replicas,
                "template": template,
                "updateStrategy": {"type": "InPlaceIfPossible"},
            }
            await web.apply(web.document(containers, **begun))
            await web.settled(300)
            for number, (way, strategy) in enumerate(WAYS.items(), 1):
                await web.patch(
                    updateStrategy={
                        "inPlaceUpdateStrategy": None,
                        "maxUnavailable": int(away) if away.isdecimal() else away,
                        **strategy,
                    }
                )
                await web.settled()
                await web.at_rest()
                found.append(await _rollout(world, web, await _image(world, number), way))
    finally:
        await cluster.stop()
        cluster.remove()
    return found


def main(arguments: Sequence[str]) -> int:
    """Measure and print; the figures judge nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, default=10)
    parser.add_argument("--max-unavailable", default="1", help="pods at the same time, such as 100%%")
    options = parser.parse_args(arguments)
    for figures in asyncio.run(measure(options.replicas, options.max_unavailable)):
        pods = figures.pop("pods")
        print(json.dumps(figures))
        for row in pods:
            print(f"  {json.dumps(row)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
