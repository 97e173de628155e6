"""What kubelet and agent say of a pod's containers, as far as updates go by it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from daemon import names
from daemon.objects.container_env import metadata_values
from daemon.objects.container_hashes import environment_hash, fingerprint
from daemon.objects.local_pods import Container, ContainerStatus, LocalPod
from daemon.objects.running_containers import ContainerMeta, running_containers


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing that has not come about yet, or cannot."""

    reason: str
    message: str
    failed: bool = False
    """It does not come by itself."""
    look_again_in: float | None = None


def status_of(pod: LocalPod, name: str) -> ContainerStatus | None:
    """What the kubelet says of that container, a native sidecar or one of the pod's own."""
    return pod.status.of(name)


def agents_hash(pod: LocalPod, status: ContainerStatus) -> int | None:
    """The hash of name and image that this very container was started with, if the agent has told it."""
    told = running_containers(pod).get(status.name)
    if told is not None and told.id == status.container_id and told.image:
        return told.image
    meta = _metas(pod).get(status.name)
    if meta is not None and meta.container_id == status.container_id:
        return meta.hashes.plain_hash or None
    return None


def agents_word(pod: LocalPod, container: Container, status: ContainerStatus) -> bool | None:
    """Whether this very container runs with the right variables, if the agent has told of it."""
    values = metadata_values(pod, container)
    told = running_containers(pod).get(container.name)
    if told is not None and told.id == status.container_id:
        return told.metadata == fingerprint(values)
    meta = _metas(pod).get(container.name)
    if meta is not None and meta.container_id == status.container_id:
        hashed = meta.hashes.extracted_env_from_metadata_hash
        return hashed == environment_hash(values) if hashed else None
    return None


class _Metas(msgspec.Struct, frozen=True):
    containers: tuple[ContainerMeta, ...] = ()


def _metas(pod: LocalPod) -> Mapping[str, ContainerMeta]:
    text = pod.metadata.annotations.get(names.KRUISE_META_ANNOTATION)
    try:
        return {each.name: each for each in msgspec.json.decode(text, type=_Metas).containers} if text else {}
    except msgspec.MsgspecError:
        return {}
