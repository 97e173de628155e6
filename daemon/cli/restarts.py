"""How a restart that was asked for comes along, whether of one pod or of many. Pure."""

from dataclasses import dataclass, replace
from typing import Literal

from daemon import names
from daemon.cli.output import clean, took
from daemon.debug.views import View
from daemon.objects.meta import condition_of
from daemon.objects.recreates import ContainerRecreateRequest, Phase
from daemon.objects.workload_restarts import WorkloadRestart

Result = Literal["Succeeded", "Failed", "Unfinished"]
Request = ContainerRecreateRequest | WorkloadRestart


class Failure(View, frozen=True):
    """One part that was not restarted."""

    name: str
    message: str


class RestartResult(View, frozen=True, kw_only=True):
    """The final document of ``kubectl inplaced restart``."""

    kind: str
    name: str
    namespace: str
    target: str
    result: Result
    total: int
    restarted: int
    failed: int
    seconds: float
    message: str = ""
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A restart, as far as it is known."""

    request: Request
    target: str
    seconds: float = 0.0
    gone: bool = False

    @property
    def unit(self) -> str:
        """What is counted."""
        return "pods" if isinstance(self.request, WorkloadRestart) else "containers"

    @property
    def total(self) -> int:
        """How many there are."""
        request = self.request
        return (
            request.status.desired if isinstance(request, WorkloadRestart) else len(request.spec.containers)
        )

    @property
    def restarted(self) -> int:
        """How many came back."""
        request = self.request
        if isinstance(request, WorkloadRestart):
            return request.status.restarted
        return sum(each.phase == Phase.SUCCEEDED for each in request.status.container_recreate_states)

    @property
    def failed(self) -> int:
        """How many did not."""
        request = self.request
        return request.status.failed if isinstance(request, WorkloadRestart) else len(self.failures)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Which, as far as they are listed."""
        request = self.request
        if isinstance(request, WorkloadRestart):
            return tuple(Failure(each.pod, each.message or each.reason) for each in request.status.failures)
        states = request.status.container_recreate_states
        return tuple(Failure(each.name, each.message) for each in states if each.phase == Phase.FAILED)

    @property
    def message(self) -> str:
        """The state in the words of who carries it out."""
        return self.request.status.message

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.gone or self.request.status.completion_time is not None

    @property
    def succeeded(self) -> bool:
        """Whether all was done."""
        if self.gone or not self.ended:
            return False
        request = self.request
        if isinstance(request, WorkloadRestart):
            ready = condition_of(request.status.conditions, names.READY)
            return ready is not None and ready.status == "True"
        return self.restarted == self.total


def looked(progress: Progress, found: Request | None, seconds: float) -> Progress:
    """*progress* after a look *seconds* after the request. The end is final."""
    if progress.ended:
        return progress
    if found is None or found.metadata.uid != progress.request.metadata.uid:
        return replace(progress, gone=True, seconds=seconds)
    return replace(progress, request=found, seconds=seconds)


def counts(progress: Progress) -> str:
    """How far it is."""
    failed = f", {progress.failed} failed" if progress.failed else ""
    return f"{progress.restarted} of {progress.total} {progress.unit} restarted{failed}"


def line(progress: Progress) -> str:
    """Where a restart is that goes on: its own words, which say what it waits for."""
    return clean(f"{progress.target}: {progress.message or 'nobody has taken it up yet'}")


def end_line(progress: Progress) -> tuple[Literal["ok", "failed", "pending"], str]:
    """How it ended, or where it was left."""
    target, after = clean(progress.target), took(progress.seconds)
    if progress.gone:
        return "failed", f"{target}  the request was removed before its end was seen"
    if not progress.ended:
        return "pending", f"{target}  {counts(progress)} after {after}"
    if progress.succeeded:
        return "ok", f"{target}  {counts(progress)} in {after}"
    return "failed", f"{target}  {counts(progress)} in {after}: {clean(progress.message)}"


def result_of(progress: Progress) -> RestartResult:
    """The final document."""
    metadata = progress.request.metadata
    outcome: Result = "Succeeded" if progress.succeeded else "Failed" if progress.ended else "Unfinished"
    return RestartResult(
        kind=progress.request.kind,
        name=metadata.name,
        namespace=metadata.namespace,
        target=progress.target,
        result=outcome,
        total=progress.total,
        restarted=progress.restarted,
        failed=progress.failed,
        seconds=round(progress.seconds, 1),
        message="the request was removed before its end was seen" if progress.gone else progress.message,
        failures=progress.failures,
    )
