"""What a pod's containers run with, as its agent told it on the pod. Pure.

``inplaced.dev/running-containers`` holds
``{"app":{"id":"containerd://4f…","image":3810829014,"metadata":"9f3c…"}}``: the ID, the kubelet's hash of
name and image, and a fingerprint of the variables that come from labels and annotations. From it the
controller sees that a pod has drifted, and the next agent what happened meanwhile.
``apps.kruise.io/runtime-containers-meta`` says the same to OpenKruise's manager.
"""

from collections.abc import Mapping

import msgspec

from daemon import names
from daemon.objects.container_env import metadata_values, restartable
from daemon.objects.container_hashes import fingerprint
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Wire


class RunningContainer(Wire, frozen=True):
    """One container that runs, or ran last."""

    id: str
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
    try:
        return _RUNNING.decode(pod.metadata.annotations.get(names.RUNNING_ANNOTATION, "{}"))
    except msgspec.MsgspecError:
        return {}


def written(containers: Mapping[str, RunningContainer]) -> str:
    """The annotation's text."""
    return msgspec.json.encode(containers, order="sorted").decode()


def written_for_kruise(metas: list[ContainerMeta]) -> str:
    """The text of OpenKruise's annotation."""
    return msgspec.json.encode({"containers": metas}).decode()


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
