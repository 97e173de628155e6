"""What the controller costs for large CloneSets: processor time and memory by pods, in rollouts by partition.

    .venv/bin/python -m tests.bench.cloneset_scale --sizes 100 300 1000

The controller is a process of its own; API server, scheduler and kubelet are simulated in this one, over real
sockets. Each set is made, changed in place up to a partition of half its pods, then wholly.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from daemon import names
from daemon.kube.access import Fixed
from daemon.kube.client import ApiClient
from daemon.metrics import Metrics
from tests.bench.processes import effort_of, memory_of
from tests.fakes.apiserver import WRITES, FakeApiServer
from tests.fakes.kubelet import SimulatedKubelet
from tests.testbed.processes import Process, until

NAMESPACE = "shop"
IN_PLACE = {"type": "InPlaceIfPossible", "maxUnavailable": "20%"}
PATIENCE = 600.0
_CONTROLLER = (sys.executable, "-m", "daemon", "controller", "--listen", "", "--kubeconfig")


@dataclass(slots=True)
class Place:
    """A server with one set, and the controller's process."""

    server: FakeApiServer
    controller: Process

    def write(self, pods: int, image: str, partition: str) -> None:
        """Write the set as a person would."""
        labels = {"app": "web"}
        spec = {
            "replicas": pods,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "image": image}]},
            },
            "updateStrategy": {**IN_PLACE, "partition": partition},
        }
        self.server.store("clonesets", {"metadata": {"name": "web", "namespace": NAMESPACE}, "spec": spec})

    def settled(self) -> bool:
        """Whether the set is ready in its newest form."""
        stored = self.server.document("clonesets", "web", NAMESPACE)
        told = [
            each for each in stored.get("status", {}).get("conditions", ()) if each["type"] == names.READY
        ]
        newest = stored["metadata"]["generation"]
        return bool(told) and told[0]["status"] == "True" and told[0]["observedGeneration"] == newest

    async def phase(self, name: str, pods: int, work: Callable[[], None]) -> dict[str, Any]:
        """Do something to the set, wait until it is done, and tell what it cost the controller."""
        cpu, began = effort_of(self.controller.pid).cpu_seconds, time.monotonic()
        seen = len(self.server.requests)
        work()
        await until(self._done, timeout=PATIENCE, what=name, pause=0.1)
        spent = effort_of(self.controller.pid).cpu_seconds - cpu
        mine = [
            each
            for each in self.server.requests[seen:]
            if each.verb in WRITES and "controller" in each.headers.get("User-Agent", "")
        ]
        return {
            "phase": name,
            "pods": pods,
            "seconds": round(time.monotonic() - began, 1),
            "controller cpu ms per pod": round(1000 * spent / pods, 1),
            "writes to pods per pod": round(sum("pods" in each.resource for each in mine) / pods, 2),
            "writes to the set": sum("clonesets" in each.resource for each in mine),
            "memory MiB": round(memory_of(self.controller.pid).private, 1),
        }

    async def _done(self) -> bool:
        return self.settled()


async def measure(pods: int, directory: Path) -> list[dict[str, Any]]:
    """One size."""
    async with (
        FakeApiServer() as server,
        ApiClient(Fixed(server.url), Metrics(), user_agent="kubelet") as client,
        SimulatedKubelet(client).playing(),
    ):
        controller = Process(
            [*_CONTROLLER, _kubeconfig(directory, server.url)],
            directory / f"controller-{pods}.log",
        )
        controller.start()
        place = Place(server, controller)
        try:
            return [
                await place.phase("make", pods, lambda: place.write(pods, "app:1", "0%")),
                await place.phase("change half", pods // 2, lambda: place.write(pods, "app:2", "50%")),
                await place.phase("change the rest", pods // 2, lambda: place.write(pods, "app:2", "0%")),
            ]
        finally:
            await controller.kill()


def _kubeconfig(directory: Path, url: str) -> str:
    path = directory / "kubeconfig"
    context = {"cluster": "fake", "user": "me"}
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "fake", "cluster": {"server": url}}],
                "users": [{"name": "me", "user": {"token": "t"}}],
                "contexts": [{"name": "fake", "context": context}],
                "current-context": "fake",
            }
        )
    )
    return str(path)


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 300, 1000])
    with tempfile.TemporaryDirectory() as directory:
        for pods in parser.parse_args(arguments).sizes:
            for line in asyncio.run(measure(pods, Path(directory))):
                print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
