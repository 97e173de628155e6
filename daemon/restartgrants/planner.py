"""Decides which pods of one owner may restart their drifted containers now. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf
from typing import Final, Literal

from daemon import names
from daemon.localpods.conditions import condition_of
from daemon.objects.local_pods import Container, ContainerStatus, LocalPod
from daemon.objects.references import ImageReference, InvalidReferenceError, parse
from daemon.objects.restart_grants import budget, controller_of, granted, has_opted_in
from daemon.objects.running_containers import drifted, running_containers
from daemon.objects.slim_pods import is_managed

Strategy = Literal["stop", "image-alias"]

_OVER: Final = frozenset({"Succeeded", "Failed"})
BACK_OFF_WINDOW: Final = timedelta(minutes=10)
"""For so long the kubelet remembers that a container ended: twice the longest back-off that it knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The pods of one owner that have opted in, at one moment."""

    pods: Sequence[LocalPod]
    now: datetime
    monotonic: float
    strategy: Strategy = "image-alias"
    """Where the pod does not name one."""
    settled_at: Mapping[str, float] = field(default_factory=dict)
    """By UID, the monotonic seconds from when on labels and annotations count as settled."""
    refused: frozenset[str] = frozenset()
    """UIDs of pods whose image the API server did not let us change."""
    barred: frozenset[str] = frozenset()
    """UIDs of pods that the API server did not let us grant anything: they stand in no other's way."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Let this pod's agent stop these containers."""

    pod: LocalPod
    containers: Mapping[str, str]
    """ID by name."""
    images: Mapping[str, str] = field(default_factory=dict)
    """By name of the container, another reference to its image: the kubelet restarts it at once."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is granted now."""

    grants: tuple[Grant, ...] = ()
    again_in: float = inf
    """Seconds after which more is granted though nothing happens."""


def group_of(pod: LocalPod) -> str:
    """The UID of the owner whose pods restart a few at a time; empty when the controller need not decide."""
    owner = controller_of(pod)
    return owner.uid if owner is not None and has_opted_in(pod) else ""


def plan(seen: Observed) -> Plan:
    """Which restarts are granted: none of a pod that is there while too many others are away."""
    pods = [pod for pod in seen.pods if _counts(pod)]
    away = {pod.metadata.uid for pod in pods if not _is_there(pod)}
    grants: list[Grant] = []
    again_in = inf
    for pod in sorted(pods, key=lambda pod: (pod.metadata.uid not in away, pod.metadata.name)):
        containers = {} if _is_restarting(pod) or _is_changing(pod) else drifted(pod)
        free = pod.metadata.uid in away or len(away) < budget(pod, len(pods)).pods
        if not containers or not free or pod.metadata.uid in seen.barred:
            continue
        images = _aliases(seen, pod, containers)
        pause = seen.settled_at.get(pod.metadata.uid, -inf) - seen.monotonic
        away.add(pod.metadata.uid)
        if images and pause > 0:  # the kubelet waits for nobody
            again_in = min(again_in, pause)
        else:
            grants.append(Grant(pod, containers, images))
    return Plan(tuple(grants), again_in)


def _counts(pod: LocalPod) -> bool:
    """Whether it is one of the owner's replicas: evicted pods may lie about for days, and are replaced."""
    return pod.metadata.deletion_timestamp is None and pod.status.phase not in _OVER


def _is_there(pod: LocalPod) -> bool:
    ready = condition_of(pod, names.READY)
    return ready is not None and ready.status == "True" and not _is_restarting(pod)


def _is_changing(pod: LocalPod) -> bool:
    """Whether it is being updated in place: its agent restarts what drifted for that, and asks nobody."""
    gate = condition_of(pod, names.IN_PLACE_UPDATE_READY)
    return gate is not None and gate.status == "False"


def _is_restarting(pod: LocalPod) -> bool:
    """Whether a grant is open: the agent takes it away in the report that tells its end."""
    told = running_containers(pod)
    return any(each.id == granted(pod).get(name) for name, each in told.items())


def _aliases(seen: Observed, pod: LocalPod, containers: Mapping[str, str]) -> Mapping[str, str]:
    """Other references for the images of those containers, if the kubelet would let them wait else.

    None for pods of OpenKruise's kinds: whoever updates those in place compares their images.
    """
    chosen = pod.metadata.annotations.get(names.RESTART_STRATEGY_ANNOTATION, seen.strategy)
    if chosen != "image-alias" or pod.metadata.uid in seen.refused or is_managed(pod):
        return {}
    waiting = [name for name in containers if _would_wait(pod, name, seen.now)]
    found = {name: alias_of(_asked(pod, name), pod.status.of(name)) for name in waiting}
    return found if all(found.values()) else {}


def _would_wait(pod: LocalPod, name: str, now: datetime) -> bool:
    """Whether the kubelet would start the successor only after its back-off."""
    status = pod.status.of(name)
    ended = status.last_state.terminated if status is not None else None
    return ended is not None and ended.finished_at is not None and now - ended.finished_at < BACK_OFF_WINDOW


def alias_of(container: Container | None, status: ContainerStatus | None) -> str:
    """A reference that this pod never had, to the same bytes; empty when none is to be had.

    The runtime has the image under its digest in the repository that it was pulled from: of no other
    repository, and of no image that was loaded by hand, is that known.
    """
    if container is None or status is None:
        return ""
    try:
        asked, running = parse(container.image), parse(status.image_id)
    except InvalidReferenceError:
        return ""
    if running.digest is None or asked.name != running.name:
        return ""
    tag = f"{names.PROGRAM}-restart-{status.restart_count + 1}"
    return str(ImageReference(asked.registry, asked.repository, tag, running.digest))


def _asked(pod: LocalPod, name: str) -> Container | None:
    """The container; no native sidecar, whose image the API server lets nobody change as lightly."""
    return next((each for each in pod.spec.containers if each.name == name), None)
