"""Pods and nodes for tests of resizes, in few words."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from daemon import names
from daemon.localpods.room import Room, room_of
from daemon.objects.local_pods import LocalPod
from daemon.resizes.plans import Observed, PodSeen, Served
from daemon.resizes.runtime_numbers import PERIOD, Numbers, quota_of, shares_of

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
MIB = 2**20
Resources = Mapping[str, Mapping[str, str]]


def res(requests: str = "", limits: str = "") -> dict[str, dict[str, str]]:
    """``res("100m 64Mi", "200m 128Mi")``: CPU and memory; ``-`` for none."""
    return {
        part: {
            resource: text
            for resource, text in zip(("cpu", "memory"), words.split(), strict=False)
            if text != "-"
        }
        for part, words in (("requests", requests), ("limits", limits))
        if words
    }


def pod(
    name: str = "web",
    *,
    wish: object = None,
    app: Resources | None = None,
    more: Mapping[str, Resources] | None = None,
    sidecars: Mapping[str, Resources] | None = None,
    inits: Mapping[str, Resources] | None = None,
    status: Mapping[str, Resources] | None = None,
    qos: str = "Burstable",
    policy: Sequence[str] = (),
    **fields: Any,
) -> LocalPod:
    """A running pod with container ``app``; the kubelet has given what the spec says, but for *status*."""
    containers = {"app": app if app is not None else res("100m 64Mi", "200m 128Mi"), **(more or {})}
    restarting = [{"resourceName": each, "restartPolicy": "RestartContainer"} for each in policy]
    annotations = dict(fields.pop("annotations", {}))
    if wish is not None:
        annotations[names.RESOURCES_ANNOTATION] = wish if isinstance(wish, str) else json.dumps(wish)
    document = {
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid-{name}",
            "resourceVersion": "1",
            "creationTimestamp": fields.pop("created", "2026-05-01T00:00:00Z"),
            "annotations": annotations,
            **fields.pop("metadata", {}),
        },
        "spec": {
            "containers": [
                {"name": each, "resources": resources, "resizePolicy": restarting if each == "app" else []}
                for each, resources in containers.items()
            ],
            "initContainers": [
                *(
                    {"name": each, "resources": value, "restartPolicy": "Always"}
                    for each, value in (sidecars or {}).items()
                ),
                *({"name": each, "resources": value} for each, value in (inits or {}).items()),
            ],
            **fields.pop("spec", {}),
        },
        "status": {
            "phase": "Running",
            "qosClass": qos,
            "conditions": fields.pop("conditions", []),
            "containerStatuses": [
                _status(each, (status or {}).get(each, value)) for each, value in containers.items()
            ],
            "initContainerStatuses": [
                _status(each, (status or {}).get(each, value)) for each, value in (sidecars or {}).items()
            ],
            **fields.pop("more_status", {}),
        },
    }
    assert not fields, f"unknown: {fields}"
    return msgspec.convert(document, LocalPod)


def _status(name: str, given: Resources) -> dict[str, Any]:
    return {
        "name": name,
        "containerID": f"containerd://{name}-1",
        "state": {"running": {"startedAt": "2026-05-01T00:00:00Z"}},
        "resources": given,
        "allocatedResources": given.get("requests", {}),
    }


def wish(requests: str = "", limits: str = "", **fields: Any) -> dict[str, Any]:
    """A wish for container ``app``."""
    return {"containers": {"app": res(requests, limits)}, **fields}


def numbers(pod_: LocalPod) -> dict[str, Numbers | None]:
    """What a runtime says that has what the spec of each container says."""
    found: dict[str, Numbers | None] = {}
    for each in (*pod_.spec.containers, *pod_.spec.init_containers):
        limits, requests = room_of(each.resources.limits), room_of(each.resources.requests)
        quota = quota_of(limits.cpu, PERIOD)
        found[each.name] = Numbers(PERIOD, quota, shares_of(requests.cpu), limits.memory)
    return found


def seen(pod_: LocalPod, **fields: Any) -> PodSeen:
    """A pod whose runtime has been asked."""
    return PodSeen(pod_, **{"numbers": numbers(pod_), "usage": {"app": 10 * MIB}, **fields})


def world(
    *pods: LocalPod | PodSeen,
    cpu: int = 2000,
    memory: int = 8192 * MIB,
    others: Room | None = None,
    **fields: Any,
) -> Observed:
    """A node with these pods."""
    asking = [each if isinstance(each, PodSeen) else seen(each) for each in pods]
    given: dict[str, Any] = {"now": NOW, "served": Served(version="v1.37.2"), "margin": 16 * MIB, **fields}
    return Observed(asking=asking, others=others or Room(), allocatable=Room(cpu, memory), **given)
