"""What is wanted of a pod's CPU and memory, and what became of it: the annotations of a resize. Pure."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Literal

import msgspec

from daemon import names
from daemon.objects.local_pods import LocalPod, ResourceRequirements
from daemon.objects.meta import Wire

Policy = Literal["Wait", "Rollback"]
Given = str | int | float | None
"""A quantity as it may stand in JSON; null asks for its removal."""
DEADLINE_SECONDS = 300
"""How long a resize may wait before it is rolled back, where nothing else is said."""


class Outcome(StrEnum):
    """The reasons of the condition ``inplaced.dev/ResourcesInSync``."""

    IN_SYNC = "InSync"
    RESIZING = "Resizing"
    DEFERRED = "Deferred"
    INFEASIBLE = "Infeasible"
    UNSAFE = "UnsafeDecrease"
    ERROR = "Error"
    ROLLED_BACK = "RolledBack"
    UNSUPPORTED = "Unsupported"


class Wanted(Wire, frozen=True, forbid_unknown_fields=True):
    """Quantities by resource. What is not named stays as it is."""

    requests: Mapping[str, Given] = {}
    limits: Mapping[str, Given] = {}


class Wish(Wire, frozen=True, forbid_unknown_fields=True):
    """The annotation ``inplaced.dev/resources``."""

    revision: str = ""
    """Of whoever asks; repeated in the record."""
    containers: Mapping[str, Wanted] = {}
    """By name: regular containers and sidecars."""
    pod: Wanted = Wanted()
    """Of the pod as a whole, where the cluster serves that."""
    on_deferred: Policy = "Wait"
    on_infeasible: Policy = "Wait"
    deadline_seconds: int = DEADLINE_SECONDS


class WishError(ValueError):
    """The annotation is no wish. The message names the field and what is allowed."""


class Record(Wire, frozen=True):
    """The annotation ``inplaced.dev/resize-record``: what a later agent must know of a resize."""

    wish: str
    """Digest of the wish that this is about."""
    reason: str
    since: datetime
    """When the reason became this one."""
    revision: str = ""
    before: Mapping[str, ResourceRequirements] | None = None
    """What a roll-back restores, by container; the pod's own under the empty name. None without one."""
    cause: str = ""
    """Why it was rolled back."""


_WISH = msgspec.json.Decoder(Wish)
_RECORD = msgspec.json.Decoder(Record)


def wish_of(text: str) -> Wish:
    """The wish that stands in the annotation. Raises WishError."""
    where = f"annotation {names.RESOURCES_ANNOTATION}"
    try:
        wish = _WISH.decode(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        allowed = "; allowed: Wait or Rollback" if "enum" in str(error) else ""
        raise WishError(f"{where}: {error}{allowed}") from error
    if wish.deadline_seconds < 0:
        raise WishError(f"{where}: deadlineSeconds {wish.deadline_seconds} is negative; allowed: 0 or more")
    if not wish.containers and wish.pod == Wanted():
        raise WishError(f"{where}: names no container; allowed: containers.<name>.requests and .limits")
    return wish


def digest_of(text: str) -> str:
    """What tells one wish from the next."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def record_of(pod: LocalPod) -> Record | None:
    """What was recorded of the pod's resize; None when there is nothing that can be read."""
    text = pod.metadata.annotations.get(names.RESIZE_RECORD_ANNOTATION)
    if text is None:
        return None
    try:
        return _RECORD.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return None


def written(record: Record) -> str:
    """The record as it stands in the annotation."""
    return msgspec.json.encode(record).decode()
