"""How fast a ContainerRecreateRequest is served on a real kubelet, and how many writes it costs.

Run as ``python -m tests.testbed.enter -- python -m tests.bench.recreating``. Each request is for a pod of its
own, so that the kubelet's back-off after a restart does not enter into it. The container tells itself when it
was asked to end; all else is when a watch of this process brings it.
"""

import argparse
import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import aiohttp

from daemon import names
from tests.testbed.cluster import Cluster
from tests.testbed.counting import counting
from tests.testbed.processes import until
from tests.testbed.restarting import Restarting, boot_time, restarting
from tests.testbed.session import current_session

PODS = "/api/v1/namespaces/default/pods"
REQUESTS = f"/apis/{names.KRUISE_API}/namespaces/default/containerrecreaterequests"
WRITES = re.compile(
    r'^apiserver_request_total\{(?=.*code="2\d\d")(?=.*verb="(?:POST|PUT|PATCH|APPLY|DELETE)")'
    r'(?=.*(?:resource="containerrecreaterequests"|group="events\.k8s\.io")).*\} (\S+)$',
    re.MULTILINE,
)
OWN_WRITES = re.compile(
    r'^inplaced_api_requests_total\{(?=.*resource="pods/status").*\} (\S+)$', re.MULTILINE
)
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Served:
    """What became of one request: seconds, and writes by agent and controller."""

    stopped: float
    """From the POST to the signal in the container."""
    ready: float
    """From the POST to the successor's readiness."""
    completed: float
    """From the successor's readiness to the request's end."""
    writes: float


@dataclass(slots=True)
class Seen:
    """When a watch brought the first object for which something held."""

    moments: dict[str, float] = field(default_factory=dict)
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def mark(self, name: str) -> None:
        """It has just been seen."""
        self.moments.setdefault(name, boot_time())
        self.moved.set()

    async def at(self, name: str) -> float:
        """When it was seen; waits for it."""
        async with asyncio.timeout(PATIENCE):
            while name not in self.moments:
                self.moved.clear()
                await self.moved.wait()
        return self.moments[name]


@asynccontextmanager
async def watching(
    client: aiohttp.ClientSession, path: str, take: Callable[[Mapping[str, Any]], None]
) -> AsyncIterator[None]:
    """Have *take* called with each object that changes, until the end of the block."""

    async def follow() -> None:
        timeout = aiohttp.ClientTimeout(total=None)
        async with client.get(path, params={"watch": "1"}, timeout=timeout) as answer:
            async for line in answer.content:
                take(json.loads(line)["object"])

    task = asyncio.create_task(follow())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def make(run: Restarting, seen: Seen, name: str) -> Mapping[str, Any]:
    """A pod that runs, and on which nothing else is to act."""
    wanted = counting(name, run.image.ref)
    wanted["metadata"]["annotations"] = {"colour": "red"}
    async with run.client.post(PODS, json=wanted) as answer:
        answer.raise_for_status()
        pod: Mapping[str, Any] = await answer.json()
    await seen.at(f"{name} ready 0")

    async def listens() -> bool:
        return bool(run.starts(pod))

    await until(listens, timeout=PATIENCE, what=f"{name} to listen to signals", pause=0.02)
    return pod


async def ask(run: Restarting, name: str) -> float:
    """Post a request for the pod of that name; the answer is when."""
    body = {
        "apiVersion": names.KRUISE_API,
        "kind": "ContainerRecreateRequest",
        "metadata": {"name": name},
        "spec": {"podName": name, "containers": [{"name": "app"}]},
    }
    posted = boot_time()
    async with run.client.post(REQUESTS, json=body) as answer:
        answer.raise_for_status()
    return posted


async def serve(run: Restarting, seen: Seen, name: str) -> Served:
    """Have one request served, while nothing else happens."""
    pod = await make(run, seen, name)
    before = await writes(run)
    posted = await ask(run, name)
    ready, completed = await seen.at(f"{name} ready 1"), await seen.at(f"{name} completed")
    (stopped,) = run.terms(pod)
    await asyncio.sleep(1.0)  # events are written behind: this is how long they are waited for
    after = await writes(run)
    await run.delete(name)
    return Served(stopped - posted, ready - posted, completed - ready, after - before - 1)


async def serve_together(run: Restarting, seen: Seen, count: int) -> list[float]:
    """Have many requests served at once; the answer is the seconds from each post to the stop."""
    numbered = [f"together-{number}" for number in range(count)]
    pods = [await make(run, seen, name) for name in numbered]
    posted = await asyncio.gather(*(ask(run, name) for name in numbered))
    for name in numbered:
        await seen.at(f"{name} completed")
    stopped = [run.terms(pod) for pod in pods]
    assert [len(each) for each in stopped] == [1] * count, "each is stopped once"
    await run.delete(*numbered)
    return [at - then for (at,), then in zip(stopped, posted, strict=True)]


async def writes(run: Restarting) -> float:
    """Successful writes to requests and events, and the agent's to pods."""
    async with run.client.get("/metrics") as answer:
        told = await answer.text()
    own = (await run.agent.get("/metrics")).decode()
    counts = [*WRITES.findall(told), *OWN_WRITES.findall(own)]
    return sum(float(count) for count in counts)


def takers(seen: Seen) -> tuple[Callable[[Mapping[str, Any]], None], Callable[[Mapping[str, Any]], None]]:
    """What marks the moments of pods and of requests."""

    def take_pod(pod: Mapping[str, Any]) -> None:
        for each in pod.get("status", {}).get("containerStatuses", ()):
            if each["ready"]:
                seen.mark(f"{pod['metadata']['name']} ready {each['restartCount']}")

    def take_request(request: Mapping[str, Any]) -> None:
        if request.get("status", {}).get("phase") == "Completed":
            seen.mark(f"{request['metadata']['name']} completed")

    return take_pod, take_request


async def measure(runs: int, together: int) -> tuple[list[Served], list[float]]:
    """Serve *runs* requests one after another, then *together* at once."""
    cluster = Cluster(current_session().new_directory("k"))
    seen = Seen()
    take_pod, take_request = takers(seen)
    try:
        await cluster.start()
        async with (
            restarting(cluster) as run,
            watching(run.client, PODS, take_pod),
            watching(run.client, REQUESTS, take_request),
        ):
            served = [await serve(run, seen, f"bench-{number}") for number in range(runs)]
            return served, await serve_together(run, seen, together)
    finally:
        await cluster.stop()
        cluster.remove()


def row(name: str, values: Sequence[float], limit: str) -> str:
    """One line of the table."""
    ordered = sorted(values)
    last = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"{name:<44} {median(ordered):8.3f} {last:8.3f}   {limit}"


def main(arguments: Sequence[str]) -> int:
    """Measure and print; the figures judge nothing."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.recreating", description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--together", type=int, default=20)
    options = parser.parse_args(arguments)
    served, together = asyncio.run(measure(options.runs, options.together))
    print(
        f"\n{f'{len(served)} requests, one after another':<44} {'median':>8} {'p99':>8}   limit of the median"
    )
    print(row("request posted -> container stopped, s", [each.stopped for each in served], "0.12"))
    print(row("request posted -> successor ready, s", [each.ready for each in served], ""))
    print(row("successor ready -> request completed, s", [each.completed for each in served], "0.15"))
    print(row("writes by agent and controller", [each.writes for each in served], "8"))
    print(f"{len(together)} requests at once")
    print(row("request posted -> container stopped, s", together, ""))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
