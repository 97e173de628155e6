"""One CloneSet and its pods at one moment, as planners see them. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from daemon import names
from daemon.inplace.abandoned import is_kept_out
from daemon.inplace.preparation import Preparation, Prepared, Preparing, Unprepared, preparation_of
from daemon.inplace.verifying import is_put_off, is_unfinished
from daemon.objects.local_pods import LocalPod, LocalPodCondition
from daemon.objects.next_revisions import WOULD_NOT_FIT
from daemon.workloads.clonesets.settings import Settings

PREPARING_NORMAL: Final = "PreparingNormal"
NORMAL: Final = "Normal"
PREPARING_UPDATE: Final = "PreparingUpdate"
UPDATING: Final = "Updating"
UPDATED: Final = "Updated"
PREPARING_DELETE: Final = "PreparingDelete"

PREPARATION: Final = 600.0
"""Seconds from the announcement in which a node is to be prepared; then its pods change all the same."""

_ENDED = frozenset({"Failed", "Succeeded"})
_STATES: Final = ("apps.kruise.io/inplace-update-state", "inplace-update-state")
_GRACES: Final = ("apps.kruise.io/inplace-update-grace", "inplace-update-grace")


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """What is decided by about one pod."""

    pod: LocalPod
    revision: str
    """Name of its revision, or the hash at its end."""
    updated: bool
    """Whether that is the update revision; a pod that is on its way there counts."""
    state: str
    """Its lifecycle state, Normal for none."""
    ready: bool
    available: bool
    ripens_in: float | None = None
    """Seconds until it becomes available by itself."""
    doomed: bool = False
    """Whether somebody wants exactly this pod deleted."""
    busy: bool = False
    """Whether an update in place has begun on it and is not over."""
    preparing: float | None = None
    """Seconds for which its node is waited for at most, which fetches what the pod will need."""
    unprepared: str = ""
    """Why its node cannot be prepared for the update."""
    picked: bool = False
    """Whether an update was begun on it that may not show yet."""
    shut: bool = False
    """Whether nobody has opened its readiness gates yet."""
    proving: bool = False
    """Whether it is busy until its containers have proven what they run, which they may do by silence."""

    @property
    def passing(self) -> bool:
        """Whether another view of the same pod follows with time alone."""
        return self.ripens_in is not None or self.preparing is not None or self.proving

    @property
    def held(self) -> bool:
        """Whether it is not to be touched yet, for the sake of what its node still lacks."""
        return self.preparing is not None or bool(self.unprepared)

    @property
    def name(self) -> str:
        """Its name."""
        return self.pod.metadata.name

    @property
    def uid(self) -> str:
        """Its UID."""
        return self.pod.metadata.uid

    @property
    def deleting(self) -> bool:
        """Whether it is on its way out."""
        return self.pod.metadata.deletion_timestamp is not None

    @property
    def live(self) -> bool:
        """Whether it counts as a replica."""
        return not self.deleting and self.pod.status.phase not in _ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that planners look at."""

    settings: Settings
    pods: Sequence[PodView]
    """Those that the set controls, whatever their phase."""
    update_revision: str
    current_revision: str
    now: datetime

    @property
    def live(self) -> list[PodView]:
        """The pods that count as replicas."""
        return [view for view in self.pods if view.live]

    @property
    def spare(self) -> int:
        """Available pods above the least that there must be."""
        available = sum(view.available for view in self.pods)
        return max(available - self.settings.least_available, 0)


def condition_of(pod: LocalPod, type_: str) -> LocalPodCondition | None:
    """The condition of that type, if the pod has one."""
    return next((each for each in pod.status.conditions if each.type == type_), None)


def holds(pod: LocalPod, type_: str) -> bool:
    """Whether that condition is True."""
    found = condition_of(pod, type_)
    return found is not None and found.status == "True"


def has_gate(pod: LocalPod, type_: str) -> bool:
    """Whether the pod is ready only when that condition is True."""
    return any(gate.condition_type == type_ for gate in pod.spec.readiness_gates)


def same_revision(one: str, other: str) -> bool:
    """Whether both name the same revision, in full or by the hash at its end alone."""
    return one == other or (bool(one and other) and one.rpartition("-")[2] == other.rpartition("-")[2])


