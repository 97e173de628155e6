"""Brings the images of one node to what its NodeImage wants."""

from collections.abc import Callable
from typing import assert_never

import msgspec
import structlog

from daemon.cri.errors import CriError
from daemon.cri.runtimes import Runtime, Runtimes
from daemon.engine.clock import Clock
from daemon.engine.objects import Objects
from daemon.engine.reconciling import Controller
from daemon.metrics import Metrics
from daemon.nodeimages import disk
from daemon.nodeimages.attempts import Attempts
from daemon.nodeimages.measuring import DiskError, ImageDisk
from daemon.nodeimages.pins import Pins
from daemon.nodeimages.planner import is_finished, plan
from daemon.nodeimages.plans import (
    Action,
    Cancel,
    Failure,
    Look,
    Observed,
    Pin,
    Plan,
    Pull,
    Stage,
    Unpin,
    Wanted,
)
from daemon.nodeimages.reports import Reports
from daemon.nodeimages.wanting import recorded_of, wanted_of
from daemon.objects.images import ImageTagStatus, NodeImage, NodeImageSpec
from daemon.objects.meta import Key

log = structlog.get_logger()

_ASK_AGAIN = 1.0
"""Seconds until a runtime that is up but could not be read is asked again: nothing else would."""


class Limits(msgspec.Struct, frozen=True):
    """The node's settings that plans depend on."""

    workers: int
    reserve_percent: float
    space_retry: float
    status_interval: float


class DiskState(msgspec.Struct, frozen=True):
    """Room for images, in bytes."""

    mountpoint: str
    capacity: int
    free: int
    reserve: int

    @property
    def available(self) -> int:
        """What pulls may use."""
        return max(self.free - self.reserve, 0)


class Node(msgspec.Struct, frozen=True):
    """What the reconciler works with."""

    node_images: Objects[NodeImage]
    runtimes: Runtimes
    attempts: Attempts
    pins: Pins
    reports: Reports
    disk: ImageDisk
    metrics: Metrics
    clock: Clock
    limits: Limits


