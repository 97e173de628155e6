"""Writes the status of CloneSets: what matters at once, counters at a bounded rate."""

from dataclasses import dataclass

import msgspec

from daemon import names
from daemon.engine.clock import Clock
from daemon.engine.objects import NotFoundError
from daemon.kube.objects import KubeObjects
from daemon.objects.meta import condition_of
from daemon.objects.workloads import CloneSet, CloneSetStatus

_BETWEEN = 0.5
"""Seconds between two writes that only count."""
_NEAR = 0.001
"""Seconds before its time at which a write may go out, since timers are not exact."""


@dataclass(slots=True)
class _Told:
    at: float


class SetStatuses:
    """What sets were told last, and when."""

    def __init__(self, sets: KubeObjects[CloneSet], clock: Clock) -> None:
        self._sets = sets
        self._clock = clock
        self._told: dict[str, _Told] = {}

    def forget(self, uid: str) -> None:
        """The set is gone."""
        self._told.pop(uid, None)

    async def tell(self, obj: CloneSet, status: CloneSetStatus) -> float | None:
        """Have the set say *status*; return in how many seconds to come again when it is too early for it."""
        if obj.status == status:
            return None
        uid, now = obj.metadata.uid, self._clock.monotonic()
        told = self._told.get(uid)
        wait = told.at + _BETWEEN - now if told is not None else 0.0
        if wait > _NEAR and not _matters(obj.status, status):
            return wait
        # Nobody else writes it, and what it is about stands in observedGeneration: no resourceVersion.
        metadata = msgspec.structs.replace(obj.metadata, resource_version="")
        try:
            await self._sets.replace_status(msgspec.structs.replace(obj, metadata=metadata, status=status))
        except NotFoundError:
            self.forget(uid)
            return None
        self._told[uid] = _Told(now)
        return None


def _matters(before: CloneSetStatus, after: CloneSetStatus) -> bool:
    """Whether somebody may wait for it: another spec is spoken of, or the set is ready or stalled now."""
    if before.observed_generation != after.observed_generation:
        return True
    if before.update_revision != after.update_revision or before.current_revision != after.current_revision:
        return True
    states = [
        [(each.status if (each := condition_of(status.conditions, type_)) else "") for type_ in _WATCHED]
        for status in (before, after)
    ]
    return states[0] != states[1]


_WATCHED = (names.READY, names.STALLED)
