"""What a plan for a node's resizes is made of: what was seen, what is to be done and to be told. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from daemon.localpods.room import Room
from daemon.objects.local_pods import LocalPod, ResourceRequirements
from daemon.objects.resizes import Outcome, Record
from daemon.resizes.runtime_numbers import Numbers
from daemon.resizes.targets import Value


class Served(msgspec.Struct, frozen=True):
    """What the API server offers for resizes."""

    resize: bool = True
    """Whether pods have the subresource ``resize``."""
    version: str = ""
    """Of the API server."""


class Blame(StrEnum):
    """Why the API server did not take a patch."""

    ROOM = "room"
    """It says that the node can never hold it."""
    PATCH = "patch"
    """It says that the patch is not valid, or not allowed."""


class Refusal(msgspec.Struct, frozen=True):
    """A patch that was not taken."""

    values: tuple[Value, ...]
    blame: Blame
    message: str
    retry_in: float
    """Seconds until it is worth a try again; 0 or less when that is now."""


class PodSeen(msgspec.Struct, frozen=True):
    """One pod that asks for resources, and what else is known of it. What is None was not asked for."""

    pod: LocalPod
    usage: Mapping[str, int | None] | None = None
    """By container, the memory in bytes that cannot be reclaimed at once; None where it cannot be read."""
    numbers: Mapping[str, Numbers | None] | None = None
    """By running container, what the runtime says of it; None where it does not say."""
    problem: str = ""
    """Why the runtime could not be asked for the numbers."""
    refusal: Refusal | None = None
    patched_for: float | None = None
    """Seconds since this process last patched it; None when it did not."""
    doubted_for: float = 0.0
    """Seconds for which the runtime has had other numbers than a kubelet that says to be done."""
    repairs: int = 0
    """How often that was repaired without it staying so."""


class Observed(msgspec.Struct, frozen=True):
    """One moment of a node."""

    now: datetime
    asking: Sequence[PodSeen]
    others: Room
    """What the pods take that ask for nothing of us."""
    allocatable: Room | None
    """None while the Node cannot be read: then the kubelet alone counts room."""
    served: Served
    margin: int
    """Bytes that a memory limit must lie above what its container uses."""


class Resize(msgspec.Struct, frozen=True):
    """Have the API server set these values in exactly this pod."""

    pod: LocalPod
    values: tuple[Value, ...]
    restarts: Mapping[str, str]
    """Containers that the kubelet restarts for it, with their IDs."""


class Repair(msgspec.Struct, frozen=True):
    """Have the runtime give a container what its pod says and the kubelet believes."""

    pod: LocalPod
    container: str
    container_id: str
    wanted: ResourceRequirements
    found: Numbers
    why: str


Step = Resize | Repair


class Verdict(msgspec.Struct, frozen=True):
    """What is to be told of one pod."""

    pod: LocalPod
    outcome: Outcome
    message: str
    record: Record
    begins: bool = False
    """Whether the outcome is another one than is recorded for this wish."""


class Question(StrEnum):
    """What must be asked of the runtime before a decision."""

    USAGE = "usage"
    NUMBERS = "numbers"


class Plan(msgspec.Struct, frozen=True):
    """What follows from one moment."""

    steps: tuple[Step, ...] = ()
    """In the order in which they must be done."""
    verdicts: tuple[Verdict, ...] = ()
    questions: Mapping[str, Question] = {}
    """By UID: plan again when they are answered."""
    doubted: frozenset[str] = frozenset()
    """By UID: pods of which the runtime has other numbers than the kubelet believes."""
    wake_in: float | None = None
    """Seconds until the same would mean something else."""
