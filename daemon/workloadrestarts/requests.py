"""The ContainerRecreateRequest that a WorkloadRestart makes for one pod. Pure."""

from daemon import names
from daemon.objects.meta import ObjectMeta, OwnerReference
from daemon.objects.recreates import (
    ContainerRecreateRequest,
    RecreateContainer,
    RecreateSpec,
    RecreateStrategy,
)
from daemon.objects.workload_restarts import WorkloadRestart
from daemon.workloadrestarts.planner import Begin
from daemon.workloadrestarts.standing import request_name


def request_for(restart: WorkloadRestart, begin: Begin) -> ContainerRecreateRequest:
    """The request, which goes with the restart and is about this very pod."""
    metadata, strategy = restart.metadata, restart.spec.strategy
    owner = OwnerReference(
        api_version=restart.api_version,
        kind=restart.kind,
        name=metadata.name,
        uid=metadata.uid,
        controller=True,
    )
    return ContainerRecreateRequest(
        metadata=ObjectMeta(
            name=request_name(restart, begin.pod),
            namespace=metadata.namespace,
            labels={names.RECREATE_POD_LABEL: begin.pod.metadata.uid},
            owner_references=(owner,),
        ),
        spec=RecreateSpec(
            pod_name=begin.pod.metadata.name,
            containers=tuple(RecreateContainer(name=name) for name in begin.containers),
            strategy=RecreateStrategy(
                ordered_recreate=strategy.ordered_recreate,
                termination_grace_period_seconds=strategy.termination_grace_period_seconds,
                unready_grace_period_seconds=strategy.unready_grace_period_seconds,
                min_started_seconds=strategy.min_started_seconds,
            ),
            active_deadline_seconds=begin.deadline,
        ),
    )
