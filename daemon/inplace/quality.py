"""The QoS class that Kubernetes gives a pod, from its plain JSON. Pure.

It is fixed when the pod is made (k8s.io/kubernetes/pkg/apis/core/helper/qos): a resize that would change it
is refused.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from daemon.inplace.templates import by_name, requirements
from daemon.objects.local_pods import ResourceRequirements
from daemon.objects.quantities import QuantityError, parse

Quality = Literal["Guaranteed", "Burstable", "BestEffort"]

_COUNTED = ("cpu", "memory")


def quality_of(pod_spec: Mapping[str, Any]) -> Quality:
    """The class of a pod of this spec; resources of the pod as a whole count before its containers'."""
    whole = pod_spec.get("resources")
    parts = [requirements(whole)] if whole else list(_containers(pod_spec))
    if all(_guaranteed(each) for each in parts) and parts:
        return "Guaranteed"
    asked = any(_asks(each) for each in parts)
    return "Burstable" if asked else "BestEffort"


def _containers(pod_spec: Mapping[str, Any]) -> Iterator[ResourceRequirements]:
    for kind in ("initContainers", "containers"):
        for container in by_name(pod_spec.get(kind)).values():
            yield requirements(container.get("resources"))


def _guaranteed(asked: ResourceRequirements) -> bool:
    """Whether both resources are limited, and requested up to the limit, as they are where nothing is."""
    return all(
        _number(asked.limits.get(name, "0")) > 0
        and _number(asked.requests.get(name, asked.limits[name])) == _number(asked.limits[name])
        for name in _COUNTED
    )


def _asks(asked: ResourceRequirements) -> bool:
    quantities = (part.get(name, "0") for part in (asked.requests, asked.limits) for name in _COUNTED)
    return any(_number(each) > 0 for each in quantities)


def _number(text: str) -> Any:
    try:
        return parse(text)
    except QuantityError:
        return 0
