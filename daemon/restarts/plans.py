"""What is known of one pod's containers, and what is to be done: frozen data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from math import inf
from typing import Final

import msgspec

from daemon.objects.container_env import Expected
from daemon.objects.local_pods import Container, ContainerStatus, LocalPod, LocalPodCondition

MOST_TRIES: Final = 3
"""Restarts for the same labels and annotations, after which something else must be wrong."""


READ_AGAIN: Final = 1.0
"""Seconds after which a container is read again that seems to have ended, though the kubelet says it runs."""


@dataclass(frozen=True, slots=True)
class Record:
    """One container, as the runtime made it. Values may be confidential: they are not shown."""

    is_running: bool
    """Or about to: it was made, and did not end."""
    image_hash: int
    """The kubelet's, of name and image; 0 when the container is not the kubelet's."""
    image: str
    """As the pod asked for it when the container was made; empty where the runtime does not say."""
    env: Mapping[str, str] = field(repr=False)
    """Of those variables that matter."""
    metadata: Mapping[str, str] = field(repr=False)
    """Of those that come from labels and annotations."""
    command: tuple[str, ...] | None = field(default=None, repr=False)
    args: tuple[str, ...] | None = field(default=None, repr=False)
    """As the kubelet sent them; None where the runtime keeps only what became of them."""
    process: tuple[str, ...] = field(default=(), repr=False)
    """What was started: command, or the image's entrypoint, and arguments."""
    fingerprint: str = ""

    def runs(self, expected: Expected) -> bool:
        """Tell whether it was started with that command and those arguments."""
        if self.command is not None and self.args is not None:
            return (self.command, self.args) == (expected.command, expected.args)
        if expected.command:
            return self.process == expected.command + expected.args
        # The image's own entrypoint stands before the arguments.
        return not expected.args or self.process[-len(expected.args) :] == expected.args


class Unreadable(msgspec.Struct, frozen=True):
    """Why nothing is known of a container."""

    problem: str


class Stopping(msgspec.Struct, frozen=True):
    """One stop that was begun by this process."""

    done: bool = False
    failure: str = ""
    """Why it failed; empty when it did not (yet)."""
    retry_at: float = inf
    """Monotonic seconds from when on it is tried again."""


class Tries(msgspec.Struct, frozen=True):
    """How often a container was restarted for the same wanted values."""

    fingerprint: str
    count: int


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """One pod at one moment. Containers are known by ID, as the pod's status names them."""

    pod: LocalPod
    now: datetime
    monotonic: float
    settled_at: float = -inf
    """Monotonic seconds from when on labels and annotations count as settled."""
    records: Mapping[str, Record | Unreadable] = {}
    stops: Mapping[str, Stopping] = {}
    tries: Mapping[str, Tries] = {}
    """By name of the container."""
    since: Mapping[str, float] = {}
    """Monotonic seconds since when a container is not in sync."""
    read_at: Mapping[str, float] = {}
    """Monotonic seconds when a container was read."""


class Stage(StrEnum):
    """How far one container is on its way to what the pod asks for."""

    ABSENT = "absent"
    """It does not run, and not because of us."""
    UNREAD = "unread"
    IN_SYNC = "in sync"
    DRIFTED = "drifted"
    """Nobody wants it restarted for that."""
    SETTLING = "settling"
    WAITING = "waiting"
    """The controller decides when."""
    KUBELET = "kubelet"
    """Its image changed as well: the kubelet restarts it by itself."""
    DUE = "due"
    STOPPING = "stopping"
    PRE_STOP = "pre-stop"
    STOPPED = "stopped"
    """The kubelet starts its successor."""
    BACK_OFF = "back-off"
    FAILED = "failed"


class Finding(msgspec.Struct, frozen=True):
    """One container, judged."""

    container: Container
    status: ContainerStatus | None
    stage: Stage
    detail: str = ""
    """For people: variables that differ, what is waited for, what failed. Never a value."""
    record: Record | None = None
    again_in: float = inf
    """Seconds after which it is to be judged again though nothing happens."""

    @property
    def name(self) -> str:
        """Of the container."""
        return self.container.name

    @property
    def is_given_up(self) -> bool:
        """Whether it is not restarted, however long one waits, unless the pod changes."""
        return self.stage is Stage.FAILED and self.again_in == inf

    @property
    def container_id(self) -> str:
        """As the pod's status has it; empty before the first."""
        return self.status.container_id if self.status is not None else ""


class Look(msgspec.Struct, frozen=True):
    """Read what this container runs with."""

    container: Container
    container_id: str


class Stop(msgspec.Struct, frozen=True):
    """Stop exactly this container, so that the kubelet starts its successor."""

    name: str
    container_id: str
    reason: str
    fingerprint: str
    """What it is stopped for."""


class Report(msgspec.Struct, frozen=True):
    """What is to be told on the pod, in one write."""

    conditions: tuple[LocalPodCondition, ...] = ()
    annotations: Mapping[str, str | None] = {}
    stopped: Mapping[str, str] = {}
    """Containers whose stop counts as planned: ID by name."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done: looks first, then the report, and stops only when that is written."""

    looks: tuple[Look, ...] = ()
    report: Report | None = None
    stops: tuple[Stop, ...] = ()
    again_in: float = inf
    drifting: frozenset[str] = frozenset()
    """IDs of containers that are not what the pod asks for."""
    found: tuple[Finding, ...] = field(default=(), compare=False)
    """How each container stands."""
