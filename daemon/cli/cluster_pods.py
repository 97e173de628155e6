"""``kubectl inplaced why`` for pods and restarts: what is read of the cluster for it."""

from collections.abc import Iterator
from typing import Final

from daemon import names
from daemon.cli.cluster import Cluster
from daemon.cli.errors import CliError
from daemon.cli.output import clean
from daemon.cli.resize_words import room_lines, waits_since
from daemon.cli.rollouts import why_update
from daemon.cli.why_pods import PodScene, why_pod, why_request, why_restart, why_workload
from daemon.kube.resources import CLONE_SETS, LOCAL_NODES, RECREATE_REQUESTS, WHOLE_PODS, WORKLOAD_RESTARTS
from daemon.kube.selections import Selection, only
from daemon.localpods.conditions import condition_of
from daemon.objects.local_pods import LocalPod
from daemon.objects.resizes import Outcome
from daemon.objects.workload_restarts import WorkloadReference

_PODS: Final = frozenset({"pod", "po"})
_REQUESTS: Final = frozenset({"containerrecreaterequest", "crr"})
_RESTARTS: Final = frozenset({"workloadrestart", "wr"})
KINDS: Final = _PODS | _REQUESTS | _RESTARTS


def why_pods(cluster: Cluster, kind: str, name: str, namespace: str, release: str) -> Iterator[str]:
    """What the pod or the restart of that name waits for; nothing when there is none. Raises CliError."""
    pods = cluster.objects(WHOLE_PODS, only(name, namespace)) if kind in _PODS or not kind else ()
    scene = _scene(cluster, namespace, release)
    for pod in pods:
        yield from _about(cluster, pod, scene)
    if kind in _REQUESTS or not kind:
        for request in scene.requests:
            if request.metadata.name == name:
                yield from why_request(request, scene)
    if kind in _RESTARTS or not kind:
        for restart in scene.restarts:
            if restart.metadata.name == name:
                yield from why_restart(restart, scene)


def _about(cluster: Cluster, pod: LocalPod, scene: PodScene) -> Iterator[str]:
    """All that is known of what one pod waits for. Raises CliError."""
    yield from why_pod(pod, scene)
    yield from (f"    {clean(line)}" for line in _room(cluster, pod))
    yield from (f"  {line}" for line in _rollout(cluster, pod))


def _room(cluster: Cluster, pod: LocalPod) -> Iterator[str]:
    """Of a pod that waits for room: since when, and who holds it."""
    told = condition_of(pod, names.RESOURCES_IN_SYNC)
    if told is None or told.status == "True":
        return
    yield waits_since(pod)
    if told.reason not in {Outcome.DEFERRED, Outcome.INFEASIBLE}:
        return
    node = pod.spec.node_name
    try:
        nodes = cluster.objects(LOCAL_NODES, only(node))
        pods = cluster.objects(WHOLE_PODS, Selection(fields={"spec.nodeName": node}))
    except CliError as error:
        yield f"who holds the room cannot be told: {error}"
        return
    for each in nodes:
        yield from room_lines(pod, each, pods)


def _rollout(cluster: Cluster, pod: LocalPod) -> Iterator[str]:
    """Where the pod is in its CloneSet's rollout, if it has one. Raises CliError."""
    owner = next((each for each in pod.metadata.owner_references if each.controller), None)
    if owner is None or owner.kind != CLONE_SETS.kind:
        return
    for obj in cluster.objects(CLONE_SETS, only(owner.name, pod.metadata.namespace)):
        if obj.metadata.uid == owner.uid:
            yield from why_update(obj, pod, cluster.now())


def why_workload_pods(
    cluster: Cluster, reference: WorkloadReference, namespace: str, release: str
) -> Iterator[str]:
    """What the pods of a workload wait for. Raises CliError."""
    pods = cluster.pods_of(reference, namespace)
    scene = _scene(cluster, namespace, release)
    yield from why_workload(reference, [(pod, list(_about(cluster, pod, scene))) for pod in pods], scene)


def _scene(cluster: Cluster, namespace: str, release: str) -> PodScene:
    here = Selection(namespace=namespace)
    requests = cluster.objects(RECREATE_REQUESTS, here)
    restarts = cluster.objects(WORKLOAD_RESTARTS, here)
    return PodScene(cluster.now(), requests, restarts, cluster.renewed(release))
