"""What the controller of CloneSets works with."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from daemon.engine.clock import Clock
from daemon.inplace.targets import Progress, Target
from daemon.kube.client import ApiClient
from daemon.kube.events import EventRecorder, Level
from daemon.kube.informer import Informer
from daemon.kube.resources import Resource
from daemon.localpods.indexes import BY_CONTROLLER
from daemon.metrics import Metrics
from daemon.objects.local_pods import LocalPod
from daemon.objects.revisions import ControllerRevision, PersistentVolumeClaim
from daemon.objects.workloads import CloneSet

BY_INSTANCE: Final = "instance"
"""Claims by the pod of a set that they belong to, whether there is one or not: see ``instance``."""

UNCONTROLLED: Final = "uncontrolled"
"""Revisions that nobody controls, by namespace."""


def instance(set_uid: str, id_: str) -> str:
    """What tells one of a set's pods, and its successors of the same id, from all others."""
    return f"{set_uid}/{id_}"


class Updates(Protocol):
    """Updates one pod in place: ``daemon.inplace.updates.PodUpdates``."""

    async def advance(self, pod: LocalPod, target: Target) -> Progress:
        """Make the writes that can be made now. Raises ConflictError, NotFoundError or another ApiError."""
        ...

    async def leave(self, pod: LocalPod, why: str) -> float | None:
        """Give a pod whose update nobody ends back to its traffic; return when to come again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSurroundings:
    """The objects of CloneSets and the ways to act on them.

    Informers of owned kinds have the index BY_CONTROLLER, that of claims BY_INSTANCE, that of revisions
    UNCONTROLLED as well.
    """

    client: ApiClient
    kind: Resource[CloneSet]
    sets: Informer[CloneSet]
    pods: Informer[LocalPod]
    revisions: Informer[ControllerRevision]
    claims: Informer[PersistentVolumeClaim]
    recorder: EventRecorder
    metrics: Metrics
    clock: Clock

    def pods_of(self, obj: CloneSet) -> Sequence[LocalPod]:
        """The pods that *obj* controls, as last seen."""
        return self.pods.indexed(BY_CONTROLLER, obj.metadata.uid)

    def revisions_of(self, obj: CloneSet) -> Sequence[ControllerRevision]:
        """The revisions of *obj*, as last seen."""
        return self.revisions.indexed(BY_CONTROLLER, obj.metadata.uid)

    def claims_of(self, obj: CloneSet) -> Sequence[PersistentVolumeClaim]:
        """The claims of *obj*'s pods, as last seen."""
        return self.claims.indexed(BY_CONTROLLER, obj.metadata.uid)

    def claims_of_instance(self, obj: CloneSet, id_: str) -> Sequence[PersistentVolumeClaim]:
        """The claims of the pod of *obj* with this id, as last seen."""
        return self.claims.indexed(BY_INSTANCE, instance(obj.metadata.uid, id_))

    def is_as_it_was(self, obj: CloneSet) -> bool:
        """Whether what *obj* asks for is still asked for, as far as that is known."""
        now = self.sets.get(obj.metadata.key)
        return (
            now is not None
            and now.metadata.uid == obj.metadata.uid
            and now.metadata.generation == obj.metadata.generation
            and now.metadata.deletion_timestamp is None
        )

    def now(self) -> datetime:
        """Wall time."""
        return self.clock.now()

    def record(self, obj: CloneSet, reason: str, note: str, *, action: str, type_: Level = "Normal") -> None:
        """Have it said that *reason* happened to *obj*; returns at once, never raises."""
        self.recorder.record(self.kind, obj, reason, note, action=action, type_=type_)
