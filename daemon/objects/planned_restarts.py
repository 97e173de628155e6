"""Restarts that were asked for, by container: all others are crashes. Pure.

The annotation ``inplaced.dev/planned-restarts`` holds ``{"app":3}``. Beside it stands which container was
counted last, by its ID: a container is counted when the annotation does not name it yet, so that the same
stop is counted once however often it is reported, by whom, and over restarts of the agent.

To count a stop, name the container as its status does, before it is stopped::

    await reports.tell(pod, conditions, stopped={"app": "containerd://4f…"})

Written only afterwards, an agent that dies in between forgets the stop: unless something on the pod says by
then which container was to be stopped. ``PodReports`` has one write of a pod at a time and counts on what is
stored by then, so that two features of the agent do not overwrite each other's counts.
"""

from collections.abc import Mapping

import msgspec

from daemon import names
from daemon.objects.local_pods import LocalPod

_COUNTS = msgspec.json.Decoder(dict[str, int])
_CONTAINERS = msgspec.json.Decoder(dict[str, str])


def planned_restarts(pod: LocalPod) -> Mapping[str, int]:
    """How often each container was restarted because that was asked for. What is unreadable counts as 0."""
    try:
        told = _COUNTS.decode(pod.metadata.annotations.get(names.PLANNED_RESTARTS_ANNOTATION, "{}"))
    except msgspec.MsgspecError:
        return {}
    return {container: count for container, count in told.items() if count > 0}


def counted(pod: LocalPod, stopped: Mapping[str, str]) -> dict[str, str]:
    """The annotations that count the stop of those containers, ID by name; nothing when they are counted."""
    last = counted_last(pod)
    fresh = {container: stop for container, stop in stopped.items() if stop and last.get(container) != stop}
    if not fresh:
        return {}
    before = planned_restarts(pod)
    counts = {**before, **{container: before.get(container, 0) + 1 for container in fresh}}
    return {
        names.PLANNED_RESTARTS_ANNOTATION: _written(counts),
        names.COUNTED_STOPS_ANNOTATION: _written({**last, **fresh}),
    }


def unplanned_restarts(pod: LocalPod) -> Mapping[str, int]:
    """How often each container restarted although nobody asked for it, native sidecars included.

    A restart that is counted but has not happened yet makes it no less than it was: none is below 0.
    """
    planned = planned_restarts(pod)
    statuses = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    return {each.name: max(0, each.restart_count - planned.get(each.name, 0)) for each in statuses}


def counted_last(pod: LocalPod) -> Mapping[str, str]:
    """By container, the ID of the one whose stop was counted last."""
    try:
        return _CONTAINERS.decode(pod.metadata.annotations.get(names.COUNTED_STOPS_ANNOTATION, "{}"))
    except msgspec.MsgspecError:
        return {}


def _written(value: Mapping[str, object]) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()
