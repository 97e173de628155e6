"""Whether what an update wrote has come about, by what kubelet and agent say of the pod. Pure."""

from collections.abc import Iterator
from datetime import datetime

from daemon import names
from daemon.inplace.changes import fulfils
from daemon.inplace.evidence import Missing, agents_word, status_of
from daemon.inplace.images import image_missing, is_named
from daemon.inplace.observing import Records, records_of
from daemon.inplace.records import LastStatus, State, restart_counts_of
from daemon.objects.container_env import from_metadata, restartable
from daemon.objects.local_pods import Container, ContainerStatus, LocalPod, ResourceRequirements
from daemon.objects.resizes import Outcome, Wanted, Wish, WishError, record_of, wish_of
from daemon.objects.running_containers import newest_status

_FAILED_RESIZES = frozenset({Outcome.INFEASIBLE, Outcome.ROLLED_BACK, Outcome.UNSUPPORTED})
_STATE = names.STATE_ANNOTATION
_RESIZE_PENDING = "PodResizePending"
"""The kubelet's condition of a resize that it has not begun (KEP-1287)."""


def missing(pod: LocalPod, state: State | None, now: datetime) -> tuple[Missing, ...]:
    """What of the update *state* has not come about; nothing means that it is verified."""
    if state is None:
        return ()
    found = _restarts(pod, state, now)
    return (*found, *_resources(pod, state)) if state.update_resources else found


def unproven(pod: LocalPod, state: State, now: datetime) -> frozenset[str]:
    """The containers of which it is not sure yet that they run the image which *state* gave them."""
    return frozenset(
        container.name
        for container, _ in _changed(pod, state)
        if image_missing(pod, state, container, now) is not None
    )


def restarting(pod: LocalPod, records: Records, now: datetime) -> tuple[Missing, ...]:
    """The restarts that are missing of what was written to *pod*. A resize takes no traffic away."""
    if records.problem:
        return unreadable(pod)
    if records.state is None or records.grace is not None:  # of what waits, nothing has been written
        return ()
    return _restarts(pod, records.state, now)


def is_put_off(pod: LocalPod) -> bool:
    """Whether containers of *pod* change only when others are through."""
    state = records_of(pod).state if "nextContainer" in pod.metadata.annotations.get(_STATE, "") else None
    return state is not None and state.has_next


def is_unfinished(pod: LocalPod, now: datetime, *, resized: bool) -> bool:
    """Whether something of an update that stands on *pod* has not come about; its resize, if *resized*."""
    records = records_of(pod)
    if is_put_off(pod) or restarting(pod, records, now):
        return True
    return resized and records.state is not None and bool(missing(pod, records.state, now))


def _restarts(pod: LocalPod, state: State, now: datetime) -> tuple[Missing, ...]:
    return (*_images(pod, state, now), *_environments(pod, state, now))


def unreadable(pod: LocalPod) -> tuple[Missing, ...]:
    """What is missing of a pod whose state cannot be read: each container must run what its spec says."""
    found = []
    for container in pod.spec.containers:
        status = status_of(pod, container.name)
        if status is None or not status.container_id or not is_named(container, status):
            found.append(Missing("Restarting", f"container {container.name} does not run {container.image}"))
    return tuple(found)


def _changed(pod: LocalPod, state: State) -> Iterator[tuple[Container, LastStatus]]:
    last = state.last_container_statuses or {}
    for container in pod.spec.containers:
        if container.name in last:
            yield container, last[container.name]


def _images(pod: LocalPod, state: State, now: datetime) -> Iterator[Missing]:
    for container, _ in _changed(pod, state):
        found = image_missing(pod, state, container, now)
        if found is not None:
            yield found


def _environments(pod: LocalPod, state: State, now: datetime) -> Iterator[Missing]:
    if not state.update_env_from_metadata:
        return
    for container in restartable(pod):
        status = newest_status(pod, container.name)
        if not from_metadata(container) or _has_environment(pod, state, container, status, now):
            continue
        words = f"container {container.name} does not run with the pod's labels and annotations yet"
        yield Missing("Restarting", words)


def _has_environment(
    pod: LocalPod, state: State, container: Container, status: ContainerStatus | None, now: datetime
) -> bool:
    if status is None or not status.container_id:
        return False
    told = agents_word(pod, container, status)
    if told is not None:
        return told
    # The kubelet gives a container what the pod says at its start: one patch changed both.
    if container.name in (state.last_container_statuses or {}):
        return image_missing(pod, state, container, now) is None
    count = restart_counts_of(pod).get(container.name)
    return (
        count is not None
        and count.revision == state.revision
        and status.restart_count > count.restart_count
        and status.state.running is not None
    )


def _resources(pod: LocalPod, state: State) -> list[Missing]:
    """By the specs and statuses themselves; the agent's word tells why it does not come about."""
    record = record_of(pod)
    told = record if record is not None and record.revision == state.revision else None
    if told is not None and told.reason in _FAILED_RESIZES:
        words = told.cause or _message_of(pod, names.RESOURCES_IN_SYNC) or "the resize failed"
        return [Missing(str(told.reason), words, failed=True)]
    wish = _wish(pod)
    if wish is not None and wish.revision != state.revision:
        return []  # somebody else has other wishes by now
    late = [name for name in _resized(pod, wish) if not _is_resized(pod, wish, name)]
    if not late:
        return []
    pending = next((each for each in pod.status.conditions if each.type == _RESIZE_PENDING), None)
    if told is None and pending is not None and pending.reason == Outcome.INFEASIBLE:
        return [Missing(Outcome.INFEASIBLE, pending.message, failed=True)]
    words = _message_of(pod, names.RESOURCES_IN_SYNC) if told is not None else ""
    reason = str(told.reason) if told is not None and words else str(Outcome.RESIZING)
    return [Missing(reason, words or f"the resize of {', '.join(late)} is under way")]


def _wish(pod: LocalPod) -> Wish | None:
    try:
        return wish_of(pod.metadata.annotations.get(names.RESOURCES_ANNOTATION, ""))
    except WishError:
        return None


def _resized(pod: LocalPod, wish: Wish | None) -> list[str]:
    """The containers that the wish names; all, where an update of OpenKruise's left none."""
    return list(wish.containers) if wish is not None else [each.name for each in pod.spec.containers]


def _is_resized(pod: LocalPod, wish: Wish | None, name: str) -> bool:
    """Whether the spec has what is wished, and the kubelet has given what the spec has."""
    container = next((each for each in restartable(pod) if each.name == name), None)
    status = status_of(pod, name)
    if container is None or status is None or status.resources is None:
        return container is None
    wanted = wish.containers[name] if wish is not None else Wanted()
    texts = [{key: str(each) for key, each in part.items()} for part in (wanted.requests, wanted.limits)]
    asked = ResourceRequirements(requests=texts[0], limits=texts[1])
    return fulfils(container.resources, asked) and fulfils(status.resources, container.resources)


def _message_of(pod: LocalPod, condition: str) -> str:
    found = (each for each in pod.status.conditions if each.type == condition)
    return next((each.message for each in found), "")
