"""Rollouts in place on a real kubelet, watched pod by pod, and what they cost."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from daemon import names
from tests.testbed.api import Api
from tests.testbed.counting import counter
from tests.testbed.sets import PODS, RealSet, condition

METRICS_PORT = 18099
_REQUESTS = re.compile(
    r'^inplaced_api_requests_total\{code="2\d\d",resource="(?P<resource>[^"]+)",'
    r'verb="(?P<verb>[^"]+)"\} (?P<count>\S+)$',
    re.MULTILINE,
)
_WRITES = frozenset({"create", "patch", "delete"})


@dataclass(slots=True)
class Seen:
    """One pod while it was watched. Times are the machine's monotonic seconds."""

    ready: list[tuple[float, bool]] = field(default_factory=list)
    """Each change of Ready."""
    gate: list[tuple[float, bool]] = field(default_factory=list)
    """Each change of the update's gate."""
    prepared: list[str] = field(default_factory=list)
    """How far its node was prepared each time that the gate closed."""
    last: Mapping[str, Any] = field(default_factory=dict)

    def take(self, pod: Mapping[str, Any]) -> None:
        """Note what is another now."""
        now = time.monotonic()
        for changes, type_ in ((self.ready, names.READY), (self.gate, names.IN_PLACE_UPDATE_READY)):
            state = condition(pod, type_).get("status") == "True"
            if not changes or changes[-1][1] != state:
                changes.append((now, state))
                if type_ == names.IN_PLACE_UPDATE_READY and not state:
                    self.prepared.append(condition(pod, names.NEXT_REVISION_READY).get("reason", ""))
        self.last = pod

    @property
    def out(self) -> float:
        """Seconds for which the pod was not ready, since it was for the first time."""
        total, since = 0.0, None
        for at, ready in self.ready:
            if ready and since is not None:
                total, since = total + at - since, None
            elif not ready and since is None:
                since = at
        return total


@asynccontextmanager
async def watching(api: Api, name: str) -> AsyncIterator[dict[str, Seen]]:
    """The pods of a set as they change, by name, until the end of the block."""
    found: dict[str, Seen] = {}
    listed = await api.get(f"{PODS}?labelSelector=app={name}")
    for pod in listed["items"]:
        found.setdefault(pod["metadata"]["name"], Seen()).take(pod)
    async with api.session() as session:
        path = f"{PODS}?labelSelector=app%3D{name}&watch=true"
        version = listed["metadata"]["resourceVersion"]
        task = asyncio.create_task(_follow(session, f"{path}&resourceVersion={version}", found))
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _follow(session: aiohttp.ClientSession, path: str, found: dict[str, Seen]) -> None:
    forever = aiohttp.ClientTimeout(total=None)
    async with session.get(path, timeout=forever) as answer:
        async for line in answer.content:
            pod = json.loads(line)["object"]
            found.setdefault(pod["metadata"]["name"], Seen()).take(pod)


async def settled_in(web: RealSet, timeout: float = 120.0) -> float:
    """Seconds from now until the set is ready in its newest form."""
    began = time.monotonic()
    await web.settled(timeout)
    return time.monotonic() - began


def writes_in(exposition: str) -> Counter[str]:
    """Successful writes by verb and resource, as a process counts its own."""
    found: Counter[str] = Counter()
    for match in _REQUESTS.finditer(exposition):
        if match["verb"] in _WRITES:
            found[f"{match['verb']} {match['resource']}"] += int(float(match["count"]))
    return found


def of_pods(writes: Counter[str]) -> dict[str, int]:
    """Those of *writes* that went to pods."""
    return {kind: count for kind, count in writes.items() if " pods" in kind}


def rounded(seconds: Iterable[float]) -> list[float]:
    """To hundredths."""
    return [round(each, 2) for each in seconds]


def ranked(name: str, ref: str, priority: int) -> dict[str, Any]:
    """A container that counts its starts and has a place in the launch order, as OpenKruise writes that."""
    source = {"configMapKeyRef": {"name": "barrier", "key": f"p_{priority}", "optional": True}}
    made = counter(name, ref, [{"name": names.BARRIER_VARIABLE, "valueFrom": source}])
    return {**made, "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1}}


async def exposition_of(port: int = METRICS_PORT) -> str:
    """The metrics of the process that listens at this port of the loopback."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        return await answer.text()
