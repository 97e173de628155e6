"""One pass over one CloneSet: what it works on, and what it found out on its way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from daemon.engine.objects import ConflictError
from daemon.inplace.diff import MustRecreate, diff
from daemon.kube.errors import ApiError, ForbiddenError, RefusedError
from daemon.objects.local_pods import LocalPod
from daemon.objects.workloads import CloneSet
from daemon.workloads.clonesets.revision_writes import History, in_template
from daemon.workloads.clonesets.settings import Settings
from daemon.workloads.clonesets.status import Outcome, Trouble
from daemon.workloads.clonesets.views import Snapshot


@dataclass(slots=True)
class Run:
    """What is gathered while one set is worked on. ``observe`` looks anew: own writes are seen at once."""

    obj: CloneSet
    settings: Settings
    history: History
    observe: Callable[[], Snapshot]
    outcome: Outcome = field(default_factory=Outcome)
    error: ApiError | None = None
    """What is to be tried again."""
    wakes: list[float] = field(default_factory=list)
    """Seconds until something is due by itself."""
    _differences: dict[str, MustRecreate | None] = field(default_factory=dict)

    @property
    def pods(self) -> Sequence[LocalPod]:
        """The set's pods as they are known now."""
        return [view.pod for view in self.observe().pods]

    def difference(self, revision: str) -> MustRecreate | None:
        """Why a pod of *revision* cannot come to the update revision in place; None when it can."""
        if revision not in self._differences:
            verdict = diff(self.history.data(revision), self.history.update.data)
            self._differences[revision] = verdict if isinstance(verdict, MustRecreate) else None
        return self._differences[revision]

    def scale_failed(self, what: str, error: ApiError) -> None:
        """Pods could not be made or deleted."""
        self.error = self.error or error
        self.outcome = replace(self.outcome, scale=Trouble(what, _words(error)))

    def update_failed(self, what: str, error: ApiError) -> None:
        """Pods could not be changed; that somebody else changed them meanwhile is no trouble."""
        self.error = self.error or error
        if isinstance(error, ConflictError):
            return
        self.outcome = replace(self.outcome, update=Trouble(what, _words(error)))


def _words(error: ApiError) -> str:
    if isinstance(error, RefusedError):
        return in_template(error)
    return error.message if isinstance(error, ForbiddenError) else str(error)
