"""The three conditions by which tools tell how far an object is: Ready, Reconciling, Stalled. Pure.

Their meaning is that of kstatus (kubernetes-sigs/cli-utils), on which ``kubectl wait`` and GitOps tools rely.
"""

from datetime import datetime
from typing import Protocol

import msgspec

from daemon import names
from daemon.objects.meta import Condition, ObjectMeta, with_conditions


class Told(msgspec.Struct, frozen=True):
    """How far an object is, in a word and in a sentence."""

    reason: str
    message: str
    reconciling: bool = False
    ready: bool = False
    stalled: bool = False


def three(told: Told, generation: int) -> list[Condition]:
    """The three conditions as *told* of that generation."""
    states = (
        (names.READY, told.ready),
        (names.RECONCILING, told.reconciling),
        (names.STALLED, told.stalled),
    )
    return [
        Condition(
            type=type_,
            status="True" if state else "False",
            reason=told.reason,
            message=told.message,
            observed_generation=generation,
        )
        for type_, state in states
    ]


def kstatus(obj: "Conditioned", told: Told, now: datetime) -> tuple[Condition, ...]:
    """The conditions of *obj*, the three of them as *told* of its generation."""
    return with_conditions(obj.status.conditions, three(told, obj.metadata.generation), now)


class Status(Protocol):
    """The part of a status that is read here."""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All conditions of the object."""
        ...


class Conditioned(Protocol):
    """Anything that tells how far it is by conditions."""

    @property
    def metadata(self) -> ObjectMeta:
        """Identity of the object."""
        ...

    @property
    def status(self) -> Status:
        """What was told last."""
        ...
