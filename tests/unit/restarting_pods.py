"""Pods with a container "app" whose variable COLOUR comes from an annotation, and their records."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from daemon import names
from daemon.objects.container_hashes import fingerprint, plain_hash
from daemon.objects.local_pods import (
    Container,
    ContainerState,
    ContainerStatus,
    EnvSource,
    EnvVar,
    FieldRef,
    LocalPod,
    LocalPodCondition,
    LocalPodSpec,
    LocalPodStatus,
    Running,
    Terminated,
    Waiting,
)
from daemon.objects.meta import ObjectMeta, OwnerReference
from daemon.objects.running_containers import RunningContainer, told_of
from daemon.restarts.plans import Record

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
IMAGE = "registry.test/app:v1"
OWNER = OwnerReference(kind="ReplicaSet", name="web-1", uid="rs", api_version="apps/v1", controller=True)
COLOUR = EnvVar(
    name="COLOUR", value_from=EnvSource(field_ref=FieldRef(field_path="metadata.annotations['colour']"))
)
UPDATING = LocalPodCondition(type=names.IN_PLACE_UPDATE_READY, status="False", reason="StartInPlaceUpdate")
READY = LocalPodCondition(type="Ready", status="True")


def id_of(number: int) -> str:
    return f"containerd://{number:064x}"


def running(number: int = 1, *, name: str = "app", restarts: int = 0) -> ContainerStatus:
    return ContainerStatus(
        name=name,
        container_id=id_of(number),
        image=IMAGE,
        image_id=f"registry.test/app@sha256:{'a' * 64}",
        restart_count=restarts,
        state=ContainerState(running=Running(started_at=NOW)),
    )


def waiting(number: int = 1, *, reason: str = "ContainerCreating", message: str = "") -> ContainerStatus:
    """Container *number* has ended, its successor is not there yet."""
    ended = Terminated(exit_code=143, finished_at=NOW, container_id=id_of(number))
    return ContainerStatus(
        name="app",
        container_id=id_of(number),
        state=ContainerState(waiting=Waiting(reason=reason, message=message)),
        last_state=ContainerState(terminated=ended),
    )


def web(
    *statuses: ContainerStatus,
    colour: str = "red",
    opted_in: bool = True,
    owned: bool = False,
    annotations: Mapping[str, str] | None = None,
    conditions: tuple[LocalPodCondition, ...] = (),
    runs: LocalPodCondition | None = None,
    container: Container | None = None,
    name: str = "web-1",
) -> LocalPod:
    every = {
        "colour": colour,
        **({names.RESTART_ANNOTATION: "true"} if opted_in else {}),
        **(annotations or {}),
    }
    return LocalPod(
        metadata=ObjectMeta(
            name=name,
            namespace="shop",
            uid=f"uid-{name}",
            generation=3,
            resource_version="7",
            annotations=every,
            owner_references=(OWNER,) if owned else (),
        ),
        spec=LocalPodSpec(containers=(container or Container(name="app", image=IMAGE, env=(COLOUR,)),)),
        status=LocalPodStatus(
            container_statuses=statuses or (running(),),
            conditions=(*conditions, *((runs,) if runs is not None else ())),
        ),
    )


def record(colour: str = "red", *, is_running: bool = True, image: str = IMAGE) -> Record:
    variables = {"COLOUR": colour}
    return Record(
        is_running=is_running,
        image_hash=plain_hash("app", image),
        image=image,
        env=variables,
        metadata=variables,
        command=(),
        args=(),
        fingerprint=fingerprint(variables),
    )


def told(
    number: int = 1, colour: str = "red", image: str = IMAGE, *, restarts: int = 0, given_up: str = ""
) -> LocalPodCondition:
    """What the agent says of what runs."""
    running = RunningContainer(
        id=id_of(number),
        restarts=restarts,
        image=plain_hash("app", image),
        metadata=fingerprint({"COLOUR": colour}),
        given_up=given_up,
    )
    return msgspec.structs.replace(told_of({"app": running}), last_transition_time=NOW)


def grant(number: int = 1) -> dict[str, str]:
    return {names.GRANT_ANNOTATION: json.dumps({"app": id_of(number)})}


def with_annotations(pod: LocalPod, changes: Mapping[str, str | None]) -> LocalPod:
    every = {**pod.metadata.annotations, **changes}
    kept = {key: value for key, value in every.items() if value is not None}
    return msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, annotations=kept))
