"""The pods of a WorkloadRestart, counted. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from daemon.objects.workload_restarts import PodFailure
from daemon.workloadrestarts.standing import Standing


@dataclass(frozen=True, slots=True)
class Tally:
    """How many pods are where."""

    desired: int
    restarted: int
    restarting: int
    due: int
    failures: tuple[PodFailure, ...]
    unready: tuple[str, ...]
    """Pods that are out of service, or about to be."""
    missing: int
    """Pods that the workload is to have and has not."""

    @classmethod
    def of(cls, standings: Sequence[Standing], wanted: int) -> Self:
        """Count *standings* of a workload that is to have *wanted* pods."""
        states = [each.state for each in standings]
        return cls(
            desired=len(states),
            restarted=states.count("Restarted"),
            restarting=states.count("Restarting"),
            due=states.count("Due"),
            failures=tuple(each.failure for each in standings if each.failure is not None),
            unready=tuple(each.pod.metadata.name for each in standings if not each.ready),
            missing=max(0, wanted - len(states)),
        )

    @property
    def unavailable(self) -> int:
        """Pods that are out of service, about to be, or missing."""
        return len(self.unready) + self.missing

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be restarted."""
        return not self.due and not self.restarting
