"""An agent that shows what a test tells it: the real server on a real socket, over views that are made up.

It serves from a thread of its own: the command under test may block the test's thread, as it blocks a shell.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from daemon.debug.server import DebugServer
from daemon.debug.sources import Check, PullAnswer, PullRequest
from daemon.debug.views import DiskView, JobView, NodeView, PullView, RuntimeView

MIB = 1024 * 1024
NOW = datetime.now(UTC).replace(microsecond=0)
DEADLINE = 20.0
"""Seconds after which a test that waits gives up."""

Answer = Callable[[PullRequest], PullAnswer]


def a_job(name: str, **changes: Any) -> JobView:
    """A job on one node, made 192 seconds ago."""
    usual: dict[str, Any] = {
        "kind": "ImagePullJob",
        "namespace": "default",
        "images": ("app:v2",),
        "desired": 1,
        "active": 1,
        "succeeded": 0,
        "failed": 0,
        "created_at": NOW - timedelta(seconds=192),
    }
    return JobView(name=name, **(usual | changes))


def a_pull(image: str, phase: Any, **changes: Any) -> PullView:
    """One image in that phase."""
    return PullView(image=image, phase=phase, **({"created_at": NOW, "started_at": NOW} | changes))


def a_node(**changes: Any) -> NodeView:
    """A node with one containerd and room on its disk."""
    usual: dict[str, Any] = {
        "node": "node-7",
        "version": "0.1.0",
        "started_at": NOW - timedelta(hours=3),
        "now": NOW,
        "ready": True,
        "runtimes": (
            RuntimeView(
                socket="/run/containerd/containerd.sock",
                ready=True,
                name="containerd",
                version="2.3.7",
                progress="bytes",
                pins="label",
            ),
        ),
        "disk": DiskView(
            mountpoint="/var/lib/containerd",
            capacity=200 * 1024 * MIB,
            free=81 * 1024 * MIB,
            reserve=30 * 1024 * MIB,
            available=51 * 1024 * MIB,
        ),
    }
    return NodeView(**(usual | changes))


@dataclass
class ScriptedAgent:
    """What the served agent knows. ``show`` may be called from any thread."""

    path: Path
    view: NodeView = field(default_factory=a_node)
    asked: list[PullRequest] = field(default_factory=list)
    answer: Answer | None = None
    """Instead of the jobs that ``pull`` would make. May raise RefusedError."""
    ends: Mapping[str, PullView] = field(default_factory=dict)
    """How images end at once when they are asked for; others stay Waiting."""

    def __post_init__(self) -> None:
        self._number = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._moved: asyncio.Event | None = None
        self._stopping: asyncio.Event | None = None

    def show(self, **changes: Any) -> None:
        """Change the view and tell those who follow it."""
        self.view = msgspec.structs.replace(self.view, **changes)
        self._number += 1
        if self._loop is not None and self._moved is not None:
            self._loop.call_soon_threadsafe(self._moved.set)

    def move(self, image: str, phase: Any, **changes: Any) -> None:
        """Show the image in that phase; with an end, its job ends too."""
        number = next(at for at, pull in enumerate(self.view.pulls) if pull.image == image)
        old = self.view.pulls[number]
        self._put(number, msgspec.structs.replace(old, phase=phase, started_at=NOW, **changes))

    def _put(self, number: int, pull: PullView) -> None:
        jobs = [_ended(job, pull) if _owner(job) in pull.owners else job for job in self.view.jobs]
        pulls = [*self.view.pulls[:number], pull, *self.view.pulls[number + 1 :]]
        self.show(jobs=tuple(jobs), pulls=tuple(pulls))

    async def pull(self, request: PullRequest) -> PullAnswer:
        """Make a job and a waiting pull of each image."""
        self.asked.append(request)
        if self.answer is not None:
            return self.answer(request)
        names = []
        for image in request.images:
            job = a_job(f"pull-{len(self.view.jobs)}", namespace="inplaced", images=(image,))
            waiting = a_pull(image, "Waiting", owners=(_owner(job),), started_at=None)
            self.show(jobs=(*self.view.jobs, job), pulls=(*self.view.pulls, waiting))
            if end := self.ends.get(image):
                end = msgspec.structs.replace(end, owners=(_owner(job),))
                self._put(len(self.view.pulls) - 1, end)
            names.append(f"{job.namespace}/{job.name}")
        return PullAnswer(jobs=tuple(names))

    def live(self) -> Sequence[Check]:
        return ()

    def ready(self) -> Sequence[Check]:
        return ()

    def flags(self) -> Mapping[str, Any]:
        return {}

    def metrics(self) -> bytes:
        return b""

    async def changed(self, seen: int) -> int:
        assert self._moved is not None
        while self._number <= seen:
            self._moved.clear()
            await self._moved.wait()
        return self._number

    async def serve(self, started: threading.Event) -> None:
        """Serve on the socket until ``stop``."""
        self._loop, self._moved, self._stopping = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        async with DebugServer(_Sources(self), self, address="", socket_path=str(self.path)):
            started.set()
            await self._stopping.wait()
        self._loop = None

    def stop(self) -> None:
        """End serving. From any thread, also when it ended by itself."""
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)


@dataclass
class _Sources:
    """The agent's ``Sources``: there ``view`` is a call."""

    agent: ScriptedAgent

    def __getattr__(self, name: str) -> Any:
        return getattr(self.agent, name)

    def view(self) -> NodeView:
        return self.agent.view


@contextmanager
def serving(agent: ScriptedAgent) -> Iterator[ScriptedAgent]:
    """Serve *agent* meanwhile."""
    started = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(agent.serve(started))
        except BaseException as error:  # noqa: BLE001 - carried to the thread that waits
            failures.append(error)
            started.set()

    thread = threading.Thread(target=work, name="agent")
    thread.start()
    try:
        assert started.wait(DEADLINE), "the agent did not start"
        if failures:
            raise failures[0]
        yield agent
    finally:
        agent.stop()
        thread.join(DEADLINE)
        assert not thread.is_alive(), "the agent did not stop"


def _owner(job: JobView) -> str:
    return f"{job.kind}/{job.namespace}/{job.name}"


def _ended(job: JobView, pull: PullView) -> JobView:
    if pull.phase not in {"Succeeded", "Failed"}:
        return job
    good = int(pull.phase == "Succeeded")
    return msgspec.structs.replace(
        job, active=0, succeeded=good, failed=1 - good, completed_at=NOW, message=pull.message
    )
