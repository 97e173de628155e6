"""What every feature works with that acts on pods of the node."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from daemon.config import AgentConfig
from daemon.cri.runtimes import Runtime, Runtimes
from daemon.debug.views import PodsView
from daemon.engine.clock import Clock
from daemon.engine.lifecycle import Closable, Part
from daemon.engine.turns import Turns
from daemon.kube.client import ApiClient
from daemon.kube.events import EventRecorder, Level
from daemon.kube.informer import Informer
from daemon.kube.pod_reports import PodReports
from daemon.kube.resources import LOCAL_PODS
from daemon.localpods.journal import Journal
from daemon.localpods.pulls import NodePulls
from daemon.metrics import Metrics
from daemon.objects.local_pods import LocalPod


class PodSurroundings(msgspec.Struct, frozen=True):
    """The pods of one node, as far as ``objects.slim_pods.slim`` keeps them, and the ways to act on them."""

    config: AgentConfig
    client: ApiClient
    pods: Informer[LocalPod]
    reports: PodReports
    recorder: EventRecorder
    runtimes: Runtimes
    metrics: Metrics
    clock: Clock
    stops: Turns = msgspec.field(default_factory=Turns)
    """By container ID: two features that want one container stopped do not run its hooks twice."""
    pulls: NodePulls = msgspec.field(default_factory=NodePulls)
    journal: Journal = msgspec.field(default_factory=Journal)

    def record(self, pod: LocalPod, reason: str, note: str, *, action: str, type_: Level = "Normal") -> None:
        """Have it said that *reason* happened to *pod*; returns at once, never raises."""
        if type_ == "Warning":
            self.journal.error(pod, reason, note)
        self.recorder.record(LOCAL_PODS, pod, reason, note, action=action, type_=type_)

    def runtime_of(self, container_id: str) -> Runtime | None:
        """The runtime that a pod's ``containerd://…`` belongs to; None while no such one was reached."""
        name, separator, _ = container_id.partition("://")
        return self.runtimes.by_name(name) if separator else None


class PodFeature(Protocol):
    """One thing that the agent does for pods of its node. Its parts are run by the agent."""

    @property
    def feeders(self) -> Sequence[Part]:
        """What runs until it is cancelled."""
        ...

    @property
    def workers(self) -> Sequence[Part]:
        """What ends by itself when the queues are closed."""
        ...

    @property
    def queues(self) -> Sequence[Closable]:
        """What is closed to end the workers."""
        ...

    def start(self) -> None:
        """Begin to follow the pods. Called once, when all of them are known."""
        ...

    def wake(self) -> None:
        """Look anew at what is to be done: a runtime came, went, or became another one."""
        ...

    def view(self) -> PodsView:
        """What can be seen of its work. Cheap, and does not wait."""
        ...
