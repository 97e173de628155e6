"""Plays hundreds of node agents in one process: real watches, real status writes, pulls that only take time.

    python -m tests.testbed.simulated --kubeconfig FILE --nodes 500

Each node has a connection, a watch and a Lease of its own, as a real agent has, and tells its status at the
agent's pace. It makes the Node objects and takes them away in the end. On stdout is one JSON document a line:
when all nodes follow, how far they are, and on SIGTERM what was written.
"""

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from daemon.engine.clock import SystemClock
from daemon.engine.objects import NotFoundError
from daemon.kube.access import Access
from daemon.kube.client import ApiClient
from daemon.kube.errors import TakenError
from daemon.kube.patches import merge_patch
from daemon.kube.resources import NODES
from daemon.metrics import Metrics
from daemon.objects.meta import Key, ObjectMeta
from daemon.objects.nodes import Node
from tests.testbed.simulated_node import Behaviour, SimulatedNode

_AT_ONCE = 20
"""Nodes that are made or removed at the same time."""


class Simulation:
    """All nodes, and the objects that stand for them."""

    def __init__(self, behaviour: Behaviour, access: Access) -> None:
        self.metrics = Metrics()
        self.behaviour = behaviour
        self._access = access
        self._admin = ApiClient(access, self.metrics, user_agent="simulated-nodes")
        self._clients = [
            ApiClient(access, Metrics(), user_agent="simulated-agent") for _ in range(behaviour.nodes)
        ]
        self.nodes = [
            SimulatedNode(name, behaviour, client, self.metrics)
            for name, client in zip(behaviour.names(), self._clients, strict=True)
        ]

    @property
    def ended(self) -> int:
        """Pulls that ended."""
        return sum(node.ended for node in self.nodes)

    @property
    def writes(self) -> int:
        """Status writes that came through."""
        return sum(node.writes for node in self.nodes)

    async def create(self) -> None:
        """Make the Node objects, each of them Ready."""
        await self._for_each(self._create)

    async def _create(self, name: str) -> None:
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "simulated": "true"}
        labels |= self.behaviour.labels
        with suppress(TakenError):
            await self._admin.create(NODES, Node(metadata=ObjectMeta(name=name, labels=labels)))
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "Simulated",
            "lastTransitionTime": SystemClock().now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        patch = merge_patch({"status": {"conditions": [ready]}})
        await self._admin.patch(NODES, Key("", name), patch, subresource="status")

    async def remove(self) -> None:
        """Remove the Node objects; the controller removes what belongs to them."""
        await self._for_each(self._remove)

    async def _for_each(self, act: Callable[[str], Awaitable[None]]) -> None:
        names = self.behaviour.names()
        for first in range(0, len(names), _AT_ONCE):
            await asyncio.gather(*(act(name) for name in names[first : first + _AT_ONCE]))

    async def _remove(self, name: str) -> None:
        with suppress(NotFoundError):
            await self._admin.delete(NODES, Key("", name))

    async def synced(self) -> None:
        """Return when every node follows."""
        for node in self.nodes:
            await node.informer.synced()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """All nodes play meanwhile."""
        tasks = [asyncio.create_task(node.run(), name=node.name) for node in self.nodes]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            for client in (self._admin, *self._clients):
                await client.close()
            for each in ended:
                if isinstance(each, Exception):
                    raise each


def _say(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


async def _play(simulation: Simulation, *, objects: bool, every: float) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    started = time.monotonic()
    if objects:
        await simulation.create()
    async with simulation.running():
        await simulation.synced()
        _say(following=len(simulation.nodes), seconds=round(time.monotonic() - started, 2))
        while not stop.is_set():
            try:
                async with asyncio.timeout(every):
                    await stop.wait()
            except TimeoutError:
                _say(ended=simulation.ended, status_writes=simulation.writes)
        if objects:
            await simulation.remove()
    _say(ended=simulation.ended, status_writes=simulation.writes, cpu_seconds=round(time.process_time(), 2))


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="simulated", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--prefix", default="sim-")
    parser.add_argument("--namespace", default="inplaced", help="where the Leases are")
    parser.add_argument(
        "--seconds", type=float, nargs=2, default=(0.1, 0.5), help="a pull takes, from and to"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--failing", type=float, default=0.0, help="share of pulls that fail")
    parser.add_argument("--heartbeat", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two lines")
    parser.add_argument("--no-objects", action="store_true", help="the Node objects are somebody else's")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> None:
    """Play until SIGTERM or SIGINT."""
    from daemon.kube.kubeconfig import Kubeconfig

    told = _arguments(argv)
    behaviour = Behaviour(
        nodes=told.nodes,
        prefix=told.prefix,
        namespace=told.namespace,
        seconds=tuple(told.seconds),
        workers=told.workers,
        failing=told.failing,
        heartbeat=told.heartbeat,
        seed=told.seed,
    )
    simulation = Simulation(behaviour, Kubeconfig(told.kubeconfig))
    asyncio.run(_play(simulation, objects=not told.no_objects, every=told.every))


if __name__ == "__main__":
    main(sys.argv[1:])
