"""What is kept in mind of a node's pods between two plans: what they take, and what was done for them."""

import msgspec

from daemon import names
from daemon.localpods.room import Changes, Room, is_taking, taken_by
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key
from daemon.resizes.plans import Refusal
from daemon.resizes.runtime_numbers import Numbers

Fingerprint = tuple[object, ...]
"""What the numbers of the runtime depend on: when it is another one, they must be asked for again."""


def concerns(pod: LocalPod) -> bool:
    """Tell whether the pod has, or had, a wish."""
    annotations = pod.metadata.annotations
    return names.RESOURCES_ANNOTATION in annotations or names.RESIZE_RECORD_ANNOTATION in annotations


def fingerprint_of(pod: LocalPod) -> Fingerprint:
    """The pod's containers, and what spec and status say of their resources."""
    statuses = (*pod.status.container_statuses, *pod.status.init_container_statuses)
    containers = (*pod.spec.containers, *pod.spec.init_containers)
    return (
        tuple((each.name, each.resources) for each in containers),
        tuple((each.name, each.container_id, each.state.running, each.resources) for each in statuses),
    )


class Standing:
    """Which pods there are: those that ask for something by name, the others by what they take."""

    def __init__(self) -> None:
        self.asking: dict[Key, None] = {}
        self._others: dict[Key, Room] = {}
        self.others = Room()
        """What all those take together that ask for nothing."""

    def take(self, before: LocalPod | None, after: LocalPod | None) -> bool:
        """Take in a change; tell whether it means anything for resizes."""
        known = after if after is not None else before
        assert known is not None
        key = known.metadata.key
        asked = self.asking.pop(key, False) is None
        old = self._others.pop(key, Room())
        asks = after is not None and concerns(after)
        new = Room()
        if after is not None and asks:
            self.asking[key] = None
        elif after is not None and is_taking(after):
            new = self._others[key] = taken_by(after)
        self.others = self.others.less(old).plus(new)
        return asked or asks or old != new


class Doings(msgspec.Struct):
    """What this process did for one pod, and learned of it. Times are the loop's."""

    wish: str = ""
    """Digest of the wish that it is about."""
    began_at: float = 0.0
    """When that wish was first seen."""
    patched_at: float | None = None
    refusal: Refusal | None = None
    refused_until: float = 0.0
    doubted_at: float | None = None
    repairs: int = 0
    repaired_at: float = 0.0
    numbers: dict[str, Numbers | None] | None = None
    numbers_of: Fingerprint = ()
    numbers_at: float = 0.0
    before: Changes = {}
    """What the containers had that the wish names, when it was first seen."""
    usage: dict[str, int | None] | None = None
    """For one plan only."""
    problem: str = ""


class Remembered(msgspec.Struct):
    """The doings for all pods that ask, by UID."""

    every: dict[str, Doings] = {}

    def of(self, uid: str) -> Doings:
        """Those of one pod."""
        return self.every.setdefault(uid, Doings())

    def keep_only(self, uids: set[str]) -> None:
        """Forget the pods that are gone, or ask no more."""
        for uid in self.every.keys() - uids:
            del self.every[uid]
