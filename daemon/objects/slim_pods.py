"""What is kept of pods: all of those that ask for something, and little of the others. Pure.

A node has hundreds of pods and the agent acts on few: of the others ``slim`` keeps what room on the node is
counted from and which containers live, and nothing else.
"""

import sys

from daemon import names
from daemon.objects.local_pods import (
    RESIZE_IN_PROGRESS,
    RESIZE_PENDING,
    Container,
    ContainerState,
    ContainerStatus,
    LocalPod,
    LocalPodSpec,
    LocalPodStatus,
    Waiting,
)
from daemon.objects.meta import ObjectMeta

_ASKING = frozenset(
    {
        names.RESTART_ANNOTATION,
        names.RESOURCES_ANNOTATION,
        names.RESIZE_RECORD_ANNOTATION,
        names.NEXT_REVISION_ANNOTATION,
    }
)
_RESIZES = frozenset({RESIZE_PENDING, RESIZE_IN_PROGRESS})

_GATES = frozenset({names.IN_PLACE_UPDATE_READY, names.KRUISE_POD_READY})

_COUNTS = (names.PLANNED_RESTARTS_ANNOTATION, names.COUNTED_STOPS_ANNOTATION)
"""Kept of every pod: whoever counts goes on from them."""


def is_asking(pod: LocalPod) -> bool:
    """Tell whether something of the pod is for the agent to do."""
    gates = {gate.condition_type for gate in pod.spec.readiness_gates}
    return not _GATES.isdisjoint(gates) or not _ASKING.isdisjoint(pod.metadata.annotations)


def is_managed(pod: LocalPod) -> bool:
    """Tell whether a workload of OpenKruise's API group controls the pod."""
    return any(
        owner.controller and owner.api_version.startswith(f"{names.KRUISE_GROUP}/")
        for owner in pod.metadata.owner_references
    )


def slim_for_centre(pod: LocalPod) -> LocalPod:
    """*pod*, of which the controller keeps nothing but its identity if nothing of it is for us to do."""
    if is_asking(pod) or is_managed(pod):
        return pod
    metadata = pod.metadata
    return LocalPod(
        metadata=ObjectMeta(
            name=metadata.name,
            namespace=sys.intern(metadata.namespace),
            uid=metadata.uid,
            resource_version=metadata.resource_version,
        ),
        spec=LocalPodSpec(node_name=sys.intern(pod.spec.node_name)),
    )


def slim(pod: LocalPod) -> LocalPod:
    """*pod*, less what the agent reads only of pods that ask for something.

    A pod that is being resized, by whomever, takes more room than its spec says: it is kept whole as well.
    """
    if is_asking(pod) or any(each.type in _RESIZES for each in pod.status.conditions):
        return pod
    metadata, spec, status = pod.metadata, pod.spec, pod.status
    return LocalPod(
        metadata=ObjectMeta(
            name=metadata.name,
            namespace=sys.intern(metadata.namespace),
            uid=metadata.uid,
            resource_version=metadata.resource_version,
            creation_timestamp=metadata.creation_timestamp,
            deletion_timestamp=metadata.deletion_timestamp,
            annotations={key: metadata.annotations[key] for key in _COUNTS if key in metadata.annotations},
        ),
        spec=LocalPodSpec(
            node_name=sys.intern(spec.node_name),
            containers=tuple(_room(each) for each in spec.containers),
            init_containers=tuple(_room(each) for each in spec.init_containers),
            restart_policy=sys.intern(spec.restart_policy),
            priority=spec.priority,
            resources=spec.resources,
            overhead=spec.overhead,
        ),
        status=LocalPodStatus(
            phase=sys.intern(status.phase),
            qos_class=sys.intern(status.qos_class),
            container_statuses=tuple(_life(each) for each in status.container_statuses),
            init_container_statuses=tuple(_life(each) for each in status.init_container_statuses),
        ),
    )


def _room(container: Container) -> Container:
    return Container(
        name=sys.intern(container.name),
        resources=container.resources,
        restart_policy=sys.intern(container.restart_policy),
    )


def _life(status: ContainerStatus) -> ContainerStatus:
    """Which container it is, and whether it lives: anybody may ask for it to be started anew."""
    return ContainerStatus(
        name=sys.intern(status.name),
        container_id=status.container_id,
        ready=status.ready,
        restart_count=status.restart_count,
        state=ContainerState(
            running=status.state.running,
            waiting=None if status.state.waiting is None else Waiting(reason=status.state.waiting.reason),
            terminated=status.state.terminated,
        ),
    )
