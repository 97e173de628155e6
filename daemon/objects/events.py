"""Event of ``events.k8s.io/v1``: what ``kubectl describe`` shows of an object's past."""

from typing import Literal

from daemon.objects.meta import ObjectMeta, Wire


class ObjectReference(Wire, frozen=True):
    """The object that an event is about."""

    kind: str
    name: str
    namespace: str = ""
    uid: str = ""
    api_version: str = ""
    resource_version: str = ""


class EventSeries(Wire, frozen=True):
    """How often the same happened, and when last, as text of ``metav1.MicroTime``."""

    count: int
    last_observed_time: str


class Event(Wire, frozen=True):
    """Something that happened to an object."""

    metadata: ObjectMeta
    event_time: str
    reporting_controller: str
    reporting_instance: str
    action: str
    reason: str
    regarding: ObjectReference
    type: Literal["Normal", "Warning"]
    """Required by the API, so never left out as a default would be."""
    note: str = ""
    series: EventSeries | None = None
    api_version: str = "events.k8s.io/v1"
    kind: str = "Event"
