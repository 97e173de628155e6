"""The messages of resizes, for a person who wants to know what a pod waits for. Pure."""

from collections.abc import Iterable

from daemon.localpods.room import Changes, Room, shortage
from daemon.objects import quantities
from daemon.resizes.plans import Served
from daemon.resizes.targets import PARTS, Value

FIRST_VERSION = "1.33"
"""The first release of Kubernetes that serves pods/resize without a feature gate being set."""


def values(changes: Iterable[Value]) -> str:
    """``app: cpu request 500m, cpu limit 1; the pod: memory limit 1Gi``."""
    by_container: dict[str, list[str]] = {}
    for each in changes:
        by_container.setdefault(each.container, []).append(
            f"{each.resource} {each.part[:-1]} {each.quantity}"
        )
    return "; ".join(f"{name or 'the pod'}: {', '.join(parts)}" for name, parts in by_container.items())


def resources(target: Changes) -> str:
    """All that *target* says, in the same form."""
    return values(
        Value(name, part, resource, text)
        for name, each in target.items()
        for part in PARTS
        for resource, text in getattr(each, part).items()
        if resource in quantities.RESIZABLE
    )


def deferred(free: Room, need: Room, allocatable: Room) -> str:
    """Why an increase waits."""
    whole = " and ".join(
        f"{resource} {quantities.readable(resource, count)}"
        for resource, count in zip(quantities.RESIZABLE, allocatable, strict=True)
    )
    return f"waits for room: {shortage(free, need)}, of {whole} allocatable on the node"


def too_much(need: Room, allocatable: Room) -> str:
    """Why an increase can never be."""
    parts = []
    for resource, want, have in zip(quantities.RESIZABLE, need, allocatable, strict=True):
        if want > have:
            asked, most = (quantities.readable(resource, each) for each in (want, have))
            parts.append(f"{resource} {asked} is requested, {most} is allocatable")
    return f"the node can never hold it: {'; '.join(parts)}"


def unsafe(container: str, limit: str, used: int | None, margin: int) -> str:
    """Why a decrease of memory waits."""
    if used is None:
        return f"{container}: memory limit {limit} waits until the runtime tells what is in use"
    need = quantities.readable(quantities.MEMORY, used)
    above = quantities.readable(quantities.MEMORY, margin)
    return (
        f"{container}: memory limit {limit} waits until less is in use: {need} is, {above} must be left above"
    )


def unsupported(served: Served) -> str:
    """Why nothing is tried."""
    here = f"; this is {served.version}" if served.version else ""
    return f"the API server has no pods/resize: Kubernetes {FIRST_VERSION} or newer is needed{here}"


def rolled_back(before: Changes, cause: str) -> str:
    """What was restored, and why."""
    return f"restored {resources(before) or 'what was there'}, as {cause}"


def old_kubelet() -> str:
    """Why nothing is tried on this node."""
    return f"the kubelet tells no resources of containers: its version must be {FIRST_VERSION} or newer"


def swaps(name: str) -> str:
    """Why a memory request stays."""
    allowed = "resizePolicy RestartContainer for memory"
    return f"{name}: its memory cannot be resized, as it may swap; allowed: {allowed}"


def stubborn(why: str) -> str:
    """Why a repair does not help."""
    return f"the runtime does not keep what it is told: {why}"
