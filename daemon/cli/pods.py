"""``kubectl inplaced get pods``: restarts that were asked for told from those that were not."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from daemon import names
from daemon.cli.cluster import Cluster
from daemon.cli.errors import NotFoundError
from daemon.cli.output import Form, age_of, clean, document, table
from daemon.cli.usage import Exit
from daemon.debug.views import View
from daemon.kube.resources import WHOLE_PODS
from daemon.kube.selections import Selection
from daemon.objects.local_pods import ContainerStatus, LocalPod
from daemon.objects.meta import Key, LabelSelector, Wire
from daemon.objects.planned_restarts import planned_restarts, unplanned_restarts

_HEADERS: Final = ("NAME", "READY", "STATUS", "RESTARTS", "UNPLANNED", "SINCE-UPDATE", "AGE")


class _Before(Wire, frozen=True):
    """How often a container had restarted when the last update began."""

    restart_count: int = 0
    revision: str = ""


_COUNTS = msgspec.json.Decoder(dict[str, _Before])


class ContainerRow(View, frozen=True, kw_only=True):
    """One container."""

    name: str
    restarts: int
    planned: int
    unplanned: int
    since_update: int | None
    """None where no update in place was recorded."""


class PodRow(View, frozen=True, kw_only=True):
    """One pod."""

    namespace: str
    name: str
    node: str
    ready: str
    status: str
    created_at: datetime | None
    containers: tuple[ContainerRow, ...]

    @property
    def restarts(self) -> int:
        """Of all containers."""
        return sum(each.restarts for each in self.containers)

    @property
    def unplanned(self) -> int:
        """Of all containers."""
        return sum(each.unplanned for each in self.containers)

    @property
    def since_update(self) -> int | None:
        """Of all containers that an update counted; None where none did."""
        counted = [each.since_update for each in self.containers if each.since_update is not None]
        return sum(counted) if counted else None


class PodList(View, frozen=True, kw_only=True):
    """The final document."""

    items: tuple[PodRow, ...]


def row_of(pod: LocalPod) -> PodRow:
    """What is shown of *pod*."""
    before, planned, unplanned = counts_before_update(pod), planned_restarts(pod), unplanned_restarts(pod)
    statuses = pod.status.container_statuses
    return PodRow(
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        node=pod.spec.node_name,
        ready=f"{sum(each.ready for each in statuses)}/{len(pod.spec.containers)}",
        status=status_of(pod),
        created_at=pod.metadata.creation_timestamp,
        containers=tuple(
            ContainerRow(
                name=each.name,
                restarts=each.restart_count,
                planned=planned.get(each.name, 0),
                unplanned=unplanned[each.name],
                since_update=max(0, each.restart_count - before[each.name]) if each.name in before else None,
            )
            for each in (*_sidecars(pod), *statuses)
        ),
    )


def counts_before_update(pod: LocalPod) -> Mapping[str, int]:
    """By container, how often it had restarted when its last update in place began."""
    text = pod.metadata.annotations.get(names.RESTART_COUNTS_ANNOTATION, "{}")
    try:
        return {name: each.restart_count for name, each in _COUNTS.decode(text).items()}
    except msgspec.MsgspecError:
        return {}


def status_of(pod: LocalPod) -> str:
    """The state in a word, as kubectl has it."""
    if pod.metadata.deletion_timestamp is not None:
        return "Terminating"
    waiting = [each.state.waiting.reason for each in pod.status.container_statuses if each.state.waiting]
    reasons = [reason for reason in waiting if reason] + list(_ended(pod.status.container_statuses))
    return reasons[0] if reasons else pod.status.phase or "Unknown"


def _ended(statuses: Sequence[ContainerStatus]) -> Iterator[str]:
    for each in statuses:
        if each.state.terminated is not None and each.state.terminated.exit_code:
            yield each.state.terminated.reason or "Error"


def _sidecars(pod: LocalPod) -> Iterator[ContainerStatus]:
    always = {each.name for each in pod.spec.init_containers if each.restart_policy == "Always"}
    return (each for each in pod.status.init_container_statuses if each.name in always)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked on the command line."""

    namespace: str
    """Empty for all."""
    pods: Sequence[str] = ()
    """Names; none for all."""
    labels: LabelSelector | None = None
    form: Form = "text"


def pods(cluster: Cluster, asked: Asked) -> Exit:
    """Print the pods that were asked for, and then which of those named there are not. Raises CliError."""
    absent: list[str] = []
    if asked.pods:
        found = list(_named(cluster, asked, absent))
    else:
        selection = Selection(namespace=asked.namespace, labels=asked.labels or LabelSelector())
        found = sorted(cluster.objects(WHOLE_PODS, selection), key=lambda pod: pod.metadata.key)
    if found or not absent:
        _print(tuple(map(row_of, found)), asked.namespace, asked.form, cluster.now())
    if absent:
        one = f"there is no pod {absent[0]!r}" if len(absent) == 1 else f"there are no pods {absent}"
        raise NotFoundError(f"{one} in namespace {asked.namespace}")
    return Exit.DONE


def _named(cluster: Cluster, asked: Asked, absent: list[str]) -> Iterator[LocalPod]:
    """The pods of these names, in that order; adds to *absent* those that there are not."""
    for name in asked.pods:
        try:
            yield cluster.read(WHOLE_PODS, Key(asked.namespace, name))
        except NotFoundError:
            absent.append(name)


def _print(rows: Sequence[PodRow], namespace: str, form: Form, now: datetime) -> None:
    if form in {"json", "yaml"}:
        sys.stdout.write(document(PodList(items=tuple(rows)), form))
    elif rows:
        lines = [_cells(row, now, everywhere=not namespace, wide=form == "wide") for row in rows]
        first, last = (() if namespace else ("NAMESPACE",)), (("NODE", "PLANNED") if form == "wide" else ())
        sys.stdout.write("\n".join(table((*first, *_HEADERS, *last), lines)) + "\n")
    else:
        where = f" in namespace {namespace}" if namespace else ""
        sys.stderr.write(f"No pods found{where}.\n")


def _cells(row: PodRow, now: datetime, *, everywhere: bool, wide: bool) -> tuple[str, ...]:
    since = "<none>" if row.since_update is None else str(row.since_update)
    cells = (row.name, row.ready, clean(row.status), str(row.restarts), str(row.unplanned), since)
    first = (row.namespace,) if everywhere else ()
    planned = ",".join(f"{each.name}={each.planned}" for each in row.containers if each.planned)
    last = (row.node or "<none>", planned or "<none>") if wide else ()
    return (*first, *cells, age_of(row.created_at, now), *last)