def view_of(
    pod: LocalPod, settings: Settings, update_revision: str, now: datetime, chosen: Collection[str] = ()
) -> PodView:
    """Look at *pod*; *chosen* are the UIDs of pods on which an update was begun that they do not show yet."""
    labels = pod.metadata.labels
    revision = labels.get(names.TEMPLATE_HASH_LABEL, "")
    state = labels.get(names.LIFECYCLE_STATE_LABEL) or NORMAL
    picked = pod.metadata.uid in chosen
    changing = is_changing(pod, now)
    busy = picked or changing
    ready = holds(pod, names.READY)
    left = _ripening(pod, settings.min_ready, now) if ready and not busy and state == NORMAL else None
    alive = pod.metadata.deletion_timestamp is None
    updated = picked or same_revision(revision, update_revision)
    prepared = Prepared() if updated else preparation_of(pod, update_revision, now, PREPARATION)
    return PodView(
        pod=pod,
        revision=revision,
        updated=updated,
        state=state,
        ready=ready,
        available=alive and left == 0.0,
        ripens_in=left if alive and left else None,
        doomed=names.SPECIFIED_DELETE_LABEL in labels or pod.metadata.name in settings.pods_to_delete,
        busy=busy,
        preparing=(prepared.seconds or PREPARATION) if isinstance(prepared, Preparing) else None,
        unprepared=_unprepared(prepared, settings),
        picked=picked,
        shut=bool(shut_gates(pod)),
        proving=changing and not is_kept_out(pod),
    )


class ViewCache:
    """The views of one set's pods: the same pod under the same settings has the same view."""

    def __init__(self) -> None:
        self._of: tuple[Settings, str] | None = None
        self._views: dict[str, PodView] = {}

    def look(
        self,
        pods: Iterable[LocalPod],
        settings: Settings,
        update_revision: str,
        now: datetime,
        chosen: Collection[str],
    ) -> list[PodView]:
        """The views of *pods* now, and of no others from now on."""
        known = self._views if self._of == (settings, update_revision) else {}
        views = []
        for pod in pods:
            uid = pod.metadata.uid
            old = known.get(uid)
            if old is None or old.pod is not pod or old.passing or old.picked != (uid in chosen):
                old = view_of(pod, settings, update_revision, now, chosen)
            views.append(old)
        self._of = (settings, update_revision)
        self._views = {view.uid: view for view in views}
        return views


def waiting(views: Sequence[PodView], coming: Mapping[str, float]) -> Sequence[PodView]:
    """*views*, those held whose nodes fetch what they were not told of: by UID, for how many seconds."""
    if not coming:
        return views
    return [
        replace(view, preparing=coming[view.uid])
        if view.uid in coming and not view.updated and not view.held
        else view
        for view in views
    ]


def shut_gates(pod: LocalPod) -> list[str]:
    """The readiness gates of ours that nobody has said anything about."""
    ours = (names.KRUISE_POD_READY, names.IN_PLACE_UPDATE_READY)
    return [each for each in ours if has_gate(pod, each) and condition_of(pod, each) is None]


def was_changed(pod: LocalPod) -> bool:
    """Whether an update in place was ever begun on the pod."""
    return any(pod.metadata.annotations.get(each) for each in (*_STATES, *_GRACES))


def is_changing(pod: LocalPod, now: datetime) -> bool:
    """Whether what stands on the pod tells of an update in place that is not over."""
    annotations = pod.metadata.annotations
    if any(annotations.get(each) for each in _GRACES):
        return True
    begun = any(annotations.get(each) for each in _STATES)
    updating = pod.metadata.labels.get(names.LIFECYCLE_STATE_LABEL) == UPDATING
    if not has_gate(pod, names.IN_PLACE_UPDATE_READY):
        return begun and is_unfinished(pod, now, resized=updating)
    gate = condition_of(pod, names.IN_PLACE_UPDATE_READY)
    if gate is None or gate.status != "True":
        # Its first update takes a pod out of traffic before anything else stands on it.
        return begun or gate is not None
    return is_put_off(pod) or (updating and is_unfinished(pod, now, resized=True))


def has_begun(pod: LocalPod, revision: str, now: datetime) -> bool:
    """Whether anything on the pod tells that it is on its way to *revision*, or there."""
    return is_changing(pod, now) or same_revision(
        pod.metadata.labels.get(names.TEMPLATE_HASH_LABEL, ""), revision
    )


def _unprepared(prepared: Preparation, settings: Settings) -> str:
    """Why the pod is not touched; nothing where another one is wanted instead, which takes its turn."""
    if not isinstance(prepared, Unprepared):
        return ""
    if prepared.reason == WOULD_NOT_FIT and settings.on_infeasible == "Recreate":
        return ""
    return f"{prepared.reason}: {prepared.message}"


def _ripening(pod: LocalPod, min_ready: float, now: datetime) -> float:
    """Seconds until a ready pod has been so for long enough."""
    condition = condition_of(pod, names.READY)
    if not min_ready or condition is None or condition.last_transition_time is None:
        return 0.0
    left = condition.last_transition_time + timedelta(seconds=min_ready) - now
    return max(left.total_seconds(), 0.0)
