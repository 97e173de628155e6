"""What the release costs as pods of a cluster, and how quick it is beside bare CRI calls.

    .venv/bin/python -m tests.testbed.enter -- .venv/bin/python -m tests.bench.cluster_pods

A real kubelet, API server and containerd share the machine with it: figures of time are those of a busy node.
"""

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import aiohttp

from daemon.cri.channel import Channel
from daemon.cri.client import CriClient
from tests.bench.figures import Figure, show
from tests.bench.processes import effort_of, memory_of
from tests.integration.releases import JOBS, job
from tests.testbed.api import Api
from tests.testbed.cluster_fixtures import installation
from tests.testbed.processes import until
from tests.testbed.product import Installation
from tests.testbed.pushing import Image, ImageMaker
from tests.testbed.session import current_session

MB: Final = 1_000_000
WORKERS: Final = 2
"""Bare calls at the same time: as many as the agent's pulls, by default."""
TOGETHER: Final = 20
TIMEOUT: Final = 120.0
QUIET: Final = 2.5
"""Seconds without a write after which all that jobs cost was written: events come one a second at least."""
SETTLE: Final = 15.0
"""Seconds after the last pod's start until its node is at rest."""
WRITES: Final = re.compile(
    r'^apiserver_request_total\{.*code="(\d+)".*resource="(?:imagepulljobs|nodeimages|events|secrets)"'
    r'.*verb="(?:POST|PUT|PATCH|APPLY|DELETE)".*\} (\S+)$',
    re.MULTILINE,
)


@dataclass(slots=True)
class Bench:
    """What is measured with."""

    release: Installation
    cri: CriClient
    client: aiohttp.ClientSession
    """For the API server."""

    @property
    def api(self) -> Api:
        """As an administrator sees the cluster."""
        return self.release.cluster.api

    @property
    def images(self) -> ImageMaker:
        """Makes images that the node does not have."""
        return ImageMaker(self.release.cluster.registry, "bench")

    async def writes(self) -> tuple[int, int]:
        """Writes to the kinds that jobs need, since the API server began: those done, and those refused."""
        told = WRITES.findall(await self.api.request("GET", "/metrics"))
        done = sum(int(float(count)) for code, count in told if code.startswith("2"))
        return done, sum(int(float(count)) for code, count in told if not code.startswith("2"))

    async def all_writes(self) -> int:
        """Those done when no more come."""
        done = -1
        while (now := (await self.writes())[0]) != done:
            done = now
            await asyncio.sleep(QUIET)
        return done

    async def bare(self, images: Sequence[Image]) -> float:
        """Seconds that the CRI calls alone take."""
        slots = asyncio.Semaphore(WORKERS)

        async def pull(image: Image) -> None:
            async with slots:
                await self.cri.pull_image(image.ref, timeout=TIMEOUT)

        begun = time.monotonic()
        await asyncio.gather(*(pull(image) for image in images))
        return time.monotonic() - begun

    async def asked(self, images: Sequence[Image]) -> float:
        """Seconds from the first request to the moment in which a watch has told of the last job's end."""
        names = {f"bench-{number}": image for number, image in enumerate(images)}
        version = (await self.api.get(JOBS))["metadata"]["resourceVersion"]
        query = {"watch": "1", "resourceVersion": version}
        async with self.client.get(JOBS, params=query) as watch:
            begun = time.monotonic()
            posting = [self.post(job(name, image)) for name, image in names.items()]
            told, _ = await asyncio.gather(_ends(watch, set(names)), asyncio.gather(*posting))
        took = time.monotonic() - begun
        failed = [status for status in told.values() if status["succeeded"] != 1]
        if failed:
            raise RuntimeError(f"{len(failed)} jobs failed: {failed[0]}")
        return took

    async def forget(self) -> None:
        """Take all jobs away again."""
        await self.api.request("DELETE", JOBS)

    async def post(self, body: Any) -> None:
        """Make a job."""
        async with self.client.post(JOBS, json=body) as answer:
            answer.raise_for_status()

    async def pid_of(self, component: str) -> int:
        """The main process of the pod that does that component's work: of controllers the one that leads."""
        path = f"/api/v1/namespaces/{self.release.namespace}/pods"
        pods = (await self.api.get(f"{path}?labelSelector=app.kubernetes.io/component={component}"))["items"]
        leases = f"/apis/coordination.k8s.io/v1/namespaces/{self.release.namespace}/leases"
        leader = (await self.api.get(f"{leases}/inplaced.controller"))["spec"]["holderIdentity"]
        pod = next(each for each in pods if component == "agent" or each["metadata"]["name"] == leader)
        container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
        tasks = (await self.release.cluster.containerd.ctr("tasks", "ls")).splitlines()
        return next(int(line.split()[1]) for line in tasks if line.startswith(container))


