"""How long restarts in place take on a real kubelet, and what they cost.

python -m tests.testbed.enter -- .venv/bin/python -m tests.bench.restarts
"""

import argparse
import asyncio
import statistics
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.bench.processes import effort_of
from tests.testbed.cluster import Cluster
from tests.testbed.containerd import Flavour
from tests.testbed.counting import restart_count
from tests.testbed.processes import free_port
from tests.testbed.restarting import Restarting, boot_time, restarting
from tests.testbed.session import current_session

QUIET: Final = 3.0
"""Seconds for which a pod was left alone before it is changed: as most changes find it."""
_OWN_WRITES: Final = frozenset({"patch", "create"})
_OF_RESTARTS: Final = frozenset({"pods", "pods/status", "events"})
_LOOKING_AT_IT: Final = frozenset({"Version", "Status"})
"""Calls that ask how the runtime is."""


@dataclass(slots=True)
class Times:
    """Seconds from the patch on, of every change."""

    signal: list[float] = field(default_factory=list)
    started: list[float] = field(default_factory=list)
    told: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of some changes together."""

    writes: float
    calls: float

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(self.writes - other.writes, self.calls - other.calls)


@dataclass(slots=True)
class Bench:
    """A cluster, and where agent and controller tell what they did."""

    world: Restarting
    port: int

    async def cost(self) -> Cost:
        """So far."""
        address = f"http://127.0.0.1:{self.port}/metrics"
        async with aiohttp.ClientSession() as client, client.get(address) as answer:
            central = await answer.text()
        own = (await self.world.agent.get("/metrics")).decode()
        calls = sum(
            value
            for labels, value in _samples(own, "inplaced_cri_call_duration_seconds_count")
            if labels["method"] not in _LOOKING_AT_IT
        )
        return Cost(_writes(own) + _writes(central), calls)


def main(arguments: Sequence[str]) -> int:
    """Measure and print; the figures judge nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runtime", choices=("1.6", "2.3"), default="1.6")
    parser.add_argument("--changes", type=int, default=30, help="of each kind")
    parser.add_argument("--together", type=int, default=100, help="pods that are changed at once")
    options = parser.parse_args(arguments)
    asyncio.run(_measure(options.runtime, options.changes, options.together))
    return 0


async def _measure(flavour: Flavour, changes: int, together: int) -> None:
    async with _bench(flavour) as bench:
        pods = [f"bare-{number}" for number in range(changes)]
        await asyncio.gather(*(bench.world.create(pod) for pod in pods))
        for pod in pods:
            await bench.world.in_sync(pod)
        await _one_by_one(bench, "bare pod, first restart", pods, 1, "blue")
        await bench.world.delete(*pods)
        pods = await bench.world.deploy("owned", changes)
        await _one_by_one(bench, "pod of a Deployment, first restart", pods, 1, "blue")
        await _one_by_one(bench, "the same again (image-alias)", pods[: changes // 2], 2, "green")
        stopped = pods[changes // 2 : changes // 2 + 3]
        for pod in stopped:
            await bench.world.annotate(pod, **{"inplaced.dev/restart-strategy": "stop"})
        await _one_by_one(bench, "the same again (stop)", stopped, 2, "green")
        await bench.world.api.request("DELETE", "/apis/apps/v1/namespaces/default/deployments/owned")
    async with _bench(flavour) as bench:
        await _at_once(bench, together)


@asynccontextmanager
async def _bench(flavour: Flavour) -> AsyncIterator[Bench]:
    cluster = Cluster(current_session().new_directory("k"), flavour)
    port = free_port()
    try:
        await cluster.start()
        async with restarting(cluster, central={"listen": f"127.0.0.1:{port}"}) as world:
            yield Bench(world, port)
    finally:
        await cluster.stop()
        cluster.remove()


async def _one_by_one(bench: Bench, name: str, pods: Sequence[str], count: int, colour: str) -> None:
    times = Times()
    await asyncio.sleep(QUIET)
    before = await bench.cost()
    for pod in pods:
        sent = await bench.world.annotate(pod, colour=colour)
        after = await bench.world.restarted(pod, count)
        times.told.append(boot_time() - sent)
        times.signal.append(bench.world.terms(after)[count - 1] - sent)
        times.started.append(bench.world.starts(after)[count].at - sent)
    await asyncio.sleep(QUIET)  # for the events
    spent = await bench.cost() - before
    print(f"{name} ({len(pods)} changes)")
    for what, values in (("SIGTERM", times.signal), ("new env", times.started), ("told", times.told)):
        print(f"  patch -> {what:<8} {_spread(values)}")
    each = len(pods)
    print(f"  writes {spent.writes / each:.2f}, CRI calls {spent.calls / each:.2f} a change", flush=True)


async def _at_once(bench: Bench, count: int) -> None:
    pods = [f"many-{number}" for number in range(count)]
    for start in range(0, count, 20):
        await asyncio.gather(*(bench.world.create(pod) for pod in pods[start : start + 20]))
    for pod in pods:
        await bench.world.in_sync(pod, timeout=300.0)
    await asyncio.sleep(30.0)  # for the events, which are written at a bounded rate
    before, effort = await bench.cost(), effort_of(bench.world.agent.pid)
    sent = boot_time()
    await asyncio.gather(*(bench.world.annotate(pod, colour="blue") for pod in pods))
    after = [await bench.world.restarted(pod, 1, timeout=300.0) for pod in pods]
    seconds, worked = boot_time() - sent, effort_of(bench.world.agent.pid)
    spent = await bench.cost() - before
    await asyncio.sleep(5.0)
    signals = [bench.world.terms(pod)[0] - sent for pod in after]
    wrong = [
        pod["metadata"]["name"]
        for pod in after
        if [each.colour for each in bench.world.starts(pod)] != ["red", "blue"]
        or restart_count(await bench.world.pod(pod["metadata"]["name"])) != 1
    ]
    print(f"{count} pods at once: all told after {seconds:.1f} s, restarted wrongly: {wrong or 'none'}")
    print(f"  patch -> SIGTERM  {_spread(signals)}")
    cpu = worked.cpu_seconds - effort.cpu_seconds
    print(f"  agent {cpu:.2f} s CPU, {spent.calls / count:.2f} CRI calls a pod", flush=True)


def _spread(values: Sequence[float]) -> str:
    ordered = sorted(values)
    last = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
    return f"p50 {statistics.median(ordered):.3f}  p99 {last:.3f}  max {ordered[-1]:.3f} s"


def _writes(text: str) -> float:
    return sum(
        value
        for labels, value in _samples(text, "inplaced_api_requests_total")
        if labels["verb"] in _OWN_WRITES and labels["resource"] in _OF_RESTARTS
    )


def _samples(text: str, name: str) -> list[tuple[Mapping[str, Any], float]]:
    return [
        (sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
