"""What one agent knows of a pod's containers between two looks. Lost, all of it is found out anew."""

from collections.abc import Mapping
from math import inf
from typing import Final

import msgspec

from daemon.engine.clock import Clock
from daemon.objects.local_pods import LocalPod
from daemon.restarts.plans import READ_AGAIN, Observed, Record, Stopping, Tries, Unreadable

RELIST: Final = 2.0
"""Seconds within which a kubelet has looked at all containers once more: it does each second, when it can."""
_FIRST_PAUSE, _LAST_PAUSE = 0.5, 30.0
"""Seconds before a stop that failed is tried again: doubling from the first to the last."""


class PodMemory(msgspec.Struct):
    """One pod, by its UID."""

    records: dict[str, Record | Unreadable] = {}
    """What a container was made with never changes: while it runs, it is read once."""
    read_at: dict[str, float] = {}
    """Monotonic seconds of each reading."""
    stops: dict[str, Stopping] = {}
    tries: dict[str, Tries] = {}
    since: dict[str, float] = {}
    failures: dict[str, int] = {}
    """By ID, how often a stop has failed."""
    updated_at: float = -inf
    """Monotonic seconds of the last change that the kubelet looks at the pod for: all but what others say in
    the status."""
    settled_at: float = -inf
    """Monotonic seconds from when on a stop leads to a successor with the labels and annotations of now."""

    def note_update(self, now: float, debounce: float, *, wanted: bool) -> None:
        """The pod changed; *wanted*: in labels or annotations that variables come from.

        A kubelet that has just handled one change handles the next one as soon as it has looked at its
        containers again, and starts a container that stopped meanwhile with what it knew before.
        """
        is_busy = now - self.updated_at < RELIST
        self.updated_at = now
        if wanted:
            self.settled_at = now + (max(RELIST, debounce) if is_busy else debounce)

    def note_start(self, now: float) -> None:
        """The kubelet has told of a container that it started.

        It learns of that by more than one event, and looks at the pod for each: once more with the labels and
        annotations from before a change that comes in this moment.
        """
        self.updated_at = now

    def hold(self, now: float) -> None:
        """The runtime came or went: its kubelet, too, has to look at the containers first."""
        self.updated_at = now
        self.settled_at = max(self.settled_at, now + RELIST)

    def observed(self, pod: LocalPod, clock: Clock) -> Observed:
        """The planner's view."""
        self._prune(pod, clock.monotonic())
        return Observed(
            pod=pod,
            now=clock.now(),
            monotonic=clock.monotonic(),
            settled_at=self.settled_at,
            records=self.records,
            stops=self.stops,
            tries=self.tries,
            since=self.since,
            read_at=self.read_at,
        )

    def note_record(self, container_id: str, record: Record | Unreadable, now: float) -> None:
        """A container was read."""
        self.records[container_id] = record
        self.read_at[container_id] = now

    def note_drift(self, drifting: frozenset[str], now: float) -> None:
        """Remember since when containers are not in sync."""
        self.since = {each: self.since.get(each, now) for each in drifting}

    @property
    def stopped(self) -> frozenset[str]:
        """IDs of the containers that were stopped, and not replaced as far as is known."""
        return frozenset(each for each, stop in self.stops.items() if stop.done)

    def begin_stop(self, container_id: str, name: str, fingerprint: str) -> None:
        """A stop is under way."""
        self.stops[container_id] = Stopping()
        before = self.tries.get(name, Tries("", 0))
        again = before.count if before.fingerprint == fingerprint else 0
        self.tries[name] = Tries(fingerprint, again + 1)

    def end_stop(self, container_id: str) -> None:
        """The container has stopped."""
        self.stops[container_id] = Stopping(done=True)

    def fail_stop(self, container_id: str, name: str, why: str, now: float, *, retry: bool) -> float:
        """The container was not stopped; return the seconds until it is tried again."""
        count = self.failures[container_id] = self.failures.get(container_id, 0) + 1
        pause = min(_FIRST_PAUSE * 2.0 ** (count - 1), _LAST_PAUSE) if retry else inf
        self.stops[container_id] = Stopping(failure=why, retry_at=now + pause)
        self.tries.pop(name, None)  # It was not restarted.
        return pause

    def _prune(self, pod: LocalPod, now: float) -> None:
        """Forget what is gone, and what may be wrong: a runtime that starts takes all for ended at first."""
        for container_id, record in list(self.records.items()):
            ended = isinstance(record, Record) and not record.is_running
            if ended and now - self.read_at.get(container_id, -inf) >= READ_AGAIN:
                del self.records[container_id]
        statuses = (*pod.status.container_statuses, *pod.status.init_container_statuses)
        known = {each.container_id for each in statuses}
        for kept in (self.records, self.read_at, self.stops, self.failures):
            _keep(kept, known)


def _keep(kept: dict[str, object] | Mapping[str, object], known: set[str]) -> None:
    assert isinstance(kept, dict)
    for gone in kept.keys() - known:
        del kept[gone]
