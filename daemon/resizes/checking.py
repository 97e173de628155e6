"""What the API server would refuse of a resize, known without asking it: the field, and the rule. Pure.

The rules are those of ValidatePodResize in k8s.io/kubernetes/pkg/apis/core/validation.
"""

from collections.abc import Iterator, Mapping
from fractions import Fraction

from daemon.localpods.room import Changes
from daemon.objects import quantities
from daemon.objects.field_problems import FieldProblem, Path, listed, shown
from daemon.objects.local_pods import Container, LocalPod, ResourceRequirements
from daemon.objects.resizes import Given, Wish
from daemon.resizes.targets import PARTS, POD, number, resizable, spec_of, target_of, text_of, wanted_by

MIRROR = "kubernetes.io/config.mirror"
"""Annotation of the API server's image of a static pod."""
_NONE = Fraction(0)


def first_problem(pod: LocalPod, wish: Wish) -> FieldProblem | None:
    """Why the wish cannot be fulfilled for this pod, whatever room there is; None when it can be."""
    return next(_of_pod(pod), None) or next(_of_wish(pod, wish), None) or next(_of_result(pod, wish), None)


def _of_pod(pod: LocalPod) -> Iterator[FieldProblem]:
    if MIRROR in pod.metadata.annotations:
        yield FieldProblem(
            ("metadata", "annotations", MIRROR), "is set: a static pod is changed in its file on the node"
        )
    if pod.spec.os.name == "windows":
        yield FieldProblem(("spec", "os", "name"), "cannot be resized in place", "windows", "linux")


def _of_wish(pod: LocalPod, wish: Wish) -> Iterator[FieldProblem]:
    able = resizable(pod)
    for name, wanted in wanted_by(wish):
        if name not in able and name != POD:
            yield _unknown(pod, name, able)
            continue
        for part in PARTS:
            old: Mapping[str, str] = getattr(spec_of(pod, name), part)
            for resource, given in getattr(wanted, part).items():
                yield from _of_value(_path(name, part, resource), given, old.get(resource), resource)


def _unknown(pod: LocalPod, name: str, able: Mapping[str, Container]) -> FieldProblem:
    if any(each.name == name for each in pod.spec.init_containers):
        return FieldProblem(
            _path(name), "is an init container that ends: only sidecars and containers can be resized"
        )
    return FieldProblem(_path(name), "is no container of the pod", allowed=listed(able))


def _of_value(path: Path, given: Given, old: str | None, resource: str) -> Iterator[FieldProblem]:
    text = text_of(given)
    if text is None:
        if old is not None:
            yield FieldProblem(path, "cannot be removed from a running pod", "null", "a quantity")
        return
    try:
        value = quantities.parse(text)
    except quantities.QuantityError:
        yield FieldProblem(path, "is no quantity", shown(text), quantities.ALLOWED)
        return
    if value < 0:
        yield FieldProblem(path, "is negative", shown(text), "0 or more")
    elif resource not in quantities.RESIZABLE and value != number(old):
        yield FieldProblem(
            path, "cannot be changed in a running pod", shown(text), listed(quantities.RESIZABLE)
        )


def _of_result(pod: LocalPod, wish: Wish) -> Iterator[FieldProblem]:
    target = target_of(pod, wish)
    for name, resources in target.items():
        yield from _limits_hold(name, resources)
    yield from _pod_holds(pod, target)
    before, after = qos_of(pod, {}), qos_of(pod, target)
    if (pod.status.qos_class or before) != after:
        was = pod.status.qos_class or before
        yield FieldProblem(
            ("status", "qosClass"), "cannot change by a resize", f"{was} to {after}", _hint(was)
        )


def _hint(qos: str) -> str:
    if qos == "Guaranteed":
        return "requests equal to limits, of cpu and memory, in every container"
    if qos == "BestEffort":
        return "no request and no limit in any container"
    return "a request below its limit, or a container without limits"


def _limits_hold(name: str, resources: ResourceRequirements) -> Iterator[FieldProblem]:
    for resource, text in resources.requests.items():
        limit = resources.limits.get(resource)
        asked, most = number(text), number(limit)
        if asked is not None and most is not None and asked > most:
            yield FieldProblem(
                _path(name, "requests", resource), "is above the limit", shown(text), f"at most {limit}"
            )


def _pod_holds(pod: LocalPod, target: Changes) -> Iterator[FieldProblem]:
    """What containers ask for must lie within what the pod asks for as a whole, where it does."""
    own = target.get(POD, pod.spec.resources)
    every = {name: target.get(name, each.resources) for name, each in resizable(pod).items()}
    for resource in quantities.RESIZABLE:
        limit, request = number(own.limits.get(resource)), number(own.requests.get(resource))
        for name, resources in every.items():
            most = number(resources.limits.get(resource))
            if limit is not None and most is not None and most > limit:
                yield FieldProblem(
                    _path(name, "limits", resource),
                    "is above the limit of the pod",
                    allowed=f"at most {limit}",
                )
        asked = sum((number(each.requests.get(resource)) or _NONE for each in every.values()), _NONE)
        if request is not None and asked > request:
            yield FieldProblem(
                _path(POD, "requests", resource),
                "is below what the containers request",
                allowed=f"at least {asked}",
            )


def qos_of(pod: LocalPod, target: Changes) -> str:
    """The QoS class that the pod has with *target*: as pkg/apis/core/v1/helper/qos counts it."""
    own = target.get(POD, pod.spec.resources)
    if own.requests or own.limits:
        return _class_of(own)
    classes = {
        _class_of(target.get(each.name, each.resources))
        for each in (*pod.spec.init_containers, *pod.spec.containers)
    }
    return classes.pop() if len(classes) == 1 else "Burstable"


def _class_of(resources: ResourceRequirements) -> str:
    kinds = set()
    for resource in quantities.RESIZABLE:
        request = number(resources.requests.get(resource)) or _NONE
        limit = number(resources.limits.get(resource)) or _NONE
        kinds.add("Burstable" if request != limit else "Guaranteed" if request else "BestEffort")
    return kinds.pop() if len(kinds) == 1 else "Burstable"


def _path(name: str, *rest: str) -> Path:
    return ("pod", *rest) if name == POD else ("containers", name, *rest)
