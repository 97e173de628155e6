"""What the node shows of itself: the one model behind the status page, its JSON, its events and the CLI.

camelCase on the wire. Sizes are bytes, rates bytes a second, times RFC 3339, durations seconds.
"""

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
    """The manifest it came from, file:line; empty for requests of the CLI."""


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
