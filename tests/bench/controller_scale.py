"""What the controller costs with many jobs on many nodes: time, processor, memory, API writes; then at rest.

    .venv/bin/python -m tests.testbed.enter -- .venv/bin/python -m tests.bench.controller_scale [--long]

A real etcd and kube-apiserver, the controller as its own process with the image's environment, and one
process that plays the agents. All of them share the machine, which bounds the time; the processor seconds are
each process's own.
"""

import argparse
import asyncio
import json
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from tests.bench.figures import show
from tests.bench.processes import effort_of
from tests.bench.scale_figures import compared, figures_of
from tests.charts.fixtures import with_kinds
from tests.testbed.api import Api
from tests.testbed.control_plane import ControlPlane
from tests.testbed.dockerfile import parse
from tests.testbed.processes import Process, until
from tests.testbed.session import current_session

NAMESPACE = "inplaced"
SHORT = "10x500"
LONG = ("200x100", "200x1000")
JOBS = "/apis/apps.kruise.io/v1beta1/namespaces/shop/imagepulljobs"
NODE_IMAGES = "/apis/apps.kruise.io/v1beta1/nodeimages"
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_REQUESTS = re.compile(r"^apiserver_request_total\{(?P<labels>.*)\} (?P<count>[0-9.e+]+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class Size(NamedTuple):
    """How many jobs want something of how many nodes."""

    jobs: int
    nodes: int


class Costs(NamedTuple):
    """What has been spent so far."""

    at: float
    controller: float
    apiserver: float
    agents: float
    writes: Counter[str]


class Place:
    """One control plane with a controller and agents that are played."""

    def __init__(self, directory: Path, nodes: int, told: argparse.Namespace) -> None:
        self.nodes = nodes
        self.plane = ControlPlane(directory / "plane")
        self._told = told
        self._directory = directory
        self._processes: list[Process] = []

    @property
    def api(self) -> Api:
        """As an administrator sees it."""
        return self.plane.api

    async def start(self) -> None:
        """Return when every node has an agent that follows its object."""
        await self.plane.start()
        await with_kinds(self.api)
        for name in (NAMESPACE, f"{NAMESPACE}-node-secrets", "shop"):
            await self.api.create_if_missing("/api/v1/namespaces", {"metadata": {"name": name}})
        kubeconfig = str(self.api.kubeconfig)
        self.agents = self._run(
            "tests.testbed.simulated", "--kubeconfig", kubeconfig, "--nodes", str(self.nodes), "--seconds",
            *map(str, self._told.seconds),
        )  # fmt: skip
        self.controller = self._run(
            "daemon", "controller", "--kubeconfig", kubeconfig, "--listen", "", "--log-format", "json",
            environ=image_environment(),
        )  # fmt: skip
        await until(self._joined, timeout=300, what="all agents have joined", pause=0.5)

    def _run(self, module: str, *arguments: str, environ: Mapping[str, str] | None = None) -> Process:
        log = self._directory / f"{module}.log"
        process = Process([sys.executable, "-m", module, *arguments], log, environ=environ or {})
        process.start()
        self._processes.append(process)
        return process

    async def _joined(self) -> bool:
        items = (await self.api.get(NODE_IMAGES))["items"]
        return len(items) == self.nodes and all(item.get("status", {}).get("agent") for item in items)

    async def stop(self) -> None:
        """End everything."""
        for process in reversed(self._processes):
            await process.kill()
        await self.plane.stop()
        self.plane.remove()

    async def costs(self) -> Costs:
        """What has been spent so far."""
        text = str(await self.api.request("GET", "/metrics"))
        writes: Counter[str] = Counter()
        for found in _REQUESTS.finditer(text):
            labels = dict(_LABEL.findall(found["labels"]))
            if labels["verb"] in WRITES:
                resource = "/".join(filter(None, (labels["resource"], labels["subresource"])))
                writes[f"{labels['verb']} {resource} {labels['code']}"] += int(float(found["count"]))
        return Costs(
            time.monotonic(),
            effort_of(self.controller.pid).cpu_seconds,
            effort_of(self.plane.apiserver.pid).cpu_seconds,
            effort_of(self.agents.pid).cpu_seconds,
            writes,
        )

    def peak(self) -> float:
        """The most memory that the controller ever had, MiB."""
        status = Path(f"/proc/{self.controller.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+)", status)
        assert found is not None
        return int(found[1]) / 1024

    def resident(self) -> float:
        """The memory that the controller has now, MiB."""
        status = Path(f"/proc/{self.controller.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        assert found is not None
        return int(found[1]) / 1024


def image_environment() -> dict[str, str]:
    """The variables that are set in the image, which bound its memory; not where its programs are."""
    stage = parse(Path("Dockerfile").read_text())[-1]
    return {name: value for name, value in stage.env.items() if name != "PATH"}


def job(number: int, parallelism: int | str) -> dict[str, Any]:
    """One of the jobs."""
    return {
        "apiVersion": "apps.kruise.io/v1beta1",
        "kind": "ImagePullJob",
        "metadata": {"name": f"job-{number:03}"},
        "spec": {
            "image": f"registry.test/team/app-{number:03}:v1",
            "parallelism": parallelism,
            "completionPolicy": {"type": "Always", "ttlSecondsAfterFinished": 3600},
        },
    }


async def post(session: aiohttp.ClientSession, jobs: int, parallelism: int | str) -> None:
    """Create all jobs at once."""

    async def one(number: int) -> None:
        async with session.post(JOBS, json=job(number, parallelism)) as answer:
            answer.raise_for_status()

    await asyncio.gather(*map(one, range(jobs)))


async def completed(session: aiohttp.ClientSession) -> list[dict[str, Any]]:
    """The status of all jobs that are over."""
    async with session.get(JOBS, params={"resourceVersion": "0"}) as answer:
        items = (await answer.json())["items"]
    return [item["status"] for item in items if item.get("status", {}).get("completionTime")]


@asynccontextmanager
async def placed(nodes: int, told: argparse.Namespace) -> AsyncIterator[Place]:
    """A place that is gone afterwards."""
    place = Place(current_session().new_directory("s"), nodes, told)
    try:
        await place.start()
        yield place
    finally:
        await place.stop()


async def measure(size: Size, told: argparse.Namespace) -> dict[str, Any]:
    """Post the jobs, wait for their ends, then look on while nothing happens."""
    async with placed(size.nodes, told) as place, place.api.session() as session:
        empty = await rest(place, told.rest)
        before = await place.costs()
        await post(session, size.jobs, told.parallelism)

        async def over() -> bool:
            return len(await completed(session)) == size.jobs

        await until(over, timeout=told.limit, what="all jobs are over", pause=0.25)
        after = await place.costs()
        ends = await completed(session)
        await asyncio.sleep(told.settle)
        return told_of(size, before, after) | {
            "succeeded": sum(each["succeeded"] for each in ends),
            "failed": sum(each["failed"] for each in ends),
            "peak_mib": round(place.peak(), 1),
            "rest_before": empty,
            "rest_after": await rest(place, told.rest),
        }


async def rest(place: Place, seconds: float) -> dict[str, float]:
    """What the controller does when nothing happens."""
    before = effort_of(place.controller.pid)
    await asyncio.sleep(seconds)  # the passing of time is what is measured
    after = effort_of(place.controller.pid)
    return {
        "percent_of_a_core": round(100 * (after.cpu_seconds - before.cpu_seconds) / seconds, 2),
        "wake_ups_per_second": round((after.wake_ups - before.wake_ups) / seconds, 1),
        "rss_mib": round(place.resident(), 1),
    }


def told_of(size: Size, before: Costs, after: Costs) -> dict[str, Any]:
    """The differences."""
    pairs = size.jobs * size.nodes
    writes = after.writes - before.writes
    ours = Counter({key: count for key, count in writes.items() if " leases" not in key})
    posted = sum(count for key, count in ours.items() if key.startswith("POST imagepulljobs"))
    controller = after.controller - before.controller
    return {
        "jobs": size.jobs,
        "nodes": size.nodes,
        "seconds": round(after.at - before.at, 1),
        "controller_cpu_seconds": round(controller, 2),
        "controller_ms_per_pair": round(1000 * controller / pairs, 3),
        "apiserver_cpu_seconds": round(after.apiserver - before.apiserver, 1),
        "agents_cpu_seconds": round(after.agents - before.agents, 1),
        "writes": sum(ours.values()) - posted,
        "writes_by_kind": dict(ours.most_common()),
    }


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="controller_scale", description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=[SHORT], help="JOBSxNODES")
    parser.add_argument(
        "--long", action="store_true", help=f"also {' and '.join(LONG)}, which takes an hour of two cores"
    )
    parser.add_argument("--parallelism", default="100%", help="of each job")
    parser.add_argument(
        "--seconds", type=float, nargs=2, default=(0.1, 0.5), help="a pull takes, from and to"
    )
    parser.add_argument("--rest", type=float, default=20.0, help="seconds to look on at rest")
    parser.add_argument("--settle", type=float, default=5.0, help="seconds after the end, before that")
    parser.add_argument("--limit", type=float, default=7200.0, help="seconds within which all must be over")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> None:
    """Measure each size: one JSON document a line, and a table."""
    told = _arguments(argv)
    if str(told.parallelism).isdecimal():
        told.parallelism = int(told.parallelism)
    sizes = [*told.sizes, *(LONG if told.long else ())]
    found = []
    for text in sizes:
        jobs, _, nodes = text.partition("x")
        print(f"{jobs} jobs on {nodes} simulated nodes …", file=sys.stderr, flush=True)
        found.append(asyncio.run(measure(Size(int(jobs), int(nodes)), told)))
        print(json.dumps(found[-1]), file=sys.stderr, flush=True)
        show(f"{jobs} jobs on {nodes} simulated nodes, posted at once", figures_of(found[-1]))
    if told.long:
        show(f"{LONG[0]} and {LONG[1]}", compared(found[-2:]))


if __name__ == "__main__":
    main(sys.argv[1:])
