"""``kubectl inplaced why`` for pods and restarts: what is read of the cluster for it."""

from collections.abc import Iterator, Sequence
from typing import Final

from daemon import names
from daemon.cli.cluster import Cluster
from daemon.cli.errors import CliError
from daemon.cli.resize_words import room_lines
from daemon.cli.rollouts import Rollout, headline, quiet_pods, rollout_of, why_rollout, why_update
from daemon.cli.why_pods import PodScene, why_pod, why_pods_of_node, why_request, why_restart, why_workload
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
NAMED: Final = {
    WHOLE_PODS.plural: _PODS,
    RECREATE_REQUESTS.plural: _REQUESTS,
    WORKLOAD_RESTARTS.plural: _RESTARTS,
}
"""What people call the kinds, by the plural."""


def why_pods(cluster: Cluster, kind: str, name: str, namespace: str, release: str) -> Iterator[str]:
    """What the pod or the restart of that name waits for; nothing when there is none. Raises CliError."""
    pods = cluster.visible(WHOLE_PODS, only(name, namespace)) if kind in _PODS or not kind else ()
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
    yield from why_pod(pod, scene, list(_room(cluster, pod)))
    owner = pod.metadata.controller
    if owner is None or owner.kind != CLONE_SETS.kind:
        return
    reference = WorkloadReference(api_version=owner.api_version, kind=owner.kind, name=owner.name)
    rollout = _rollout(cluster, reference, pod.metadata.namespace)
    if rollout is not None:
        found = list(why_update(rollout, pod.metadata.name))
        yield from (f"  {line}" for line in (*found, *([headline(rollout)] if found else [])))


def _room(cluster: Cluster, pod: LocalPod) -> Iterator[str]:
    """Who holds the room that the pod waits for, if it does."""
    told = condition_of(pod, names.RESOURCES_IN_SYNC)
    if told is None or told.status == "True" or told.reason != Outcome.DEFERRED:
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


def _rollout(
    cluster: Cluster, reference: WorkloadReference, namespace: str, pods: Sequence[LocalPod] | None = None
) -> Rollout | None:
    """The rollout of a CloneSet, if it is one that is there and may be read. Raises CliError."""
    if reference.kind != CLONE_SETS.kind:
        return None
    sets = cluster.visible(CLONE_SETS, only(reference.name, namespace))
    if not sets:
        return None
    found = pods if pods is not None else cluster.pods_of(reference, namespace)
    return rollout_of(sets[0], found, cluster.now())


def why_workload_pods(
    cluster: Cluster, reference: WorkloadReference, namespace: str, release: str
) -> Iterator[str]:
    """What the pods of a workload wait for. Raises CliError."""
    pods = cluster.pods_of(reference, namespace)
    scene = _scene(cluster, namespace, release)
    rollout = _rollout(cluster, reference, namespace, pods)
    about = [(pod, list(_in_workload(cluster, pod, scene, rollout))) for pod in pods]
    yield from why_workload(reference, about, scene, list(why_rollout(rollout)) if rollout else ())


def _in_workload(cluster: Cluster, pod: LocalPod, scene: PodScene, rollout: Rollout | None) -> Iterator[str]:
    """What one pod waits for, less what is said of the whole workload."""
    yield from why_pod(pod, scene, list(_room(cluster, pod)))
    if rollout is not None and pod.metadata.name not in quiet_pods(rollout):
        yield from (f"  {line}" for line in why_update(rollout, pod.metadata.name))


def why_node_pods(cluster: Cluster, node: str) -> Iterator[str]:
    """What the pods of a node wait for; nothing where they may not be read."""
    try:
        pods = cluster.objects(WHOLE_PODS, Selection(fields={"spec.nodeName": node}))
    except CliError:
        return
    yield from why_pods_of_node(pods, cluster.now())


def clone_set_of(cluster: Cluster, name: str, namespace: str) -> WorkloadReference | None:
    """The CloneSet of that name, if there is one: it may be named without its kind. Raises CliError."""
    try:
        found = cluster.objects(CLONE_SETS, only(name, namespace))
    except CliError:  # without the kind, or the right to read it, nothing of that name is known
        return None
    if not found:
        return None
    return WorkloadReference(api_version=names.KRUISE_API, kind=CLONE_SETS.kind, name=name)


def _scene(cluster: Cluster, namespace: str, release: str) -> PodScene:
    here = Selection(namespace=namespace)
    requests = cluster.visible(RECREATE_REQUESTS, here)
    restarts = cluster.visible(WORKLOAD_RESTARTS, here)
    return PodScene(cluster.now(), requests, restarts, cluster.renewed(release))
