"""``kubectl inplaced restart``: asks for it, and shows how it comes along."""

import math
import sys
import time
import uuid
from dataclasses import dataclass
from typing import Any, Final, TextIO

from daemon import names
from daemon.cli.cluster import Cluster
from daemon.cli.errors import NotFoundError, TimedOutError, UsageError
from daemon.cli.output import Form, Paint, document
from daemon.cli.pod_targets import PodTarget
from daemon.cli.restart_reports import ending, reporter
from daemon.cli.restarts import Progress, Request, looked, result_of
from daemon.cli.usage import Exit
from daemon.kube.resources import RECREATE_REQUESTS, WHOLE_PODS, WORKLOAD_RESTARTS, Resource
from daemon.kube.selections import only
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key, ObjectMeta
from daemon.objects.recreates import (
    ContainerRecreateRequest,
    RecreateContainer,
    RecreateSpec,
    RecreateStrategy,
)
from daemon.objects.workload_restarts import Order, RestartStrategy, WorkloadRestart, WorkloadRestartSpec

_DOCUMENTS: Final = ("json", "yaml")
_KEPT: Final = 3600
"""Seconds for which a request is kept after its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked on the command line."""

    target: PodTarget
    namespace: str
    containers: tuple[str, ...] = ()
    max_unavailable: int | str = 1
    order: Order | None = None
    grace: int | None = None
    unready_grace: int | None = None
    min_started: int = 0
    deadline: int | None = None
    wait: bool = True
    timeout: float = math.inf
    form: Form = "text"


def restart(cluster: Cluster, asked: Asked) -> Exit:
    """Ask, and wait if told to. Raises CliError."""
    resource, request = _made(cluster, asked)
    tracked = Tracked(Progress(request=request, target=str(asked.target)), asked.form, time.monotonic())
    if not asked.wait:
        tracked.print_asked()
        return Exit.DONE
    code = Exit.DONE
    try:
        tracked.follow(cluster, resource, asked.timeout)
    except TimedOutError:
        code = Exit.TIMED_OUT
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    tracked.print_end(code)
    if code is Exit.DONE and not tracked.progress.succeeded:
        return Exit.FAILED
    return code


def _made(cluster: Cluster, asked: Asked) -> tuple[Resource[Any], Request]:
    if asked.target.pod:
        pod = _pod(cluster, asked)
        return RECREATE_REQUESTS, cluster.make(RECREATE_REQUESTS, request_for(asked, pod))
    return WORKLOAD_RESTARTS, cluster.make(WORKLOAD_RESTARTS, restart_for(asked))


def _pod(cluster: Cluster, asked: Asked) -> LocalPod:
    name = asked.target.pod
    try:
        return cluster.read(WHOLE_PODS, Key(asked.namespace, name))
    except NotFoundError as error:
        raise NotFoundError(f"there is no pod {name!r} in namespace {asked.namespace}") from error


def request_for(asked: Asked, pod: LocalPod) -> ContainerRecreateRequest:
    """The request for one pod, and for no successor of it. Raises UsageError."""
    known = [each.name for each in pod.spec.containers]
    sidecars = [each.name for each in pod.spec.init_containers if each.restart_policy == "Always"]
    for name in asked.containers:
        if name not in {*known, *sidecars}:
            has = ", ".join((*known, *sidecars))
            raise UsageError(f"--container {name!r}: pod {pod.metadata.name} has no such one; allowed: {has}")
    return ContainerRecreateRequest(
        metadata=ObjectMeta(
            name=_name(pod.metadata.name),
            namespace=asked.namespace,
            labels={names.RECREATE_POD_LABEL: pod.metadata.uid},
        ),
        spec=RecreateSpec(
            pod_name=pod.metadata.name,
            containers=tuple(RecreateContainer(name=name) for name in asked.containers or known),
            strategy=RecreateStrategy(
                termination_grace_period_seconds=asked.grace,
                unready_grace_period_seconds=asked.unready_grace,
                min_started_seconds=asked.min_started,
            ),
            active_deadline_seconds=asked.deadline,
            ttl_seconds_after_finished=_KEPT,
        ),
    )


def restart_for(asked: Asked) -> WorkloadRestart:
    """The request for many pods."""
    workload = asked.target.workload
    return WorkloadRestart(
        metadata=ObjectMeta(
            name=_name(workload.name if workload is not None else "restart"), namespace=asked.namespace
        ),
        spec=WorkloadRestartSpec(
            workload_ref=workload,
            selector=asked.target.selector,
            containers=asked.containers,
            max_unavailable=asked.max_unavailable,
            order=asked.order,
            strategy=RestartStrategy(
                termination_grace_period_seconds=asked.grace,
                unready_grace_period_seconds=asked.unready_grace,
                min_started_seconds=asked.min_started,
            ),
            active_deadline_seconds=asked.deadline,
            ttl_seconds_after_finished=_KEPT,
        ),
    )


def _name(base: str) -> str:
    return f"{base[:200].rstrip('-.')}-{uuid.uuid4().hex[:8]}"


@dataclass(slots=True)
class Tracked:
    """A restart under way, and where its story is told."""

    progress: Progress
    form: Form
    started: float

    @property
    def stream(self) -> TextIO:
        """For people; a document has stdout for itself."""
        return sys.stderr if self.form in _DOCUMENTS else sys.stdout

    def follow(self, cluster: Cluster, resource: Resource[Any], limit: float) -> None:
        """Show the restart until it has ended. Raises CliError."""
        key = self.progress.request.metadata.key
        with reporter(self.stream) as report:
            for informer in cluster.watch(resource, only(key.name, key.namespace), limit):
                self.progress = looked(self.progress, informer.get(key), time.monotonic() - self.started)
                report.show(self.progress, away=informer.behind > 1.0)
                if self.progress.ended:
                    return

    def print_asked(self) -> None:
        """Say what was made."""
        request = self.progress.request
        if self.form in _DOCUMENTS:
            sys.stdout.write(document(result_of(self.progress), self.form))
            return
        where = f"{request.metadata.name} created in {request.metadata.namespace}"
        sys.stdout.write(f"{request.kind.lower()}/{where} for {self.progress.target}\n")

    def print_end(self, code: Exit) -> None:
        """Say how it ended, or that it goes on."""
        self.stream.write(ending(self.progress, Paint(self.stream)) + "\n")
        if self.form in _DOCUMENTS:
            sys.stdout.write(document(result_of(self.progress), self.form))
        if code is not Exit.DONE:
            request = self.progress.request
            why = "waited too long" if code is Exit.TIMED_OUT else "interrupted"
            command = f"kubectl {names.PROGRAM} why {request.kind.lower()}/{request.metadata.name}"
            sys.stderr.write(f"{why}; the restart goes on in the cluster: '{command}' tells how far it is\n")
