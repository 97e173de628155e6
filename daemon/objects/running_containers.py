"""What a pod's containers run with, as its agent told it on the pod. Pure.

The message of the condition ``inplaced.dev/RunningContainers`` is
``{"app":{"id":"containerd://4f…","restarts":1,"image":3810829014,"metadata":"9f3c…"}}``: the ID, how often it
had restarted by then, the kubelet's hash of name and image, and a fingerprint of the variables that come from
labels and annotations. From it the controller sees that a pod has drifted or has changed, and the next agent
what happened meanwhile. ``apps.kruise.io/runtime-containers-meta`` says the same to OpenKruise's manager.

It is no annotation, as a kubelet looks at a pod whose annotations change, once it has listed all containers
anew, with the conditions that the pod had *before*: it would miss the gate that is opened in answer to this,
and say a second later than it could that the pod is ready.
"""

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from daemon import names
from daemon.objects.container_env import metadata_values, restartable
from daemon.objects.container_hashes import environment_hash, fingerprint
from daemon.objects.local_pods import (
    ContainerState,
    ContainerStatus,
    LocalPod,
    LocalPodCondition,
    Running,
)
from daemon.objects.meta import Wire


class RunningContainer(Wire, frozen=True):
    """One container that runs, or ran last."""

    id: str
    restarts: int = 0
    """Which successor of the pod's first container it is."""
    image: int = 0
    """The kubelet's hash of its name and image; 0 when it is not known."""
    metadata: str = ""
    """Fingerprint of its variables from labels and annotations; empty when it has none."""
    given_up: str = ""
    """The fingerprint for which its agent restarts it no more, since that would do harm or nothing."""


class ContainerHashes(Wire, frozen=True):
    """Hashes of a container, as OpenKruise's daemon tells them."""

    plain_hash: int
    extracted_env_from_metadata_hash: int = 0


class ContainerMeta(Wire, frozen=True, omit_defaults=False):
    """One container in OpenKruise's annotation."""

    name: str
    container_id: str = msgspec.field(name="containerID")
    restart_count: int
    hashes: ContainerHashes


_RUNNING = msgspec.json.Decoder(dict[str, RunningContainer])


def running_containers(pod: LocalPod) -> Mapping[str, RunningContainer]:
    """What the agent told last; nothing when that cannot be read, so that it is told anew."""
    told = next((each for each in pod.status.conditions if each.type == names.RUNNING_CONTAINERS), None)
    try:
        return _RUNNING.decode(told.message) if told is not None else {}
    except msgspec.MsgspecError:
        return {}


def told_of(containers: Mapping[str, RunningContainer]) -> LocalPodCondition:
    """The condition that tells of them."""
    message = msgspec.json.encode(containers, order="sorted").decode()
    return LocalPodCondition(type=names.RUNNING_CONTAINERS, status="True", reason="Told", message=message)


def newest_status(pod: LocalPod, name: str) -> ContainerStatus | None:
    """What the kubelet says of that container, or will say: agents see a successor before it tells of it.

    Whether that is ready, only the kubelet knows.
    """
    status, told = pod.status.of(name), running_containers(pod).get(name)
    if status is None or told is None or told.restarts <= status.restart_count:
        return status
    return replace(
        status,
        container_id=told.id,
        restart_count=told.restarts,
        ready=False,
        state=ContainerState(running=Running()),
    )


def written_for_kruise(metas: list[ContainerMeta]) -> str:
    """The text of OpenKruise's annotation."""
    return msgspec.json.encode({"containers": metas}).decode()


def told_to_kruise(pod: LocalPod) -> str:
    """The text of OpenKruise's annotation, once all containers run with what the pod has; else nothing."""
    told, containers = running_containers(pod), {each.name: each for each in restartable(pod)}
    metas = []
    for status in pod.status.container_statuses:
        now, known = newest_status(pod, status.name), told.get(status.name)
        values = metadata_values(pod, containers[status.name])
        if now is None or known is None or known.id != now.container_id:
            return ""
        if known.metadata != fingerprint(values):
            return ""
        hashes = ContainerHashes(known.image, environment_hash(values))
        metas.append(ContainerMeta(status.name, now.container_id, now.restart_count, hashes))
    return written_for_kruise(metas)


def wanted_fingerprints(pod: LocalPod) -> Mapping[str, str]:
    """By container, the fingerprint that one which starts now would have."""
    return {each.name: fingerprint(metadata_values(pod, each)) for each in restartable(pod)}


def has_moved(before: LocalPod, after: LocalPod) -> bool:
    """Tell whether a label or annotation changed that a variable comes from."""
    old, new = before.metadata, after.metadata
    same = old.labels == new.labels and old.annotations == new.annotations
    return not same and wanted_fingerprints(before) != wanted_fingerprints(after)


def drifted(pod: LocalPod) -> Mapping[str, str]:
    """The containers that run with other labels and annotations than the pod has: ID by name.

    Those are left out that the agent will not restart for what the pod has now.
    """
    told = running_containers(pod)
    wanted = wanted_fingerprints(pod)
    return {
        name: each.id
        for name, each in told.items()
        if wanted.get(name, each.metadata) not in {each.metadata, each.given_up}
    }
