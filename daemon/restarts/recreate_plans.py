"""What is known of the requests for one pod, and what is to be done: frozen data."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum

import msgspec

from daemon.objects.local_pods import LocalPod
from daemon.objects.recreates import ContainerRecreateRequest, RecreateStatus

StopKey = tuple[str, str]
"""UID of the request, and name of the container."""


class Stage(Enum):
    """How a stop stands that this process began."""

    RUNNING = "running"
    STOPPED = "stopped"
    """By this process."""
    ENDED = "ended"
    """By itself, before this process could stop it."""
    AGAIN = "again"
    """It failed, and is tried again."""
    FAILED = "failed"


class Attempt(msgspec.Struct, frozen=True):
    """One stop of one container for one request."""

    container_id: str
    stage: Stage
    problem: str = ""
    """Why it failed."""
    again_at: datetime | None = None


class Observed(msgspec.Struct, frozen=True):
    """Everything that a decision depends on."""

    requests: Sequence[ContainerRecreateRequest]
    """All that name the pod."""
    pod: LocalPod | None
    stops: Mapping[StopKey, Attempt]
    now: datetime


class Tell(msgspec.Struct, frozen=True):
    """Write this status of the request; *warning* is to be said in an event, too."""

    request: ContainerRecreateRequest
    status: RecreateStatus
    warning: str = ""


class Stop(msgspec.Struct, frozen=True):
    """Stop exactly this container, on whose behalf the request's status says so by now."""

    request: ContainerRecreateRequest
    container: str
    container_id: str

    @property
    def key(self) -> StopKey:
        """Under which what becomes of it is remembered."""
        return self.request.metadata.uid, self.container


class Look(msgspec.Struct, frozen=True):
    """Look again after so many seconds."""

    seconds: float


Action = Tell | Stop | Look
