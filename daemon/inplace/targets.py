"""What a workload asks of the update of one pod, and what it is answered. Pure.

A workload calls again and again with the newest pod and the revision that the pod should have; nothing is
remembered between two calls but what stands on the pod.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from daemon.inplace.diff import MustRecreate
from daemon.inplace.templates import Revision
from daemon.objects.resizes import DEADLINE_SECONDS
from daemon.objects.workloads import OnDeferred, OnInfeasible

NOT_SCHEDULED: Final = "NotScheduled"
"""Reason of MustRecreate: the pod has no node yet, and so nobody who would resize it."""


@dataclass(frozen=True, slots=True)
class Extras:
    """Labels and annotations that go into a write that is made anyway; None removes the key."""

    labels: Mapping[str, str | None] = field(default_factory=dict)
    annotations: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a pod is updated. Times are seconds."""

    grace: float = 0.0
    """Between taking the pod out of traffic and changing it."""
    deadline: float = 600.0
    """After the change, until an update that has not come through is reported as failed."""
    ignore_claims: bool = False
    """Update in place although ``volumeClaimTemplates`` differ."""
    on_infeasible: OnInfeasible = "Wait"
    on_deferred: OnDeferred = "Wait"
    resize_deadline: int = DEADLINE_SECONDS
    """Until a deferred resize is given up, where that is wanted."""
    prepare: bool = True
    """Touch an announced pod only when its node is prepared (see ``announcing``)."""
    preparation_deadline: float = 600.0
    """For the node, from the announcement on; then the pod changes unprepared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The revision that one pod should have."""

    revision: str
    """Name of the ControllerRevision."""
    labels: Mapping[str, str]
    """The labels that tell a pod's revision, ``controller-revision-hash`` among them, as they are then."""
    old: Revision | None
    """Data of the ControllerRevision that the pod's labels name now; None when there is none any more."""
    new: Revision
    """Data of the ControllerRevision *revision*."""
    options: Options = field(default_factory=Options)
    begun: Extras = field(default_factory=Extras)
    """Set with the first write of the update, such as the lifecycle state Updating."""
    done: Extras = field(default_factory=Extras)
    """Set with the last write, when the update has been verified."""


@dataclass(frozen=True, slots=True)
class Done:
    """The pod is of the revision, and that was verified; its own readiness is the kubelet's matter."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing can be done now. Without *look_again_in* (seconds), only a change of the pod changes that.

    Reasons: Deleting Released Preparing AgentMissing GracePeriod Restarting Resizing Deferred NextContainers
    Changed.
    """

    reason: str
    message: str = ""
    look_again_in: float | None = None
    untouched: bool = False
    """The update has not begun: the pod still serves as before."""


@dataclass(frozen=True, slots=True)
class Failed:
    """What does not come by itself: it was told in the pod's condition and in an Event.

    Not final: called again, the update ends if the cause is gone, and goes on with another revision.
    Reasons: PreparationFailed Refused ImagePullFailed Infeasible RolledBack Unsupported AgentMissing
    DeadlineExceeded.
    """

    reason: str
    message: str = ""
    look_again_in: float | None = None
    untouched: bool = False


Progress = Done | Waiting | Failed | MustRecreate