async def _ends(watch: aiohttp.ClientResponse, names: set[str]) -> dict[str, Any]:
    """The last status of each of those jobs."""
    ended: dict[str, Any] = {}
    async with asyncio.timeout(TIMEOUT):
        while ended.keys() != names:
            found = json.loads(await watch.content.readline())["object"]
            if found.get("status", {}).get("completionTime"):
                ended[found["metadata"]["name"]] = found["status"]
    return ended


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    """The release in a cluster."""
    async with installation(current_session()) as release:
        channel = Channel(str(release.cluster.containerd.socket))
        try:
            async with release.cluster.api.session() as client:
                yield Bench(release, CriClient(channel), client)
        finally:
            await channel.close()


async def compared(made: Bench, name: str, count: int, sizes: Sequence[int], runs: int) -> list[Figure]:
    """Both ways in turn, each time with images that nobody has."""
    ours: list[float] = []
    theirs: list[float] = []
    writes: list[int] = []
    for run in range(runs):
        for seconds, way in ((theirs, made.bare), (ours, made.asked)):
            prefix = f"{name.replace(' ', '-').lower()}-{run}-{way.__name__}"
            images = [await made.images.make_random(f"{prefix}-{each}", *sizes) for each in range(count)]
            before, _ = await made.writes()
            seconds.append(await way(images))
            if way == made.asked:
                writes.append(await made.all_writes() - before - count)
                await made.forget()
            for image in images:
                await made.cri.remove_image(image.ref)
    return _figures(name, count, median(ours), median(theirs), max(writes))


def _figures(name: str, count: int, ours: float, theirs: float, writes: int) -> list[Figure]:
    held = ours <= theirs + 0.3 if count == 1 else ours <= 1.5 * theirs
    most = 5 if count == 1 else 60
    ratio = f"{ours:.2f} s, bare {theirs:.2f} s: {ours / theirs:.2f}x, {ours - theirs:+.2f} s"
    return [
        Figure(name, ratio, "<= +0.3 s" if count == 1 else "<= 1.5x", held),
        # Progress is among them, and there is the more of it the longer the pulls last.
        Figure(f"{name}: API writes", f"{writes} at most", f"<= {most}", writes <= most or None),
    ]


async def at_rest(made: Bench, pods: int, seconds: float) -> list[Figure]:
    """With *pods* on the node: memory, then processor time doing nothing and at one change a second."""
    image = await made.images.make_runnable("busybox")
    await _run_pods(made, image, pods)
    await asyncio.sleep(SETTLE)
    agent, controller = await made.pid_of("agent"), await made.pid_of("controller")
    idle = await _efforts(seconds, agent, controller)
    memory, central = memory_of(agent), memory_of(controller)
    changing = asyncio.create_task(_change_pods(made, pods))
    busy = await _efforts(seconds, agent, controller)
    changing.cancel()
    await asyncio.gather(changing, return_exceptions=True)
    small = memory.rss <= 60 and memory.pss <= 60
    sizes = f"RSS {memory.rss:.1f}, PSS {memory.pss:.1f} MiB"
    dirty = f"{memory.dirty:.1f} MiB"
    return [
        Figure(f"agent with {pods} pods", sizes, "<= 60 MiB each", small),
        Figure("agent: private dirty", dirty, "<= 32 MiB", memory.dirty <= 32),
        Figure("agent at rest", f"{idle[0]:.3f} % of a core", "<= 0.1 %", idle[0] <= 0.1),
        Figure("agent, one pod change a second", f"{busy[0]:.3f} %", "<= 0.25 %", busy[0] <= 0.25),
        Figure("controller", f"RSS {central.rss:.1f} MiB", "<= 80 MiB", central.rss <= 80),
        Figure("controller at rest", f"{idle[1]:.3f} % of a core", "<= 0.3 %", idle[1] <= 0.3),
        Figure("controller, one pod change a second", f"{busy[1]:.3f} %"),
    ]


