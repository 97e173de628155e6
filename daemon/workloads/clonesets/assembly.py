"""The controller of CloneSets, put together for one term of leading."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from daemon import names
from daemon.engine.clock import Clock
from daemon.engine.reconciling import Controller
from daemon.kube.client import ApiClient
from daemon.kube.events import EventRecorder
from daemon.kube.informer import Informer
from daemon.kube.resources import CLONE_SETS, CONTROLLER_REVISIONS, VOLUME_CLAIMS
from daemon.kube.selections import Selection
from daemon.localpods.indexes import BY_CONTROLLER
from daemon.metrics import Metrics
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key, LabelSelector, LabelSelectorRequirement
from daemon.workloads.clonesets.claiming import controllers_of, instances_of, uncontrolled
from daemon.workloads.clonesets.reconciler import CloneSets
from daemon.workloads.clonesets.surroundings import BY_INSTANCE, UNCONTROLLED, SetSurroundings, Updates
from daemon.workloads.clonesets.upcoming import Upcoming

_OURS = LabelSelector(
    match_expressions=(LabelSelectorRequirement(key=names.INSTANCE_ID_LABEL, operator="Exists"),)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the leader has already. *pods* have the indexes BY_CONTROLLER and ORPHANS."""

    client: ApiClient
    version: str
    """In which the API server serves our kinds."""
    pods: Informer[LocalPod]
    updates: Updates
    upcoming: Upcoming | None = None
    """Without it, pods are told nothing beforehand."""
    recorder: EventRecorder
    metrics: Metrics
    clock: Clock


class CloneSetController:
    """Follows what it needs beside the pods, and works."""

    def __init__(self, around: Surroundings) -> None:
        client, metrics, owned = around.client, around.metrics, {BY_CONTROLLER: controllers_of}
        kind = CLONE_SETS.served_as(around.version)
        self.sets = Informer(client, kind, metrics)
        free = {**owned, UNCONTROLLED: uncontrolled}
        self._revisions = Informer(client, CONTROLLER_REVISIONS, metrics, indexes=free)
        self._claims = Informer(
            *(client, VOLUME_CLAIMS, metrics),
            selection=Selection(labels=_OURS),
            indexes={**owned, BY_INSTANCE: instances_of},
        )
        self._reconciler = CloneSets(
            SetSurroundings(
                client=client,
                kind=kind,
                sets=self.sets,
                pods=around.pods,
                revisions=self._revisions,
                claims=self._claims,
                recorder=around.recorder,
                metrics=metrics,
                clock=around.clock,
            ),
            around.updates,
            around.upcoming,
        )

    @property
    def informers(self) -> Sequence[Informer[Any]]:
        """What is followed."""
        return (self.sets, self._revisions, self._claims)

    @property
    def controllers(self) -> Iterable[Controller[Key]]:
        """What works."""
        return self._reconciler.controllers

    def watch(self) -> None:
        """Begin to work: all was seen once."""
        self._reconciler.watch()
