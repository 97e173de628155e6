"""What a container runs with, read from the runtime's own record of it. Pure.

Nothing is executed inside the container: that works for images without a shell, and for values with newlines.
containerd's record holds the CRI config as the kubelet sent it; CRI-O's holds the OCI runtime spec alone, in
which the image's own variables and entrypoint are merged.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from daemon.cri.types import ContainerState, ContainerStatus
from daemon.objects.container_env import from_metadata, relevant_names
from daemon.objects.container_hashes import fingerprint
from daemon.objects.local_pods import Container
from daemon.restarts.plans import Record

_HASH_ANNOTATION: Final = "io.kubernetes.container.hash"
_INFO: Final = "info"


class RecordError(Exception):
    """The runtime tells nothing of what the container runs with; the message says what is missing."""


class _KeyValue(msgspec.Struct, frozen=True):
    key: str = ""
    value: str = ""


class _Image(msgspec.Struct, frozen=True):
    user_specified_image: str = ""


class _Config(msgspec.Struct, frozen=True):
    """``ContainerConfig`` of CRI, in the spelling of its protobuf names."""

    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    envs: tuple[_KeyValue, ...] | None = None
    image: _Image | None = None


class _Process(msgspec.Struct, frozen=True):
    args: tuple[str, ...] | None = None
    env: tuple[str, ...] | None = None


class _RuntimeSpec(msgspec.Struct, frozen=True):
    process: _Process | None = None


class _Info(msgspec.Struct, frozen=True):
    config: _Config | None = None
    runtime_spec: _RuntimeSpec | None = msgspec.field(default=None, name="runtimeSpec")


_DECODER = msgspec.json.Decoder(_Info)


def record_of(status: ContainerStatus, container: Container) -> Record:
    """What *container* runs with. Raises RecordError."""
    info = _decoded(status.info)
    config = info.config or _Config()
    process = (info.runtime_spec.process if info.runtime_spec else None) or _Process()
    if config.envs is None and process.env is None:
        raise RecordError("the runtime's record of the container holds no environment")
    every = _variables(config, process)
    relevant = relevant_names(container)
    return Record(
        is_running=status.state in {ContainerState.CREATED, ContainerState.RUNNING},
        image_hash=_hash(status.annotations.get(_HASH_ANNOTATION, "")),
        image=config.image.user_specified_image if config.image else "",
        env={name: every[name] for name in relevant if name in every},
        metadata=(metadata := {name: every.get(name, "") for name in from_metadata(container)}),
        command=None if info.config is None else config.command or (),
        args=None if info.config is None else config.args or (),
        process=process.args or (),
        fingerprint=fingerprint(metadata),
    )


def _decoded(info: Mapping[str, str]) -> _Info:
    if _INFO not in info:
        raise RecordError("the runtime keeps no record of its containers that it would tell")
    try:
        return _DECODER.decode(info[_INFO])
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise RecordError("the runtime's record of the container has another form than is known") from error


def _variables(config: _Config, process: _Process) -> Mapping[str, str]:
    """The last of two variables of a name counts, as for the program that is started."""
    if config.envs is not None:
        return {each.key: each.value for each in config.envs}
    return dict(text.partition("=")[::2] for text in process.env or ())


def _hash(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return 0
