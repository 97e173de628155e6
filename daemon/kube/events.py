"""Events that ``kubectl describe`` shows: repeats merged into series, never more than a bounded rate."""

from typing import Literal

from daemon.engine.clock import Clock
from daemon.engine.objects import ApiObject
from daemon.kube.client import ApiClient
from daemon.kube.resources import Resource
from daemon.metrics import Metrics


class EventRecorder:
    """Writes events of ``events.k8s.io/v1`` in the background; what cannot be written is dropped and counted."""

    def __init__(
        self, client: ApiClient, metrics: Metrics, clock: Clock, *, controller: str, instance: str
    ) -> None:
        raise NotImplementedError

    def record(
        self,
        resource: Resource[ApiObject],
        obj: ApiObject,
        reason: str,
        note: str,
        *,
        action: str = "",
        type_: Literal["Normal", "Warning"] = "Normal",
    ) -> None:
        """Have it said that *reason* happened to *obj*; returns at once, never raises.

        *reason* is CamelCase, *note* for people; *action* (what was done, default *reason*) is CamelCase too.
        """
        raise NotImplementedError

    async def run(self) -> None:
        """Write what was recorded until cancelled."""
        raise NotImplementedError
