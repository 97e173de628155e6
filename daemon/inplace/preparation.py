"""Whether a pod that was told what it becomes next can change now. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from daemon.objects.local_pods import LocalPod
from daemon.objects.next_revisions import PULLING, about, answer_of, next_revision_of

ANSWER = 15.0
"""Seconds from the announcement in which a node says something: one that cannot is not waited for."""


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


def preparation_of(pod: LocalPod, revision: str, now: datetime, deadline: float) -> Preparation:
    """How far the pod's node is with *revision*, for which it has *deadline* seconds."""
    told = next_revision_of(pod)
    if told is None or told.revision != revision:
        return Prepared("NotAnnounced")
    answer, age = answer_of(pod, revision), (now - (told.since or now)) / timedelta(seconds=1)
    if answer is None:
        left = min(ANSWER, deadline) - age
        return Preparing("its node has not answered yet", left) if left > 0 else Prepared("NotAnswered")
    message = answer.message.removeprefix(about(revision, ""))
    if answer.status == "True":
        return Prepared()
    if answer.reason != PULLING:
        return Unprepared(answer.reason, message)
    return Preparing(message, deadline - age) if age < deadline else Prepared("TooSlow")
