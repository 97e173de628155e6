"""Manifests of pods whose containers count their own starts, and what such a pod tells.

The count is kept in a volume of the pod, which survives its containers: nothing else tells how often a
container really started, and with which environment.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_SCRIPT: Final = """
busybox awk '{printf "%s ", $1}' /proc/uptime >> /count/$NAME-starts
echo "$COLOUR" >> /count/$NAME-starts
trap 'busybox awk "{print \\$1}" /proc/uptime >> /count/$NAME-terms; exit 0' TERM
while :; do sleep 3600 & wait; done
"""
OPTED_IN: Final = {"inplaced.dev/restart-on-metadata-change": "true"}


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a container."""

    at: float
    """Seconds since the machine's boot, in hundredths."""
    colour: str
    """The variable as the container had it."""


def condition(pod: Mapping[str, Any], type_: str = "inplaced.dev/ContainersInSync") -> dict[str, Any]:
    """A condition of the pod, empty when it has none of that type."""
    every: list[dict[str, Any]] = pod.get("status", {}).get("conditions", [])
    return next((each for each in every if each["type"] == type_), {})


def planned(pod: Mapping[str, Any], container: str = "app") -> int:
    """How many restarts the pod says were asked for."""
    told = pod["metadata"].get("annotations", {}).get("inplaced.dev/planned-restarts", "{}")
    return int(json.loads(told).get(container, 0))


def restart_count(pod: Mapping[str, Any], container: str = "app") -> int:
    """As the kubelet counts."""
    statuses = pod["status"].get("containerStatuses", [])
    return next((each["restartCount"] for each in statuses if each["name"] == container), 0)


def is_settled(pod: Mapping[str, Any], count: int) -> bool:
    """Whether *count* restarts are done and told."""
    return (
        planned(pod) >= count
        and restart_count(pod) >= count
        and condition(pod).get("status") == "True"
        and "inplaced.dev/restart-granted" not in pod["metadata"]["annotations"]
    )


def counting(
    name: str,
    image: str,
    *,
    annotations: Mapping[str, str] | None = None,
    owner: Mapping[str, Any] | None = None,
    containers: Sequence[Mapping[str, Any]] = (),
    spec: Mapping[str, Any] | None = None,
    env: Sequence[Mapping[str, Any]] = (),
    container: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A pod whose container "app" has COLOUR from the annotation "colour" and counts its starts."""
    metadata: dict[str, Any] = {
        "name": name,
        "labels": {"app": name},
        "annotations": {"colour": "red", **OPTED_IN, **(annotations or {})},
    }
    if owner is not None:
        metadata["ownerReferences"] = [owner]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "terminationGracePeriodSeconds": 5,
            "automountServiceAccountToken": False,
            "dnsPolicy": "Default",
            "containers": [
                {**counter("app", image, env), **(container or {})},
                *containers,
            ],
            "volumes": [{"name": "count", "emptyDir": {}}],
            **(spec or {}),
        },
    }


def counter(name: str, image: str, env: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """A container that counts its starts."""
    return {
        "name": name,
        "image": image,
        "command": ["sh", "-c", _SCRIPT],
        "env": [
            {"name": "NAME", "value": name},
            {
                "name": "COLOUR",
                "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['colour']"}},
            },
            *env,
        ],
        "volumeMounts": [{"name": "count", "mountPath": "/count"}],
    }


def deployment(name: str, image: str, replicas: int, **changes: Any) -> dict[str, Any]:
    """A Deployment of such pods."""
    template = counting(name, image, **changes)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {key: template["metadata"][key] for key in ("labels", "annotations")},
                "spec": template["spec"],
            },
        },
    }
