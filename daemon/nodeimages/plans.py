"""What plans for a node's images are made of: what was observed, and what is to be done. Pure data."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from enum import Enum, auto
from math import inf

import msgspec

from daemon.objects.images import ImageTagStatus, PullRule, SecretReference

NO_SPACE = "NoSpace"
NO_SPACE_REMEDY = "Free space on the node or lower --disk-reserve-percent; the pull is retried by itself."
UNCOUNTED = frozenset({NO_SPACE, "RuntimeDown"})
"""Reasons that wait for the node to recover and use up no retry."""
DEADLINE = "DeadlineExceeded"


class Failure(msgspec.Struct, frozen=True):
    """Why an attempt failed."""

    reason: str
    message: str
    remedy: str = ""
    final: bool = False
    """No retry can succeed."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One tag of the NodeImage's spec, with defaults filled in."""

    ref: str
    name: str
    tag: str
    version: int
    created_at: datetime
    rule: PullRule = "IfNotPresent"
    priority: int = 0
    timeout: float = 600.0
    backoff_limit: int = 3
    deadline_at: datetime | None = None
    secrets: tuple[SecretReference, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    owners: tuple[str, ...] = ()
    problem: Failure | None = None


class Facts(msgspec.Struct, frozen=True):
    """What a look at the runtime and the registry found, just before a pull."""

    image_id: str = ""
    """Id of the image if it is present."""
    needed: int = 0
    """Bytes of disk that a pull takes, unpacked."""


class Stage(Enum):
    """What is being done about an image now."""

    IDLE = auto()
    LOOKING = auto()
    PULLING = auto()
    CANCELLING = auto()


class Attempt(msgspec.Struct, frozen=True):
    """What this process knows of one request."""

    version: int
    stage: Stage = Stage.IDLE
    facts: Facts | None = None
    stale: bool = False
    """Whether the facts may have changed since: layers that it shares with others have come, perhaps."""
    failures: int = 0
    failure: Failure | None = None
    """Of the last attempt."""
    retry_at: float = 0.0
    """Monotonic seconds."""
    started_at: datetime | None = None
    image_id: str = ""
    """Set when the image is on the node."""
    percent: int = 0
    outstanding: int = 0
    """Bytes of disk that a running pull will still take."""


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a decision may depend on: one snapshot, taken at one time."""

    now: datetime
    monotonic: float
    wanted: Sequence[Wanted]
    recorded: Mapping[str, ImageTagStatus]
    """Last written status by reference."""
    attempts: Mapping[str, Attempt]
    pulled_at: float = -inf
    """Monotonic seconds of the last pull's end."""
    pinned: Collection[str] | None
    """References that we pinned; None where the runtime cannot pin."""
    pin_refused: Collection[str] = ()
    """References whose pin failed; not tried again in this version."""
    available: int
    """Bytes that pulls may use: free less reserve."""
    runtime_ready: bool = True
    workers: int = 2


class Look(msgspec.Struct, frozen=True):
    """Find out whether the image is present and how large it is; *failures* is what was counted before."""

    wanted: Wanted
    failures: int = 0


class Pull(msgspec.Struct, frozen=True):
    """Pull the image; *facts* are what the decision was based on."""

    wanted: Wanted
    facts: Facts


class Cancel(msgspec.Struct, frozen=True):
    """End the running look or pull of this version."""

    ref: str
    version: int


class Pin(msgspec.Struct, frozen=True):
    """Protect the image against garbage collection."""

    ref: str


class Unpin(msgspec.Struct, frozen=True):
    """Release our protection."""

    ref: str


Action = Look | Pull | Cancel | Pin | Unpin


class Plan(msgspec.Struct, frozen=True):
    """What to do now, what to report, and when time alone changes the answer."""

    actions: tuple[Action, ...] = ()
    report: Mapping[str, ImageTagStatus] = {}
    held: Mapping[str, Failure] = {}
    """Images that wait for disk space, with what they wait for."""
    wake_in: float | None = None
