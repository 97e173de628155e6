"""What pods take of their node, counted as the scheduler counts, and what would fit beside them. Pure.

See k8s.io/component-helpers/resource: while a pod is being resized it takes the most of what it asks for,
what the kubelet has allocated and what is in force; an infeasible wish takes nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from daemon.objects import quantities
from daemon.objects.local_nodes import LocalNode
from daemon.objects.local_pods import (
    RESIZE_PENDING,
    Container,
    ContainerStatus,
    LocalPod,
    ResourceRequirements,
)

_ENDED = frozenset({"Succeeded", "Failed"})
Changes = Mapping[str, ResourceRequirements]
"""Resources by container; the pod's own under the empty name. What is not named stays."""


class Room(NamedTuple):
    """CPU in millicores and memory in bytes."""

    cpu: int = 0
    memory: int = 0

    def plus(self, other: "Room") -> "Room":
        """Both together."""
        return Room(self.cpu + other.cpu, self.memory + other.memory)

    def less(self, other: "Room") -> "Room":
        """What is left; negative where there is too little."""
        return Room(self.cpu - other.cpu, self.memory - other.memory)

    def most(self, other: "Room") -> "Room":
        """The larger of each."""
        return Room(max(self.cpu, other.cpu), max(self.memory, other.memory))

    def holds(self, other: "Room") -> bool:
        """Tell whether *other* fits. Who needs no more of a resource fits, however little is left of it."""
        return all(need <= 0 or need <= have for have, need in zip(self, other, strict=True))

    @property
    def grows(self) -> bool:
        """Whether it is more of anything."""
        return self.cpu > 0 or self.memory > 0


class _Sight(msgspec.Struct, frozen=True):
    """What is counted of each container, and of the pod as a whole."""

    container: Callable[[Container], Mapping[str, str]]
    pod: Mapping[str, str]


def room_of(requests: Mapping[str, str]) -> Room:
    """What these quantities come to. What is no quantity counts as nothing."""
    return Room(_number(quantities.CPU, requests), _number(quantities.MEMORY, requests))


def is_taking(pod: LocalPod) -> bool:
    """Tell whether the pod takes room: one whose containers have all ended does not."""
    return pod.status.phase not in _ENDED


def allocatable_of(node: LocalNode) -> Room:
    """What all pods of the node may take together."""
    return room_of(node.status.allocatable)


def taken_by(pod: LocalPod) -> Room:
    """What the pod takes now."""
    return taken_with(pod, {})


def taken_with(pod: LocalPod, changes: Changes) -> Room:
    """What the pod would take with *changes* to its spec."""
    statuses = {
        each.name: each for each in (*pod.status.container_statuses, *pod.status.init_container_statuses)
    }
    infeasible = not changes and is_infeasible(pod)
    none = ContainerStatus(name="")

    def asked(container: Container) -> Mapping[str, str]:
        return changes.get(container.name, container.resources).requests

    def allocated(container: Container) -> Mapping[str, str]:
        found = statuses.get(container.name, none).allocated_resources
        return found or ({} if infeasible else container.resources.requests)

    def actuated(container: Container) -> Mapping[str, str]:
        found = statuses.get(container.name, none).resources
        return found.requests if found is not None and found.requests else allocated(container)

    status, own = pod.status, changes.get("", pod.spec.resources).requests
    kept = {} if infeasible else own
    sights = [
        _Sight(allocated, status.allocated_resources or kept),
        _Sight(actuated, (status.resources.requests if status.resources else {}) or kept),
    ]
    if not infeasible:
        sights.append(_Sight(asked, own))
    taken = Room()
    for sight in sights:
        taken = taken.most(_sum(pod, sight))
    return taken.plus(room_of(pod.spec.overhead))


def would_take(pod: LocalPod, changes: Changes) -> Room:
    """What the pod asks for with *changes*, whatever it has now."""
    own = changes.get("", pod.spec.resources).requests
    sight = _Sight(lambda container: changes.get(container.name, container.resources).requests, own)
    return _sum(pod, sight).plus(room_of(pod.spec.overhead))


def free_of(node: LocalNode, pods: Iterable[LocalPod]) -> Room:
    """What *pods* leave of their node; negative where they take more than there is."""
    left = allocatable_of(node)
    for pod in pods:
        if is_taking(pod):
            left = left.less(taken_by(pod))
    return left


def shortage(free: Room, need: Room) -> str:
    """What of *need* does not fit, for a person; empty when all does."""
    short = []
    for resource, have, wanted in zip(quantities.RESIZABLE, free, need, strict=True):
        if wanted > 0 and wanted > have:
            more, left = (quantities.readable(resource, each) for each in (wanted, max(have, 0)))
            short.append(f"{resource} {more} more is needed, {left} is free")
    return "; ".join(short)


def is_infeasible(pod: LocalPod) -> bool:
    """Tell whether the kubelet has said that what the spec asks for can never be."""
    return any(each.type == RESIZE_PENDING and each.reason == "Infeasible" for each in pod.status.conditions)


def _sum(pod: LocalPod, sight: _Sight) -> Room:
    """All that runs at once: containers and sidecars, or an init container beside the sidecars before it."""
    running, sidecars, starting = Room(), Room(), Room()
    for container in pod.spec.containers:
        running = running.plus(room_of(sight.container(container)))
    for container in pod.spec.init_containers:
        own = room_of(sight.container(container))
        if container.restart_policy == "Always":
            running, sidecars = running.plus(own), sidecars.plus(own)
            starting = starting.most(sidecars)
        else:
            starting = starting.most(sidecars.plus(own))
    return _overruled(running.most(starting), sight.pod)


def _overruled(room: Room, own: Mapping[str, str]) -> Room:
    """What the pod asks for as a whole stands for what its containers ask for."""
    cpu = _number(quantities.CPU, own) if quantities.CPU in own else room.cpu
    memory = _number(quantities.MEMORY, own) if quantities.MEMORY in own else room.memory
    return Room(cpu, memory)


def _number(resource: str, requests: Mapping[str, str]) -> int:
    try:
        return quantities.amount(resource, requests.get(resource, "0"))
    except quantities.QuantityError:
        return 0
