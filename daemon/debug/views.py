"""What the node shows of itself: the one model behind the status page, its JSON, its events and the CLI.

camelCase on the wire. Sizes are bytes, rates bytes a second, times RFC 3339, durations seconds.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from msgspec import Struct

from daemon.objects.meta import Condition


class View(Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of all views."""


class RuntimeView(View, frozen=True):
    """One container runtime of the node."""

    socket: str
    ready: bool
    name: str = ""
    version: str = ""
    message: str = ""
    progress: Literal["bytes", "phases"] = "phases"
    pins: Literal["label", "lease", "none"] = "none"


class DiskView(View, frozen=True):
    """The file system that holds the images. available = free - reserve, never below 0."""

    mountpoint: str
    capacity: int
    free: int
    reserve: int
    available: int


class LayerView(View, frozen=True):
    """One layer of a pull."""

    digest: str
    size: int
    done: int
    state: Literal["waiting", "fetching", "fetched", "reused"]


class PullView(View, frozen=True):
    """One wanted image of the node."""

    image: str
    phase: Literal["Waiting", "Pulling", "Unpacking", "BackingOff", "Succeeded", "Failed"]
    version: int = 0
    priority: int = 0
    percent: int = 0
    bytes_done: int = 0
    """Fetched in this pull."""
    bytes_total: int = 0
    """To fetch in this pull: reused layers are not part of it. 0 while unknown."""
    bytes_reused: int = 0
    """In layers that were on the node already."""
    rate: float = 0.0
    seconds_left: float | None = None
    layers: tuple[LayerView, ...] = ()
    failures: int = 0
    retry_at: datetime | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    reason: str = ""
    message: str = ""
    remedy: str = ""
    pinned: bool = False
    image_id: str = ""
    owners: tuple[str, ...] = ()
    """The jobs that want it, as kind/namespace/name."""


class JobView(View, frozen=True):
    """One ImagePullJob or ImageListPullJob. Counts are nodes for the first, images for the second."""

    kind: str
    namespace: str
    name: str
    images: tuple[str, ...]
    desired: int
    active: int
    succeeded: int
    failed: int
    message: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    conditions: tuple[Condition, ...] = ()
    source: str = ""
    """The manifest it came from, file:line, or the cluster; empty for requests of the CLI."""


class ProblemView(View, frozen=True):
    """A document that was refused. Everything else went on."""

    file: str
    line: int
    message: str
    object: str = ""
    """kind namespace/name, as far as known."""
    field: str = ""
    value: str = ""
    allowed: str = ""


class NextImageView(View, frozen=True):
    """One image of a revision that was announced to a pod."""

    container: str
    image: str
    phase: str = ""
    """Of its pull; empty where this node pulls no such image."""
    percent: int = 0
    bytes_done: int = 0
    bytes_total: int = 0


class UpdateView(View, frozen=True):
    """A pod that is to become another revision, and how far its node is prepared for that."""

    namespace: str
    pod: str
    revision: str
    ready: bool = False
    fits: bool | None = None
    """Whether the node has room for what it asks for; None while that is not known."""
    reason: str = ""
    message: str = ""
    since: datetime | None = None
    """When it was announced."""
    images: tuple[NextImageView, ...] = ()


RestartStep = Literal[
    "Settling",
    "Waiting",
    "Due",
    "Kubelet",
    "PreStop",
    "Stopping",
    "Successor",
    "BackOff",
    "Failed",
    "Done",
]
"""Kubelet: it is left to the kubelet, as the image changed too. Successor: stopped, the next one is due."""


class RestartView(View, frozen=True):
    """A container that is started anew, or was lately."""

    namespace: str
    pod: str
    container: str
    step: RestartStep
    why: str = ""
    """Variables are named in it, values never."""
    detail: str = ""
    """Until when it waits, or what failed."""
    since: datetime | None = None
    ended_at: datetime | None = None
    seconds: float | None = None
    """How long it took, once it has ended."""


class ChangeView(View, frozen=True):
    """One quantity of a container, or of the pod as a whole (no container), that is to be another."""

    container: str
    name: str
    """``cpu request``, ``memory limit`` …"""
    wanted: str
    before: str = ""
    """What is in force; empty where there is none, or nobody knows any more."""


class ResizeView(View, frozen=True):
    """A pod whose CPU or memory was asked to be another."""

    namespace: str
    pod: str
    state: str
    """Asked, or a reason of the condition ``inplaced.dev/ResourcesInSync``."""
    changes: tuple[ChangeView, ...] = ()
    message: str = ""
    since: datetime | None = None


class ErrorView(View, frozen=True):
    """What went wrong with a pod, as it was told of it in an event."""

    at: datetime
    namespace: str
    pod: str
    reason: str
    message: str


class PodsView(View, frozen=True):
    """What changes in place on this node. Pods of which nobody asks for anything are not part of it."""

    problem: str = ""
    """Why there is nothing to see: the pods are not known."""
    updates: tuple[UpdateView, ...] = ()
    restarts: tuple[RestartView, ...] = ()
    """Those under way, the longest first, then those that have ended, the latest first."""
    resizes: tuple[ResizeView, ...] = ()
    errors: tuple[ErrorView, ...] = ()
    """The latest first."""
    omitted: Mapping[str, int] = {}
    """How many more there are, by name of the list."""


class NodeView(View, frozen=True):
    """Everything at one moment."""

    node: str
    version: str
    started_at: datetime
    now: datetime
    ready: bool
    runtimes: tuple[RuntimeView, ...] = ()
    disk: DiskView | None = None
    pulls: tuple[PullView, ...] = ()
    jobs: tuple[JobView, ...] = ()
    problems: tuple[ProblemView, ...] = ()
    pods: PodsView | None = None
    """None where no node is shown."""
