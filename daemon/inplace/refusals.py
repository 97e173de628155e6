"""Changes of pods that the API server would not have, remembered so that no pod leaves its traffic for one.

Lost with the process: what was refused before that stands in the condition of the pod that was refused.
"""

from dataclasses import dataclass, field

from daemon.engine.clock import Clock
from daemon.inplace.observing import Refusal
from daemon.objects.local_pods import LocalPod

_AGAIN = 60.0
"""Seconds until a change of a pod that was refused is asked for again."""
_DOUBTED = 900.0
"""Seconds since its last refusal for which a revision is tried before a pod leaves its traffic for it."""


@dataclass(slots=True)
class _Revision:
    refused_at: float
    pods: dict[str, tuple[float, str]] = field(default_factory=dict)
    """By UID, the monotonic seconds of the refusal, and what was said."""


class Refusals:
    """Refusals by revision and pod."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._revisions: dict[tuple[str, str], _Revision] = {}
        """By namespace and name."""

    def add(self, pod: LocalPod, revision: str, message: str) -> None:
        """Remember that *pod* was not let to *revision*."""
        now = self._clock.monotonic()
        self._revisions = {
            key: each for key, each in self._revisions.items() if now - each.refused_at < _DOUBTED
        }
        known = self._revisions.setdefault((pod.metadata.namespace, revision), _Revision(now))
        known.refused_at = now
        known.pods[pod.metadata.uid] = now, message

    def held(self, pod: LocalPod, revision: str) -> Refusal | None:
        """The answer to the same change of the same pod, if it is too early to ask again."""
        known = self._revisions.get((pod.metadata.namespace, revision))
        at, message = known.pods.get(pod.metadata.uid, (0.0, "")) if known is not None else (0.0, "")
        left = at + _AGAIN - self._clock.monotonic()
        return Refusal(message, left) if message and left > 0 else None

    def doubted(self, pod: LocalPod, revision: str) -> bool:
        """Whether any pod was not let to *revision* lately: what one is refused, most others are, too."""
        known = self._revisions.get((pod.metadata.namespace, revision))
        return known is not None and self._clock.monotonic() - known.refused_at < _DOUBTED
