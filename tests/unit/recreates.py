"""Requests and pods for tests of what is decided about them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from daemon import names
from daemon.objects.local_pods import LocalPod
from daemon.objects.recreates import ContainerRecreateRequest, RecreateContainer
from tests.fakes.clock import NOON

NODE = "node-7"
UID = "pod-1"


def request(
    name: str = "again",
    *,
    containers: Sequence[str] = ("app",),
    strategy: Mapping[str, Any] | None = None,
    age: float = 0.0,
    metadata: Mapping[str, Any] | None = None,
    status: Mapping[str, Any] | None = None,
    **spec: Any,
) -> ContainerRecreateRequest:
    """A request that was made *age* seconds before noon."""
    document = {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-of-{name}",
            "generation": 1,
            "resourceVersion": "7",
            "creationTimestamp": (NOON - timedelta(seconds=age)).isoformat(),
            **(metadata or {}),
        },
        "spec": {
            "podName": "web",
            "containers": [{"name": each} for each in containers],
            "strategy": dict(strategy or {}),
            **spec,
        },
        "status": dict(status or {}),
    }
    return msgspec.convert(document, ContainerRecreateRequest)


def known(
    name: str = "again", *, containers: Sequence[str] = ("app",), phase: str = "Pending", **words: Any
) -> ContainerRecreateRequest:
    """A request that the controller has filled in: each container by the ID that ``pod`` gives it."""
    status = {
        "phase": phase,
        "podUID": UID,
        "nodeName": NODE,
        "containerRecreateStates": [
            {"name": each, "phase": "Pending", "containerID": container_id(each)} for each in containers
        ],
        **words.pop("status", {}),
    }
    return request(name, containers=containers, status=status, **words)


def of_openkruise(name: str = "again", **words: Any) -> ContainerRecreateRequest:
    """A request as OpenKruise's webhook leaves it."""
    labels = {names.RECREATE_ACTIVE_LABEL: "true", names.RECREATE_POD_LABEL: UID}
    made = request(name, metadata={"labels": labels}, **words)
    context = {"containerID": container_id("app"), "restartCount": 0}
    containers = msgspec.convert([{"name": "app", "statusContext": context}], tuple[RecreateContainer, ...])
    return replace(made, spec=replace(made.spec, containers=containers))


def container_id(name: str, attempt: int = 0) -> str:
    return f"containerd://{name}-{attempt}"


def running(
    name: str = "app", attempt: int = 0, *, ready: bool = True, since: datetime = NOON
) -> dict[str, Any]:
    """The status of a container that runs."""
    return {
        "name": name,
        "containerID": container_id(name, attempt),
        "ready": ready,
        "restartCount": attempt,
        "state": {"running": {"startedAt": since.isoformat()}},
    }


def exited(name: str = "app", attempt: int = 0, *, code: int = 143) -> dict[str, Any]:
    """The status of a container that has ended."""
    return {
        "name": name,
        "containerID": container_id(name, attempt),
        "ready": False,
        "restartCount": attempt,
        "state": {"terminated": {"exitCode": code, "containerID": container_id(name, attempt)}},
    }


def waiting(name: str = "app", attempt: int = 0, reason: str = "CrashLoopBackOff") -> dict[str, Any]:
    """The status of a container that the kubelet starts later."""
    return {
        "name": name,
        "containerID": container_id(name, attempt),
        "ready": False,
        "restartCount": attempt,
        "state": {"waiting": {"reason": reason}},
    }


def pod(
    *statuses: Mapping[str, Any],
    uid: str = UID,
    phase: str = "Running",
    metadata: Mapping[str, Any] | None = None,
    **spec: Any,
) -> LocalPod:
    """The pod with those containers."""
    told = statuses or (running(),)
    document = {
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "uid": uid,
            "resourceVersion": "9",
            **(metadata or {}),
        },
        "spec": {"nodeName": NODE, "containers": [{"name": each["name"]} for each in told], **spec},
        "status": {"phase": phase, "containerStatuses": list(told)},
    }
    return msgspec.convert(document, LocalPod)
