"""What a pod was told that it becomes next, and what its node says of that. Pure.

``inplaced.dev/next-revision`` holds ``{"revision":"web-6d9f","images":{"app":"repo/app:v2"},
"resources":{"app":{"requests":{},"limits":{}}},"since":"2026-01-01T00:00:00Z"}``. The node's agent answers
with the condition ``inplaced.dev/NextRevisionReady``, whose message begins with the revision it is about.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from daemon import names
from daemon.objects.local_pods import LocalPod, LocalPodCondition, ResourceRequirements
from daemon.objects.meta import Wire

PULLING = "Pulling"
PULLED = "Pulled"
PULL_FAILED = "PullFailed"
NO_SPACE = "NoSpace"
WOULD_NOT_FIT = "WouldNotFit"
"""The reasons of the condition."""


class NextRevision(Wire, frozen=True):
    """What a pod becomes next: the images and resources that change, by container."""

    revision: str
    images: Mapping[str, str] = {}
    resources: Mapping[str, ResourceRequirements] = {}
    since: datetime | None = None
    """When it was announced."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The pod can change. *reason* is empty where its node has said so."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Preparing:
    """The node works on it, or has not answered yet; it may be looked at again after *seconds*."""

    message: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Unprepared:
    """The node cannot be prepared as things are; *reason* is the condition's."""

    reason: str
    message: str


Preparation = Prepared | Preparing | Unprepared

_DECODER = msgspec.json.Decoder(NextRevision)


def next_revision_of(pod: LocalPod) -> NextRevision | None:
    """What the pod was told; None without an announcement, or with one that cannot be read."""
    text = pod.metadata.annotations.get(names.NEXT_REVISION_ANNOTATION)
    try:
        return _DECODER.decode(text) if text else None
    except (msgspec.MsgspecError, UnicodeError):
        return None


def about(revision: str, message: str) -> str:
    """The message of a condition about *revision*."""
    return f"{revision}: {message}"


def answer_of(pod: LocalPod, revision: str) -> LocalPodCondition | None:
    """What the node's agent said of *revision*, if it is that revision that it spoke of last."""
    for condition in pod.status.conditions:
        if condition.type == names.NEXT_REVISION_READY and condition.message.startswith(about(revision, "")):
            return condition
    return None


def preparation_of(pod: LocalPod, revision: str, now: datetime, deadline: float) -> Preparation:
    """How far the pod's node is with *revision*; after *deadline* seconds without an answer, it is left."""
    told = next_revision_of(pod)
    if told is None or told.revision != revision:
        return Prepared("NotAnnounced")
    answer = answer_of(pod, revision)
    if answer is None:
        since = told.since or now
        left = (since + timedelta(seconds=deadline) - now) / timedelta(seconds=1)
        return Preparing("its node has not answered yet", left) if left > 0 else Prepared("NotAnswered")
    if answer.status == "True":
        return Prepared()
    message = answer.message.removeprefix(about(revision, ""))
    return Preparing(message) if answer.reason == PULLING else Unprepared(answer.reason, message)
