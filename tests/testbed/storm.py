"""Changes of many pods while what handles them is killed again and again: each must lead to one restart."""

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.testbed.counting import planned, restart_count
from tests.testbed.restarting import Restarting


@dataclass(frozen=True, slots=True)
class Kills:
    """How often each is killed; it is started again at once."""

    agent: int = 0
    controller: int = 0
    runtime: int = 0


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    seconds: float = 0.0
    changes: int = 0
    killed: Kills = field(default_factory=Kills)
    repeated: int = 0
    """Starts that the kubelet repeated by itself because the runtime died under the first."""
    wrong: list[str] = field(default_factory=list)
    """Pods that did not start exactly once for each change, with what they started with."""


async def storm(world: Restarting, pods: Sequence[str], rounds: int, kills: Kills, seed: int = 1) -> Outcome:
    """Change each pod *rounds* times, one change after the other, and return when all is told and counted.

    Kills are spread over the changes by their order, not by time, so that none comes too late.
    """
    await asyncio.sleep(
        SETTLED
    )  # a kubelet still looks at pods that have just started: most changes find none
    begun = time.monotonic()
    killer = _Killer(world, kills, len(pods) * rounds, seed)
    async with asyncio.TaskGroup() as group:
        killing = group.create_task(killer.run())
        working = [group.create_task(_change(world, pod, rounds, killer.note)) for pod in pods]
        await asyncio.wait(working)
        await killing
    await asyncio.sleep(SETTLED)
    outcome = Outcome(time.monotonic() - begun, killer.changes, kills)
    for pod in pods:
        await _judge(world, pod, rounds, outcome)
    return outcome


SETTLED = 3.0
"""Seconds after which a kubelet is done with a pod, and within which a restart too many would have come."""


async def _change(world: Restarting, pod: str, rounds: int, note: Callable[[], None]) -> None:
    for number in range(1, rounds + 1):
        note()
        colour = f"{pod}-{number}"
        await world.annotate(pod, colour=colour)
        after = await world.restarted(pod, number, timeout=240.0)
        await world.until(pod, partial(_has_started, world, after, colour), f"{colour} started")


def _has_started(world: Restarting, pod: Mapping[str, Any], colour: str, _seen: object) -> bool:
    """Whether the program itself has said so: the kubelet tells it a little earlier."""
    starts = world.starts(pod)
    return bool(starts) and starts[-1].colour == colour


async def _judge(world: Restarting, name: str, rounds: int, outcome: Outcome) -> None:
    """Compare what the program counted with what was asked for.

    A kubelet whose runtime dies while it starts a container starts it once more, and says so in an event:
    that is no restart of ours, and must not be counted as one.
    """
    pod = await world.pod(name)
    found = [each.colour for each in world.starts(pod)]
    wanted = ["red", *(f"{name}-{number}" for number in range(1, rounds + 1))]
    repeated = len(found) - len(wanted)
    retries = [note for _, reason, note in await world.events(name) if reason == "Failed"]
    in_order = [colour for colour, _ in itertools.groupby(found)] == wanted
    if in_order and planned(pod) == rounds and (not repeated or retries):
        outcome.repeated += repeated
    else:
        outcome.wrong.append(f"{name}: {found}, planned {planned(pod)} of {restart_count(pod)}, {retries}")


class _Killer:
    """Kills after so many changes, at a random moment of each."""

    def __init__(self, world: Restarting, kills: Kills, changes: int, seed: int) -> None:
        self.changes = 0
        self._random = random.Random(seed)
        self._moved = asyncio.Event()
        self._world = world
        victims: list[Callable[[], Awaitable[None]]] = [self._kill_agent] * kills.agent
        victims += [self._kill_controller] * kills.controller
        victims += [self._kill_runtime] * kills.runtime
        self._random.shuffle(victims)
        places = sorted(self._random.randrange(1, changes + 1) for _ in victims)
        self._due = list(zip(places, victims, strict=True))

    def note(self) -> None:
        """One change begins."""
        self.changes += 1
        self._moved.set()

    async def run(self) -> None:
        """Kill all that is to be killed."""
        for place, kill in self._due:
            while self.changes < place:
                self._moved.clear()
                await self._moved.wait()
            await asyncio.sleep(self._random.uniform(0.0, 1.0))
            await kill()

    async def _kill_agent(self) -> None:
        await self._world.agent.kill()
        await self._world.agent.start()

    async def _kill_controller(self) -> None:
        await self._world.centre.process.kill()
        self._world.centre.process.start()

    async def _kill_runtime(self) -> None:
        await self._world.cluster.containerd.kill()
        await self._world.cluster.containerd.start()
