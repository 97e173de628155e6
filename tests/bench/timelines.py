"""What became of each pod of a rollout, and when: by the words of a watch of its own."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from daemon import names
from tests.testbed.sets import PODS, RealSet, condition, status_of

STEPS: Final = ("told", "prepared", "out", "changed", "successor", "given back", "restarted", "ready")
"""Announced; its node's answer; out of traffic; its spec changed; its agent has told of the new container;
the gate is open again; the kubelet tells of the new container, which is ready; Ready from then on."""

_NEEDS: Final = {
    "changed": "out",
    "successor": "changed",
    "given back": "changed",
    "restarted": "changed",
    "ready": "restarted",
}
"""The step before which another one is of an earlier update."""


@dataclass(slots=True)
class Timeline:
    """One pod. Times are the machine's monotonic seconds."""

    at: dict[str, float] = field(default_factory=dict)
    """By step, when it was seen first."""
    early: int = 0
    """How often the kubelet said Ready again before its container had restarted."""
    _before: str = ""
    """ID of the container that ran before the change."""
    _ready: bool = True

    def take(self, pod: Mapping[str, Any], image: str) -> None:
        """The pod looks like this now; *image* is what it is on its way to."""
        now, container = time.monotonic(), status_of(pod).get("containerID", "")
        annotations = pod["metadata"].get("annotations", {})
        changed = pod["spec"]["containers"][0]["image"] == image
        self._before = self._before if changed else container
        ready, gate = _is(pod, names.READY), _is(pod, names.IN_PLACE_UPDATE_READY)
        seen = {
            "told": names.NEXT_REVISION_ANNOTATION in annotations,
            "prepared": _is(pod, names.NEXT_REVISION_READY),
            "out": not gate,
            "changed": changed,
            "successor": changed and self._told(pod) not in {"", self._before},
            "given back": changed and gate,
            "restarted": changed and container != self._before and bool(status_of(pod).get("ready")),
            "ready": changed and ready,
        }
        if changed and ready and not self._ready and not seen["restarted"]:
            self.early += 1
        self._ready = ready
        for step in (each for each in STEPS if seen[each]):
            if _NEEDS.get(step, step) in {step, *self.at}:
                self.at.setdefault(step, now)

    @staticmethod
    def _told(pod: Mapping[str, Any]) -> str:
        running = json.loads(condition(pod, names.RUNNING_CONTAINERS).get("message", "{}"))
        return str(running.get("app", {}).get("id", ""))

    @property
    def out(self) -> float | None:
        """Seconds from out of traffic to Ready for good."""
        return self._between("out", "ready")

    @property
    def restart(self) -> float | None:
        """Seconds from its changed spec to a new container that is ready: the kubelet's own."""
        return self._between("changed", "restarted")

    @property
    def over(self) -> float | None:
        """What is left of the time out of Ready over the kubelet's own."""
        return self.out - self.restart if self.out is not None and self.restart is not None else None

    def _between(self, one: str, other: str) -> float | None:
        return self.at[other] - self.at[one] if one in self.at and other in self.at else None

    def row(self, name: str, began: float) -> dict[str, Any]:
        """What is told of the pod of that name; its steps are in seconds from *began*."""
        figures = {"not Ready s": self.out, "kubelet alone s": self.restart, "over the kubelet s": self.over}
        return {
            "pod": name,
            **{what: round(each, 2) for what, each in figures.items() if each is not None},
            "said Ready too early by the kubelet": self.early,
            "steps": {step: round(self.at[step] - began, 2) for step in STEPS if step in self.at},
        }


def _is(pod: Mapping[str, Any], type_: str) -> bool:
    return condition(pod, type_).get("status") == "True"


@asynccontextmanager
async def watching(web: RealSet, image: str) -> AsyncIterator[dict[str, Timeline]]:
    """Follow the pods of *web* on their way to *image*, by name."""
    found: dict[str, Timeline] = {}
    selected = f"{PODS}?labelSelector=app={web.name}"
    listed = await web.api.get(selected)
    for pod in listed["items"]:
        found.setdefault(pod["metadata"]["name"], Timeline()).take(pod, image)
    path = f"{selected}&watch=1&resourceVersion={listed['metadata']['resourceVersion']}"
    task = asyncio.create_task(_follow(web, path, image, found))
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _follow(web: RealSet, path: str, image: str, found: dict[str, Timeline]) -> None:
    forever = aiohttp.ClientTimeout(None)
    async with web.api.session() as session, session.get(path, timeout=forever) as answer:
        async for line in answer.content:
            pod = json.loads(line)["object"]
            found.setdefault(pod["metadata"]["name"], Timeline()).take(pod, image)


def known(figures: Iterable[float | None]) -> list[float]:
    """Those that were measured."""
    return [each for each in figures if each is not None]
