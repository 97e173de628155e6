"""``kubectl inplaced why`` for pods and restarts: what is read of the cluster for it."""

from collections.abc import Iterator
from typing import Final

from daemon.cli.cluster import Cluster
from daemon.cli.why_pods import PodScene, why_pod, why_request, why_restart
from daemon.kube.resources import RECREATE_REQUESTS, WHOLE_PODS, WORKLOAD_RESTARTS
from daemon.kube.selections import Selection, only

_PODS: Final = frozenset({"pod", "po"})
_REQUESTS: Final = frozenset({"containerrecreaterequest", "crr"})
_RESTARTS: Final = frozenset({"workloadrestart", "wr"})
KINDS: Final = _PODS | _REQUESTS | _RESTARTS


def why_pods(cluster: Cluster, kind: str, name: str, namespace: str, release: str) -> Iterator[str]:
    """What the pod or the restart of that name waits for; nothing when there is none. Raises CliError."""
    here = Selection(namespace=namespace)
    pods = cluster.objects(WHOLE_PODS, only(name, namespace)) if kind in _PODS or not kind else ()
    requests = cluster.objects(RECREATE_REQUESTS, here)
    restarts = cluster.objects(WORKLOAD_RESTARTS, here)
    scene = PodScene(cluster.now(), requests, restarts, cluster.renewed(release))
    for pod in pods:
        yield from why_pod(pod, scene)
    if kind in _REQUESTS or not kind:
        for request in requests:
            if request.metadata.name == name:
                yield from why_request(request, scene)
    if kind in _RESTARTS or not kind:
        for restart in restarts:
            if restart.metadata.name == name:
                yield from why_restart(restart, scene)
