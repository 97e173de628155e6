"""What a pod becomes next, as it was told, and what its node says of that. Pure.

``inplaced.dev/next-revision`` holds ``{"revision":"web-6d9f","images":{"app":"repo/app:v2"},
"resources":{"app":{"requests":{},"limits":{}}},"since":"2026-01-01T00:00:00Z"}``. The node's agent answers
with the condition ``inplaced.dev/NextRevisionReady``, whose message begins with the revision it is about.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from daemon import names
from daemon.objects.local_pods import LocalPod, LocalPodCondition, ResourceRequirements
from daemon.objects.meta import Wire

PULLING: Final = "Pulling"
PULLED: Final = "Pulled"
PULL_FAILED: Final = "PullFailed"
NO_SPACE: Final = "NoSpace"
WOULD_NOT_FIT: Final = "WouldNotFit"
"""The reasons of the condition."""


class NextRevision(Wire, frozen=True):
    """What a pod becomes next: the images and resources that change, by container."""

    revision: str
    images: Mapping[str, str] = {}
    resources: Mapping[str, ResourceRequirements] = {}
    since: datetime | None = None
    """When it was announced."""


_DECODER = msgspec.json.Decoder(NextRevision)


def next_revision_of(pod: LocalPod) -> NextRevision | None:
    """What the pod was told; None without an announcement, or with one that cannot be read."""
    text = pod.metadata.annotations.get(names.NEXT_REVISION_ANNOTATION)
    try:
        return _DECODER.decode(text) if text else None
    except (msgspec.MsgspecError, UnicodeError):
        return None


def written(announced: NextRevision) -> str:
    """What the annotation holds."""
    return msgspec.json.encode(announced).decode()


def about(revision: str, message: str) -> str:
    """The message of a condition about *revision*."""
    return f"{revision}: {message}"


def answer_of(pod: LocalPod, revision: str) -> LocalPodCondition | None:
    """What the node's agent said of *revision*, if it is that revision that it spoke of last."""
    for condition in pod.status.conditions:
        if condition.type == names.NEXT_REVISION_READY and condition.message.startswith(about(revision, "")):
            return condition
    return None
