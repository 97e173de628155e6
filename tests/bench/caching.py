"""What one cached pod costs: realistic pods of 9 to 13 KiB, read as the API server sends them.

python -m tests.bench.caching
"""

import gc
import json
import random
import sys
import time
import tracemalloc
from collections.abc import Sequence
from statistics import mean
from typing import Any, NamedTuple

from daemon.engine.objects import ApiObject
from daemon.kube.cache import Cache
from daemon.kube.decoding import decoded
from daemon.kube.packing import Packed
from daemon.kube.resources import LOCAL_PODS, PODS, Resource

COUNT = 2000
RESOURCES = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}}
LIMIT = 3 * 1024
"""Bytes of memory that a pod may cost."""


class Kept(NamedTuple):
    """Of one pod: bytes of memory, and microseconds to take it in and to read it again."""

    size: float
    taking: float
    reading: float


def main() -> int:
    """Measure and print; the answer is 1 when a pod costs too much."""
    asking = [json.dumps(pod(number)).encode() for number in range(COUNT)]
    others = [json.dumps(pod(number, asking=False)).encode() for number in range(COUNT)]
    costs = {
        "agent, a pod that asks for something": kept(LOCAL_PODS, asking),
        "agent, any other pod": kept(LOCAL_PODS, others),
        "controller, a pod that a job follows": kept(PODS, asking),
    }
    print(f"sent per pod: {mean(map(len, asking)):.0f} bytes of JSON; limit {LIMIT} bytes kept")
    for name, cost in costs.items():
        held = "ok" if cost.size <= LIMIT else "OVER"
        print(
            f"  {name:<38} {cost.size:6.0f} bytes {held:<4}"
            f"  taken in {cost.taking:4.0f} us, read {cost.reading:3.0f} us"
        )
    return int(any(cost.size > LIMIT for cost in costs.values()))


def kept(resource: Resource[Any], texts: Sequence[bytes]) -> Kept:
    """What a cache as the informer's costs for each of *texts*."""
    decoded(resource, texts[0])  # what is made once is not a pod's
    gc.collect()
    tracemalloc.start()
    try:
        cache = _cache(resource)
        before = tracemalloc.get_traced_memory()[0]
        for text in texts:
            cache.put(decoded(resource, text))
        gc.collect()
        size = (tracemalloc.get_traced_memory()[0] - before) / len(cache)
    finally:
        tracemalloc.stop()
    return Kept(size, *_times(resource, texts))


def _times(resource: Resource[Any], texts: Sequence[bytes]) -> tuple[float, float]:
    cache, begun = _cache(resource), time.process_time()
    for text in texts:
        cache.put(decoded(resource, text))
    taken = time.process_time()
    cache.list()
    return 1e6 * (taken - begun) / len(texts), 1e6 * (time.process_time() - taken) / len(texts)


def _cache(resource: Resource[Any]) -> Cache[ApiObject]:
    return Cache({}, Packed(resource.type) if resource.packed else None)


def pod(number: int, *, asking: bool = True) -> dict[str, Any]:
    """A pod of a Deployment with a sidecar, as a cluster shows it; no two are alike."""
    drawn = random.Random(number)
    name, at = f"web-7d9f6c5b48-{number:05x}", "2026-01-01T00:00:00Z"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": f"team-{number % 20}",
            "uid": f"00000000-0000-4000-8000-{number:012x}",
            "resourceVersion": str(1_000_000 + number),
            "creationTimestamp": at,
            "labels": {f"app.kubernetes.io/label-{each}": f"value-{number}-{each}" for each in range(8)},
            "annotations": {
                **({"inplaced.dev/resources": json.dumps({"revision": f"web-{number}"})} if asking else {}),
                "apps.kruise.io/runtime-containers-meta": json.dumps({"containers": [number]}),
                "kubectl.kubernetes.io/last-applied-configuration": drawn.randbytes(400).hex(),
            },
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": "web-7d9f6c5b48",
                    "uid": f"10000000-0000-4000-8000-{number % 50:012x}",
                    "controller": True,
                }
            ],
            "managedFields": [
                {"manager": f"m{each}", "fieldsV1": {"f:spec": "y" * 700}} for each in range(3)
            ],
        },
        "spec": {
            "nodeName": f"node-{number % 100}",
            "containers": [container(name, drawn) for name in ("app", "sidecar")],
            "volumes": [{"name": f"v{each}", "secret": {"secretName": f"s{each}"}} for each in range(6)],
        },
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": each, "status": "True", "lastProbeTime": None, "lastTransitionTime": at}
                for each in (
                    "PodReadyToStartContainers",
                    "Initialized",
                    "Ready",
                    "ContainersReady",
                    "PodScheduled",
                )
            ],
            "containerStatuses": [container_status(name, drawn) for name in ("app", "sidecar")],
        },
    }


def container_status(name: str, drawn: random.Random) -> dict[str, Any]:
    """What the kubelet says of a container."""
    return {
        "name": name,
        "image": f"registry.example.com/team/{name}:v1.2.3",
        "imageID": f"registry.example.com/team/{name}@sha256:{drawn.randbytes(32).hex()}",
        "containerID": f"containerd://{drawn.randbytes(32).hex()}",
        "ready": True,
        "restartCount": 0,
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        "lastState": {},
        "resources": RESOURCES,
        "allocatedResources": RESOURCES["requests"],
    }


def container(name: str, drawn: random.Random) -> dict[str, Any]:
    """One container with environment, probes and mounts."""
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10, "timeoutSeconds": 1}
    return {
        "name": name,
        "image": f"registry.example.com/team/{name}:v1.2.3",
        "env": [
            {"name": f"VARIABLE_{each}", "value": f"value {drawn.randbytes(8).hex()}"} for each in range(15)
        ],
        "resources": RESOURCES,
        "livenessProbe": probe,
        "readinessProbe": probe,
        "volumeMounts": [{"name": f"v{each}", "mountPath": f"/mnt/volume-{each}"} for each in range(6)],
    }


if __name__ == "__main__":
    sys.exit(main())
