"""Where the pods of a job's podSelector are, in the order in which their workload changes them. Pure."""

import re
from collections.abc import Iterable

from daemon.objects.images import ImagePullJob
from daemon.objects.meta import selects
from daemon.objects.pods import Pod
from daemon.pulljobs.shares import Followed

_ORDINAL = re.compile(r"-(\d+)$")
_ENDED = frozenset({"Succeeded", "Failed"})


def places_of(job: ImagePullJob, pods: Iterable[Pod]) -> Followed:
    """The nodes of the job's pods; *pods* may be those of all namespaces."""
    chosen = sorted((pod for pod in pods if _concerns(job, pod)), key=_turn)
    nodes = dict.fromkeys(pod.spec.node_name for pod in chosen if pod.spec.node_name)
    waiting = [pod.metadata.name for pod in chosen if not pod.spec.node_name]
    return Followed(tuple(nodes), tuple(waiting))


def _concerns(job: ImagePullJob, pod: Pod) -> bool:
    selector = job.spec.pod_selector
    return (
        selector is not None
        and pod.metadata.namespace == job.metadata.namespace
        and pod.metadata.deletion_timestamp is None
        and pod.status.phase not in _ENDED
        and selects(selector, pod.metadata.labels)
    )


def _turn(pod: Pod) -> tuple[int, bool, float, str]:
    """As updates go: a StatefulSet from its last pod on; others: what is not ready first, then the newest."""
    ordinal = _ORDINAL.search(pod.metadata.name)
    if ordinal is not None and any(owner.kind == "StatefulSet" for owner in pod.metadata.owner_references):
        return -int(ordinal.group(1)), False, 0.0, pod.metadata.name
    ready = any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions)
    created = pod.metadata.creation_timestamp
    return 0, ready, -created.timestamp() if created else 0.0, pod.metadata.name
