"""Restarts that were asked for, by container: all others are crashes. Pure.

The annotation ``inplaced.dev/planned-restarts`` holds ``{"app":3}``. Beside it stands which container was
counted last, by its ID: a container is counted when the annotation does not name it yet, so that the same
stop is counted once however often it is reported, by whom, and over restarts of the agent.

To count a stop, name the container as its status does, before it is stopped::

    await reports.tell(pod, conditions, stopped={"app": "containerd://4f…"})

Written only afterwards, an agent that dies in between forgets the stop: unless something on the pod says by
then which container was to be stopped. ``PodReports`` has one write of a pod at a time and counts on what is
stored by then, so that two features of the agent do not overwrite each other's counts.

The containers to which an update in place gives other images stand in ``inplaced.dev/replaced-containers``
until their ends are counted: by the controller with its last word on the update, as a kubelet would look at
the pod for each annotation that its agent writes meanwhile (see ``objects.running_containers``); by the agent
when that word does not come.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from daemon import names
from daemon.objects.local_pods import LocalPod
from daemon.objects.running_containers import newest_status

_COUNTS = msgspec.json.Decoder(dict[str, int])
_CONTAINERS = msgspec.json.Decoder(dict[str, str])


def planned_restarts(pod: LocalPod) -> Mapping[str, int]:
    """How often each container was restarted because that was asked for. What is unreadable counts as 0."""
    try:
        told = _COUNTS.decode(pod.metadata.annotations.get(names.PLANNED_RESTARTS_ANNOTATION, "{}"))
    except msgspec.MsgspecError:
        return {}
    return {container: count for container, count in told.items() if count > 0}


def counted(pod: LocalPod, stopped: Mapping[str, str]) -> dict[str, str | None]:
    """The annotations that count the stop of those containers, ID by name; nothing when they are counted.

    What an update replaced before one of them counts with it: later, nobody could tell whether it is counted.
    """
    last = counted_last(pod)
    fresh = {container: stop for container, stop in stopped.items() if stop and last.get(container) != stop}
    if not fresh:
        return {}
    before = {name: old for name, old in replaced(pod).items() if old != fresh.get(name, old)}
    uncounted = [name for name, old in before.items() if last.get(name) != old]
    counts = Counter(planned_restarts(pod)) + Counter(fresh.keys()) + Counter(uncounted)
    written: dict[str, str | None] = {
        names.PLANNED_RESTARTS_ANNOTATION: _written(counts),
        names.COUNTED_STOPS_ANNOTATION: _written({**last, **fresh}),
    }
    if before:
        left = {name: old for name, old in updated(pod).items() if name not in before}
        written[names.REPLACED_ANNOTATION] = _written(left) if left else None
    return written


def unplanned_restarts(pod: LocalPod) -> Mapping[str, int]:
    """How often each container restarted although nobody asked for it, native sidecars included.

    A restart that is counted but has not happened yet makes it no less than it was.
    """
    last = counted_last(pod)
    planned = Counter(planned_restarts(pod))
    planned.update(name for name, old in replaced(pod).items() if last.get(name) != old)
    told = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    statuses = [newest_status(pod, each.name) or each for each in told]
    planned.subtract(
        each.name for each in statuses if each.container_id and last.get(each.name) == each.container_id
    )
    return {each.name: max(0, each.restart_count - max(0, planned[each.name])) for each in statuses}


def updated(pod: LocalPod) -> Mapping[str, str]:
    """By container, the ID of the one to which an update gives another image, and that is not counted yet."""
    return _containers(pod, names.REPLACED_ANNOTATION)


def replaced(pod: LocalPod) -> Mapping[str, str]:
    """Those of them that have a successor by now."""
    found = {name: (old, newest_status(pod, name)) for name, old in updated(pod).items()}
    return {
        name: old
        for name, (old, now) in found.items()
        if now is not None and now.container_id not in {"", old}
    }


def to_be_replaced(pod: LocalPod, containers: Iterable[str]) -> dict[str, str | None]:
    """The annotations with which *containers* get other images; what ended in an earlier update counts."""
    done = replaced(pod)
    left = {name: old for name, old in updated(pod).items() if name not in done}
    for name in containers:
        status = newest_status(pod, name)
        if status is not None and status.container_id:
            left[name] = status.container_id
    return {**counted(pod, done), names.REPLACED_ANNOTATION: _written(left) if left else None}


def all_replaced(pod: LocalPod) -> dict[str, str | None]:
    """The annotations with which an update ends; none when nothing of it is to be counted."""
    if names.REPLACED_ANNOTATION not in pod.metadata.annotations:
        return {}
    return {**counted(pod, replaced(pod)), names.REPLACED_ANNOTATION: None}


def counted_last(pod: LocalPod) -> Mapping[str, str]:
    """By container, the ID of the one whose stop was counted last."""
    return _containers(pod, names.COUNTED_STOPS_ANNOTATION)


def _containers(pod: LocalPod, annotation: str) -> Mapping[str, str]:
    try:
        return _CONTAINERS.decode(pod.metadata.annotations.get(annotation, "{}"))
    except msgspec.MsgspecError:
        return {}


def _written(value: Mapping[str, object]) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()
