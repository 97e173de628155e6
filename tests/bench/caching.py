"""What one cached pod costs: realistic pods of 8 to 12 KiB, read as the API server sends them.

python -m tests.bench.caching
"""

import gc
import json
import sys
import tracemalloc
from collections.abc import Sequence
from statistics import mean
from typing import Any

from daemon.kube.cache import Cache
from daemon.kube.decoding import decoded
from daemon.kube.resources import PODS
from daemon.objects.pods import Pod

COUNT = 2000
LIMIT = 3 * 1024
"""Bytes of memory that a pod may cost."""


def main() -> int:
    """Measure and print; the answer is 1 when a pod costs too much."""
    texts = [json.dumps(pod(number)).encode() for number in range(COUNT)]
    cost = kept(texts)
    held = "ok" if cost <= LIMIT else "OVER"
    print(f"sent per pod  {mean(map(len, texts)):8.0f} bytes of JSON")
    print(f"kept per pod  {cost:8.0f} bytes   <= {LIMIT}   {held}")
    return int(cost > LIMIT)


def kept(texts: Sequence[bytes]) -> float:
    """Bytes that a cache holds for each of *texts*."""
    decoded(PODS, texts[0])  # what is made once is not a pod's
    gc.collect()
    tracemalloc.start()
    try:
        cache: Cache[Pod] = Cache({"node": lambda each: [each.spec.node_name]})
        before = tracemalloc.get_traced_memory()[0]
        for text in texts:
            cache.put(decoded(PODS, text))
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / len(cache)
    finally:
        tracemalloc.stop()


def pod(number: int) -> dict[str, Any]:
    """A pod of a Deployment with a sidecar, as a cluster shows it."""
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
                "inplaced.dev/resources": json.dumps({"revision": f"web-{number}"}),
                "apps.kruise.io/runtime-containers-meta": json.dumps({"containers": [number]}),
                "kubectl.kubernetes.io/last-applied-configuration": "x" * 1500,
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
            "containers": [container(name) for name in ("app", "sidecar")],
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
            "containerStatuses": [
                {"name": name, "imageID": "sha256:" + "a" * 64} for name in ("app", "sidecar")
            ],
        },
    }


def container(name: str) -> dict[str, Any]:
    """One container with environment, probes and mounts."""
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10, "timeoutSeconds": 1}
    return {
        "name": name,
        "image": f"registry.example.com/team/{name}:v1.2.3",
        "env": [
            {"name": f"VARIABLE_{each}", "value": f"some value of variable {each}"} for each in range(15)
        ],
        "livenessProbe": probe,
        "readinessProbe": probe,
        "volumeMounts": [{"name": f"v{each}", "mountPath": f"/mnt/volume-{each}"} for each in range(6)],
    }


if __name__ == "__main__":
    sys.exit(main())