class NodeImages:
    """Observes, plans and applies for one node."""

    def __init__(self, name: str, metrics: Metrics) -> None:
        self.key = Key("", name)
        self.controller: Controller[Key] = Controller("nodeimages", self.reconcile, metrics)
        self.wanted: dict[str, Wanted] = {}
        self.report: dict[str, ImageTagStatus] = {}
        self.held: dict[str, Failure] = {}
        self.disk: DiskState | None = None
        self.problem = ""
        """Why nothing can be pulled although the runtime is up; empty when it can."""
        self._node: Node | None = None
        self._spec: NodeImageSpec | None = None
        self._pinned_by: Runtime | None = None
        self._listener: Callable[[], None] = lambda: None

    def equip(self, node: Node, listener: Callable[[], None]) -> None:
        """Say what to work with, and who wants to know of each new plan."""
        self._node = node
        self._listener = listener
        node.node_images.subscribe(self._on_object)
        self.wake()

    def wake(self) -> None:
        """Have a new plan made."""
        self.controller.queue.add(self.key)

    def _on_object(self, key: Key) -> None:
        if self._node is None or key != self.key:
            return
        stored = self._node.node_images.get(key)
        if stored is None or self._is_news(self._node, stored):
            self.wake()

    def _is_news(self, node: Node, stored: NodeImage) -> bool:
        """Whether it tells more than what we said ourselves, in the status."""
        if stored.spec is self._spec:
            return False
        return stored.spec != self._spec or not node.reports.wrote(stored)

    async def reconcile(self, key: Key) -> float | None:
        """Make a plan for the node and start what it says."""
        assert self._node is not None
        node = self._node
        stored = node.node_images.get(key)
        self._read_spec(stored)
        wanted = list(self.wanted.values())
        seen = await self._observe(node, wanted, recorded_of(stored) if stored is not None else {})
        made = plan(seen)
        for action in made.actions:
            self._apply(node, action)
        self._publish(node, wanted, made, stored.metadata.generation if stored is not None else 0)
        return self._wake_in(node, made)

    def _read_spec(self, stored: NodeImage | None) -> None:
        spec = stored.spec if stored is not None else None
        if stored is None or spec is not self._spec:
            self.wanted = {item.ref: item for item in wanted_of(stored)} if stored is not None else {}
        self._spec = spec

    async def _observe(
        self, node: Node, wanted: list[Wanted], recorded: dict[str, ImageTagStatus]
    ) -> Observed:
        runtime = node.runtimes.default
        if runtime is None:
            self._pinned_by = None  # its pins are read anew when it is back
            self.problem = ""
        ready = runtime is not None and await self._prepare(node, runtime)
        stored = {item.ref for item in wanted if is_finished(recorded.get(item.ref), item.version)}
        node.attempts.keep_only(self.wanted, stored)
        return Observed(
            now=node.clock.now(),
            monotonic=node.clock.monotonic(),
            wanted=wanted,
            recorded=self._with_unwritten(recorded),
            attempts=node.attempts.known(),
            pulled_at=node.attempts.pulled_at,
            pinned=node.pins.pinned,
            pin_refused=node.pins.refused,
            available=self.disk.available if self.disk else 0,
            runtime_ready=ready,
            workers=node.limits.workers,
        )

    def _with_unwritten(self, recorded: dict[str, ImageTagStatus]) -> dict[str, ImageTagStatus]:
        """An end that was decided stands, also before it is written: its time must not move."""
        ended = {
            ref: status
            for ref, status in self.report.items()
            if status.completion_time is not None
            and ((old := recorded.get(ref)) is None or old.version <= status.version)
        }
        return recorded | ended

    async def _prepare(self, node: Node, runtime: Runtime) -> bool:
        """Read pins and disk of the runtime; False when that is not possible."""
        before, self.problem = self.problem, ""
        try:
            if self._pinned_by is not runtime:
                await node.pins.load(runtime.extras)
                self._pinned_by = runtime
            mountpoint, space = await node.disk.space(runtime)
        except (CriError, DiskError) as error:
            self.problem = f"{runtime.socket}: {error}"
            if self.problem != before:
                log.warning("runtime cannot be read", runtime=runtime.socket, error=str(error))
            if isinstance(error, CriError):
                node.runtimes.suspect(runtime)
            return False
        reserve = disk.reserve(space.capacity, node.limits.reserve_percent)
        self.disk = DiskState(mountpoint, space.capacity, space.free, reserve)
        node.metrics.disk_free.set(space.free)
        node.metrics.disk_available.set(self.disk.available)
        return True

    def _apply(self, node: Node, action: Action) -> None:
        match action:
            case Cancel(ref, version):
                node.attempts.cancel(ref, version)
            case Pin(ref):
                node.pins.start(ref, node.pins.pin, node.attempts.start)
            case Unpin(ref):
                node.pins.start(ref, node.pins.unpin, node.attempts.start)
            case Look(wanted, failures):
                node.attempts.look(wanted, node.runtimes.default, failures)
            case Pull(wanted, _):
                node.attempts.pull(wanted, node.runtimes.default)
            case _:
                assert_never(action)

    def _publish(self, node: Node, wanted: list[Wanted], made: Plan, generation: int) -> None:
        self.report, self.held = dict(made.report), dict(made.held)
        phases = [status.phase for status in self.report.values()]
        node.metrics.pulls_waiting.set(phases.count("Waiting"))
        node.metrics.pulls_running.set(phases.count("Pulling"))
        node.reports.publish(self.key, wanted, self.report, generation)
        self._listener()

    def _wake_in(self, node: Node, made: Plan) -> float | None:
        wakes = [made.wake_in] if made.wake_in is not None else []
        if made.held:
            wakes.append(node.limits.space_retry)
        if self.problem:
            wakes.append(_ASK_AGAIN)
        if any(record.stage is Stage.PULLING for record in node.attempts.records.values()):
            wakes.append(node.limits.status_interval)
        return min(wakes, default=None)
