"""One pod and what it asks for, and the ways in which its resize can be judged. Pure."""

from datetime import datetime, timedelta

import msgspec

from daemon.localpods.room import Changes, Room
from daemon.objects.local_pods import LocalPod
from daemon.objects.resizes import Outcome, Record, Wish
from daemon.resizes import wording
from daemon.resizes.plans import Observed, PodSeen, Question, Repair
from daemon.resizes.targets import POD, Value, allocated_in, resizable

WAITING = frozenset({Outcome.DEFERRED, Outcome.UNSAFE})
"""Outcomes that time may change: the deadline of a wish counts them together."""
LOOK_AGAIN = 2.0
"""Seconds between two looks at what a container uses."""


class Case(msgspec.Struct, frozen=True):
    """One pod, and what its annotation asks for."""

    seen: PodSeen
    world: Observed
    digest: str
    wish: Wish
    record: Record | None
    """What was recorded of this very wish."""

    @property
    def pod(self) -> LocalPod:
        """The pod."""
        return self.seen.pod

    @property
    def rolled_back_to(self) -> Changes | None:
        """What is to be restored, once the wish was given up."""
        record = self.record
        if record is None or record.reason != Outcome.ROLLED_BACK or record.before is None:
            return None
        able = resizable(self.pod)
        return {name: each for name, each in record.before.items() if name in able or name == POD}


class Finding(msgspec.Struct, frozen=True):
    """How far a pod's resize is. Without an outcome, what was told of it stands."""

    outcome: Outcome | None
    message: str = ""
    digest: str = ""
    revision: str = ""
    before: Changes | None = None
    cause: str = ""
    repair: Repair | None = None
    doubted: bool = False
    """Whether the runtime has other numbers than the kubelet believes."""
    wake_in: float | None = None


class Claim(msgspec.Struct, frozen=True):
    """A pod whose spec is to change, and what that means for the room on its node."""

    case: Case
    target: Changes
    values: tuple[Value, ...]
    grows: Room
    """What it would take beside what it takes now; negative where it gives room back."""
    since: datetime | None
    """When it began to wait, if it did."""


Judgement = Finding | Claim | Question


def told(case: Case, outcome: Outcome | None, message: str = "", *, wake_in: float | None = None) -> Finding:
    """Have *outcome* told of the pod; None leaves what was told."""
    return Finding(outcome, message, case.digest, case.wish.revision, wake_in=wake_in)


def rolled_back(
    case: Case, before: Changes, cause: str, message: str, *, wake_in: float | None = None
) -> Finding:
    """Have the pod get back what it had *before*; the record of it makes the next plan do so."""
    return Finding(
        Outcome.ROLLED_BACK, message, case.digest, case.wish.revision, before, cause, wake_in=wake_in
    )


def held_back(claim: Claim, message: str) -> Finding:
    """There is no room for it now. A roll-back stays one: its record alone knows what was before."""
    case, record = claim.case, claim.case.record
    if record is None or case.rolled_back_to is None:
        return waiting(case, claim.target, Outcome.DEFERRED, message)
    said = f"{wording.rolled_back(claim.target, record.cause)}; that {message}"
    return rolled_back(case, claim.target, record.cause, said)


def infeasible(case: Case, target: Changes, message: str, *, wake_in: float | None = None) -> Finding:
    """The wish can never be fulfilled on this node."""
    if case.wish.on_infeasible == "Rollback":
        before = allocated_in(case.pod, target)
        return rolled_back(case, before, message, wording.rolled_back(before, message))
    return told(case, Outcome.INFEASIBLE, message, wake_in=wake_in)


def waiting(
    case: Case,
    target: Changes,
    outcome: Outcome,
    message: str,
    *,
    since: datetime | None = None,
    wake_in: float | None = None,
) -> Finding:
    """The wish may be fulfilled later, unless its deadline passes before."""
    record = case.record
    began = record.since if record is not None and record.reason in WAITING else since or case.world.now
    if case.wish.on_deferred == "Wait":
        return told(case, outcome, message, wake_in=wake_in)
    left = (began + timedelta(seconds=case.wish.deadline_seconds) - case.world.now).total_seconds()
    if left <= 0:
        cause = f"it had waited for {case.wish.deadline_seconds} s: {message}"
        before = allocated_in(case.pod, target)
        return rolled_back(case, before, cause, wording.rolled_back(before, cause))
    return told(case, outcome, message, wake_in=left if wake_in is None else min(left, wake_in))
