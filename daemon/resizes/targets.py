"""What a pod's resources should be, and how that differs from what its spec says. Pure."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from daemon.localpods.conditions import condition_of
from daemon.localpods.room import Changes
from daemon.objects import quantities
from daemon.objects.local_pods import (
    RESIZE_IN_PROGRESS,
    Container,
    ContainerStatus,
    LocalPod,
    ResourceRequirements,
)
from daemon.objects.resizes import Given, Wanted, Wish

POD = ""
"""Stands for the pod as a whole where containers are named."""
PARTS = ("requests", "limits")


class Value(NamedTuple):
    """One quantity that differs: where it stands, and what it is to become."""

    container: str
    part: str
    """``requests`` or ``limits``."""
    resource: str
    quantity: str


def resizable(pod: LocalPod) -> dict[str, Container]:
    """The containers that can be resized while they run: regular ones and sidecars."""
    sidecars = [each for each in pod.spec.init_containers if each.restart_policy == "Always"]
    return {each.name: each for each in (*pod.spec.containers, *sidecars)}


def status_of(pod: LocalPod, name: str) -> ContainerStatus | None:
    """What the kubelet says of that container."""
    return pod.status.of(name)


def spec_of(pod: LocalPod, name: str) -> ResourceRequirements:
    """What the pod's spec says of that container, or of the pod as a whole."""
    return pod.spec.resources if name == POD else resizable(pod)[name].resources


def wanted_by(wish: Wish) -> Iterator[tuple[str, Wanted]]:
    """The containers that the wish names, and the pod as a whole if it does."""
    if wish.pod != Wanted():
        yield POD, wish.pod
    yield from wish.containers.items()


def text_of(given: Given) -> str | None:
    """A quantity as text, however it stood in JSON; None when its removal is asked for."""
    if given is None or isinstance(given, str):
        return given
    return f"{given:f}".rstrip("0").rstrip(".") if isinstance(given, float) else str(given)


def target_of(pod: LocalPod, wish: Wish) -> dict[str, ResourceRequirements]:
    """What the spec of each named container says once the wish is fulfilled. The wish must be valid."""
    return {
        name: defaulted(
            ResourceRequirements(
                requests=_merged(spec_of(pod, name).requests, wanted.requests),
                limits=_merged(spec_of(pod, name).limits, wanted.limits),
            )
        )
        for name, wanted in wanted_by(wish)
    }


def defaulted(resources: ResourceRequirements) -> ResourceRequirements:
    """As the API server completes it: a limit without a request is a request, too."""
    return ResourceRequirements(requests={**resources.limits, **resources.requests}, limits=resources.limits)


def _merged(old: Mapping[str, str], wanted: Mapping[str, Given]) -> dict[str, str]:
    texts = {resource: text_of(given) for resource, given in wanted.items()}
    return {**old, **{resource: text for resource, text in texts.items() if text is not None}}


def differences(pod: LocalPod, target: Changes) -> tuple[Value, ...]:
    """The quantities of the spec that are not yet what *target* says: compared as numbers."""
    return tuple(
        Value(name, part, resource, text)
        for name, resources in target.items()
        for part in PARTS
        for resource, text in getattr(resources, part).items()
        if resource in quantities.RESIZABLE
        and number(text) != number(getattr(spec_of(pod, name), part).get(resource))
    )


def number(text: str | None) -> Fraction | None:
    """The number that *text* stands for; None for none."""
    if text is None:
        return None
    try:
        return quantities.parse(text)
    except quantities.QuantityError:
        return None


def patch_of(pod: LocalPod, values: tuple[Value, ...]) -> dict[str, Any]:
    """The strategic merge patch of ``pods/resize`` that sets *values* in exactly this pod."""
    spec: dict[str, Any] = {}
    sidecars = {each.name for each in pod.spec.init_containers}
    resources: dict[str, dict[str, dict[str, str]]] = {}
    for value in values:
        resources.setdefault(value.container, {}).setdefault(value.part, {})[value.resource] = value.quantity
    for name, changed in resources.items():
        if name == POD:
            spec["resources"] = changed
        else:
            place = "initContainers" if name in sidecars else "containers"
            spec.setdefault(place, []).append({"name": name, "resources": changed})
    return {"metadata": {"uid": pod.metadata.uid}, "spec": spec}


def allocated_in(pod: LocalPod, target: Changes) -> dict[str, ResourceRequirements]:
    """What the containers that *target* names had before it, as far as the kubelet tells."""
    found = {}
    for name in target:
        spec = spec_of(pod, name)
        requests, limits = _given_to(pod, name)
        found[name] = ResourceRequirements(
            requests={key: requests.get(key, text) for key, text in spec.requests.items()},
            limits={key: limits.get(key, text) for key, text in spec.limits.items()},
        )
    return found


def _given_to(pod: LocalPod, name: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    status = pod.status if name == POD else status_of(pod, name)
    if status is None:
        return {}, {}
    seen = status.resources or ResourceRequirements()
    if condition_of(pod, RESIZE_IN_PROGRESS) is not None and seen.requests:
        return seen.requests, seen.limits  # allocated is what it cannot bring into force, not what was before
    return status.allocated_resources or seen.requests, seen.limits
