"""What people who look at a node see of its pods beside what the pods say: restarts by steps, last errors.

It is bounded, holds no value of a variable, and is lost with the process: nothing is decided from it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from daemon.debug.views import ErrorView, RestartStep, RestartView
from daemon.engine.clock import Clock, SystemClock
from daemon.objects.local_pods import LocalPod
from daemon.objects.slim_pods import is_asking

MOST_OPEN: Final = 200
"""Restarts under way that are remembered: more than a node has that are worth a look."""
MOST_ENDED: Final = 20
MOST_ERRORS: Final = 20
_LONGEST: Final = 512
"""Characters of a message that are kept."""
_REVOCABLE: Final[frozenset[RestartStep]] = frozenset({"Settling", "Waiting", "Due", "Kubelet", "Failed"})
"""Steps before the stop: nothing has happened to the container."""


class Subject(NamedTuple):
    """The container that is replaced."""

    pod: LocalPod
    container: str
    container_id: str


class _Open(msgspec.Struct):
    """One restart under way."""

    uid: str
    view: RestartView
    began_at: float


class Journal:
    """Restarts of containers by the ID of the one that is replaced, and the last errors."""

    def __init__(self, clock: Clock | None = None, on_change: Callable[[], None] = lambda: None) -> None:
        self._clock: Clock = clock or SystemClock()
        self._on_change = on_change
        self._open: dict[str, _Open] = {}
        self._ended: deque[tuple[str, RestartView]] = deque(maxlen=MOST_ENDED)
        self._errors: deque[ErrorView] = deque(maxlen=MOST_ERRORS)

    @property
    def restarts(self) -> Sequence[RestartView]:
        """Those under way, the longest first, then those that have ended, the latest first."""
        return (*(each.view for each in self._open.values()), *(view for _, view in reversed(self._ended)))

    @property
    def errors(self) -> Sequence[ErrorView]:
        """The latest first."""
        return tuple(reversed(self._errors))

    def knows(self, container_id: str) -> bool:
        """Tell whether that container's restart is told of."""
        return container_id in self._open or any(container_id == known for known, _ in self._ended)

    def step(self, about: Subject, step: RestartStep, *, why: str = "", detail: str = "") -> None:
        """A restart is there now. *why* is taken from the first who tells of it."""
        known = self._open.get(about.container_id)
        if known is not None:
            self._move(known, step, detail)
        elif not self.knows(about.container_id):
            view = RestartView(
                namespace=about.pod.metadata.namespace,
                pod=about.pod.metadata.name,
                container=about.container,
                step=step,
                why=why[:_LONGEST],
                detail=detail[:_LONGEST],
                since=self._clock.now(),
            )
            if len(self._open) >= MOST_OPEN:
                del self._open[next(iter(self._open))]
            self._open[about.container_id] = _Open(about.pod.metadata.uid, view, self._clock.monotonic())
            self._on_change()

    def withdraw(self, container_id: str) -> None:
        """That container is not to be started anew after all; what was done to it already stays told."""
        known = self._open.get(container_id)
        if known is not None and known.view.step in _REVOCABLE:
            del self._open[container_id]
            self._on_change()

    def end(self, container_id: str, failure: str = "") -> None:
        """Its restart is over: well, unless there is a *failure*."""
        known = self._open.pop(container_id, None)
        if known is None:
            return
        ended = replace(
            known.view,
            step="Failed" if failure else "Done",
            detail=failure[:_LONGEST],
            ended_at=self._clock.now(),
            seconds=round(self._clock.monotonic() - known.began_at, 3),
        )
        self._ended.append((container_id, ended))
        self._on_change()

    def error(self, pod: LocalPod, reason: str, message: str) -> None:
        """Something went wrong with *pod*."""
        said = ErrorView(
            at=self._clock.now(),
            namespace=pod.metadata.namespace,
            pod=pod.metadata.name,
            reason=reason,
            message=message[:_LONGEST],
        )
        self._errors.append(said)
        self._on_change()

    def take(self, before: LocalPod | None, after: LocalPod | None) -> None:
        """A pod is another one than it was: its restarts may have ended, and it may look otherwise."""
        uid = after.metadata.uid if after is not None else ""
        if before is not None and before.metadata.uid != uid:
            self._forget(before.metadata.uid)
        if after is not None:
            self._look(after)
        if any(each is not None and is_asking(each) for each in (before, after)):
            self._on_change()

    def _forget(self, uid: str) -> None:
        for container_id, known in list(self._open.items()):
            if known.uid == uid:
                del self._open[container_id]
                self._on_change()

    def _look(self, pod: LocalPod) -> None:
        """What the kubelet says of the containers whose restart is told of."""
        uid = pod.metadata.uid
        for container_id, known in [each for each in self._open.items() if each[1].uid == uid]:
            status = pod.status.of(known.view.container)
            if status is None or (status.container_id == container_id and status.state.running is not None):
                continue
            waiting = status.state.waiting
            if status.container_id != container_id and status.state.running is not None:
                self.end(container_id)
            elif waiting is not None and waiting.reason == "CrashLoopBackOff":
                self._move(known, "BackOff", known.view.detail)
            elif known.view.step in {"Kubelet", "Due"}:
                self._move(known, "Successor", "")

    def _move(self, known: _Open, step: RestartStep, detail: str) -> None:
        moved = replace(known.view, step=step, detail=detail[:_LONGEST])
        if moved != known.view:
            known.view = moved
            self._on_change()