async def _run_pods(made: Bench, image: Image, count: int) -> None:
    container = {"name": "app", "image": image.ref, "resources": {"requests": {"cpu": "1m"}}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    labels = {"app": "idle"}
    template = {"metadata": {"labels": labels}, "spec": spec}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "idle"},
        "spec": {"replicas": count, "selector": {"matchLabels": labels}, "template": template},
    }
    await made.api.apply(body)

    async def ready() -> bool:
        found = await made.api.get("/apis/apps/v1/namespaces/default/deployments/idle")
        return bool(found["status"].get("readyReplicas", 0) == count)

    await until(ready, timeout=600.0, what=f"{count} pods", pause=1.0)


async def _change_pods(made: Bench, count: int) -> None:
    """Annotate one pod after the other, one a second."""
    pods = (await made.api.get("/api/v1/namespaces/default/pods?labelSelector=app=idle"))["items"]
    names = [each["metadata"]["name"] for each in pods[:count]]
    headers = {"Content-Type": "application/merge-patch+json"}
    number = 0
    while True:
        body = json.dumps({"metadata": {"annotations": {"example.com/number": str(number)}}})
        path = f"/api/v1/namespaces/default/pods/{names[number % len(names)]}"
        async with made.client.patch(path, data=body, headers=headers) as answer:
            answer.raise_for_status()
        number += 1
        await asyncio.sleep(1.0)


async def _efforts(seconds: float, *pids: int) -> list[float]:
    """Percent of a core that each process used in these seconds."""
    before, begun = [effort_of(pid).cpu_seconds for pid in pids], time.monotonic()
    await asyncio.sleep(seconds)
    took = time.monotonic() - begun
    return [100 * (effort_of(pid).cpu_seconds - was) / took for pid, was in zip(pids, before, strict=True)]


async def measure(pods: int, seconds: float, runs: int) -> list[Figure]:
    """All figures."""
    async with bench() as made:
        await compared(made, "warm up", 1, [MB], 1)
        figures = await compared(made, "job of 1 MB", 1, [MB], runs)
        figures += await compared(made, "job of 200 MB in 4 layers", 1, [50 * MB] * 4, runs)
        figures += await compared(made, f"{TOGETHER} jobs of 1 MB at once", TOGETHER, [MB], runs)
        figures += await compared(made, f"{TOGETHER} jobs of 25 MB at once", TOGETHER, [25 * MB], 1)
        _, refused = await made.writes()
        figures.append(Figure("refused writes, conflicts among them", str(refused)))
        return figures + await at_rest(made, pods, seconds)


def main(arguments: Sequence[str]) -> int:
    """Measure and print; the figures judge nothing."""
    parser = argparse.ArgumentParser(prog="cluster_pods", description=__doc__)
    parser.add_argument("--pods", type=int, default=50, help="on the node, besides the release's own")
    parser.add_argument("--seconds", type=float, default=60.0, help="for which processor time is counted")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args(arguments)
    figures = asyncio.run(measure(options.pods, options.seconds, options.runs))
    show("as pods of a cluster; medians", figures)
    if options.json:
        options.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
