"""Restarts, their pods and their requests, in the few words that tests need."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from daemon.objects.local_pods import (
    Container,
    ContainerState,
    ContainerStatus,
    LocalPod,
    LocalPodCondition,
    LocalPodSpec,
    LocalPodStatus,
    Running,
)
from daemon.objects.meta import LabelSelector, ObjectMeta, OwnerReference
from daemon.objects.recreates import ContainerRecreateRequest, Phase, RecreateState, RecreateStatus
from daemon.objects.workload_restarts import WorkloadRestart, WorkloadRestartSpec, WorkloadRestartStatus
from daemon.workloadrestarts.planner import Begin
from daemon.workloadrestarts.requests import request_for

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
"""When restarts are made."""
BEFORE = NOW - timedelta(hours=1)


def restart(status: WorkloadRestartStatus | None = None, **spec: Any) -> WorkloadRestart:
    """A restart of the pods with the label app=web."""
    return WorkloadRestart(
        metadata=ObjectMeta(name="r", namespace="shop", uid="r1", generation=1, creation_timestamp=NOW),
        spec=WorkloadRestartSpec(selector=LabelSelector(match_labels={"app": "web"}), **spec),
        status=status or WorkloadRestartStatus(),
    )


def pod(
    name: str = "web-0",
    *,
    ready: bool = True,
    made: datetime = BEFORE,
    begun: datetime | None = BEFORE,
    containers: Sequence[str] = ("app",),
    owner: str = "ReplicaSet",
    container_id: str = "old",
) -> LocalPod:
    """A pod whose containers run since *begun*; with None, the kubelet is about to start them."""
    state = ContainerState(running=Running(started_at=begun)) if begun else ContainerState()
    return LocalPod(
        metadata=ObjectMeta(
            name=name,
            namespace="shop",
            uid=f"uid-{name}",
            creation_timestamp=made,
            owner_references=(OwnerReference(kind=owner, name="o", uid="o1", controller=True),),
        ),
        spec=LocalPodSpec(containers=tuple(Container(name=each) for each in containers)),
        status=LocalPodStatus(
            phase="Running",
            conditions=(LocalPodCondition(type="Ready", status="True" if ready else "False"),),
            container_statuses=tuple(
                ContainerStatus(name=each, container_id=f"{container_id}-{each}", ready=ready, state=state)
                for each in containers
            ),
        ),
    )


def request(
    of: WorkloadRestart, about: LocalPod, phase: str = "", states: Mapping[str, str] | None = None
) -> ContainerRecreateRequest:
    """The restart's request for that pod: open, or over with those phases of containers."""
    made = request_for(of, Begin(about, tuple(each.name for each in about.spec.containers), None))
    told = tuple(
        RecreateState(
            name=name, phase=each, container_id=f"old-{name}", message="said" if each == "Failed" else ""
        )
        for name, each in (states or {}).items()
    )
    status = RecreateStatus(phase=phase, container_recreate_states=told)
    return ContainerRecreateRequest(metadata=made.metadata, spec=made.spec, status=status)


def succeeded(of: WorkloadRestart, about: LocalPod) -> ContainerRecreateRequest:
    """The request, after all its containers came back."""
    names = {each.name: str(Phase.SUCCEEDED) for each in about.spec.containers}
    return request(of, about, Phase.COMPLETED, names)
