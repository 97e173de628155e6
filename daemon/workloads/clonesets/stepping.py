"""Goes on with the update of each pod that was begun, by itself: no step costs a look at the whole set."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

import structlog

from daemon import names
from daemon.engine.objects import NotFoundError
from daemon.engine.reconciling import Controller
from daemon.inplace.diff import MustRecreate
from daemon.inplace.targets import NOT_SCHEDULED, Done, Extras, Failed, Options, Progress, Target, Waiting
from daemon.kube.errors import ForbiddenError, RefusedError, ServerError
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key
from daemon.objects.workloads import CloneSet
from daemon.workloads.clonesets.history import labels_for, named
from daemon.workloads.clonesets.lifecycle import after_update, during_update
from daemon.workloads.clonesets.orders import Order, Orders
from daemon.workloads.clonesets.settings import Settings, settings_of
from daemon.workloads.clonesets.surroundings import SetSurroundings, Updates
from daemon.workloads.clonesets.timing import StepTimes
from daemon.workloads.clonesets.views import (
    NORMAL,
    PREPARING_DELETE,
    PREPARING_NORMAL,
    UPDATING,
    is_changing,
    same_revision,
    was_changed,
)

log = structlog.get_logger()

_WORKERS = 32
"""Pods that are written to at the same time."""
_DEADLINE = 600.0
"""Seconds after which an update that does not come through has failed, without progressDeadlineSeconds."""


class Stepping:
    """What was begun, and how far it is. Lost with the process: what stands on pods is found again."""

    def __init__(self, around: SetSurroundings, updates: Updates, wake: Callable[[Key], None]) -> None:
        self.controller: Controller[Key] = Controller(
            "clonesetpods", self.step, around.metrics, workers=_WORKERS
        )
        self._around = around
        self._updates = updates
        self._wake = wake
        self._orders = Orders()
        self._at_work: set[str] = set()
        """UIDs of pods that a step is being taken with, of which they may not show anything yet."""
        self._unwanted: set[str] = set()
        """Those of them that are to stay what they are, if nothing comes of that step."""
        self._progress: dict[str, tuple[str, Progress]] = {}
        """By UID of a pod: how far it is on its way to which revision."""
        self._through: dict[str, dict[str, list[str]]] = {}
        """By UID of a set and revision: the names of pods that came there since that was asked."""
        self._times = StepTimes(around.metrics, around.clock)

    def watch(self) -> None:
        """Look at a pod when it changes; at all on which an update may have been begun at first."""
        self._around.pods.on_change(self._on_pod)
        for pod in self._around.pods.list():
            if was_changed(pod) or self._is_changing(pod):
                self.controller.queue.add(pod.metadata.key)

    def send(self, obj: CloneSet, pod: LocalPod, revision: str) -> None:
        """Have *pod* changed in place to *revision*."""
        metadata = pod.metadata
        self._unwanted.discard(metadata.uid)
        self._orders.put(metadata.uid, Order(obj.metadata.key, obj.metadata.uid, revision))
        self._progress.pop(metadata.uid, None)
        self.controller.queue.add(metadata.key)

    def hold(self, obj: CloneSet, *, but: str = "") -> None:
        """Change no further pod of *obj*, unless to the revision *but*; what was begun comes to its end.

        A pod that still is of *but*, and left its traffic for another one, stays what it is.
        """
        for pod in self._around.pods_of(obj):
            order = self._orders.get(pod.metadata.uid)
            wanted = but and (order is None or order.revision == but)
            if wanted:
                continue
            if not self._is_changing(pod):
                self.let_go(pod)
            elif but and same_revision(pod.metadata.labels.get(names.TEMPLATE_HASH_LABEL, ""), but):
                self.send(obj, pod, but)

    def let_go(self, pod: LocalPod) -> None:
        """Have *pod* stay what it is, as nothing was begun on it; a step that is being taken ends first."""
        if pod.metadata.uid in self._at_work:
            self._unwanted.add(pod.metadata.uid)
        else:
            self._drop(pod.metadata.uid)

    def chosen(self, obj: CloneSet, revision: str) -> Collection[str]:
        """UIDs of the pods of *obj* that are on their way to *revision*, or may be found to be on another."""
        orders = self._orders.of_set(obj.metadata.uid)
        return {pod for pod, order in orders.items() if order.revision == revision or pod in self._at_work}

    def verdict(self, pod: LocalPod, revision: str) -> MustRecreate | None:
        """Why *pod* cannot come to *revision* in place, if it was found out."""
        told = self._progress.get(pod.metadata.uid)
        if told is None or told[0] != revision or not isinstance(told[1], MustRecreate):
            return None
        is_over = told[1].reason == NOT_SCHEDULED and pod.spec.node_name
        return None if is_over else told[1]

    def failure(self, pods: Collection[LocalPod]) -> tuple[LocalPod, Failed] | None:
        """One of *pods* whose update does not come through by itself."""
        for pod in pods:
            told = self._progress.get(pod.metadata.uid)
            if told is not None and isinstance(told[1], Failed):
                return pod, told[1]
        return None

    def words(self, pods: Collection[LocalPod]) -> str:
        """What the updates of *pods* wait for."""
        told = [self._progress[pod.metadata.uid][1] for pod in pods if pod.metadata.uid in self._progress]
        reasons = Counter(each.reason for each in told if isinstance(each, Waiting | Failed))
        return ", ".join(
            f"{count} pod{'s' if count > 1 else ''} {reason}" for reason, count in sorted(reasons.items())
        )

    def through(self, obj: CloneSet, least: int) -> Mapping[str, Sequence[str]]:
        """Which pods of *obj* came through, by revision: once each, and of *least* at once."""
        found = self._through.get(obj.metadata.uid, {})
        told = {revision: pods for revision, pods in found.items() if len(pods) >= least}
        for revision in told:
            del found[revision]
        return told

    def forget(self, set_uid: str) -> None:
        """The set is gone."""
        self._through.pop(set_uid, None)
        for pod in tuple(self._orders.of_set(set_uid)):
            self._drop(pod)

    async def step(self, key: Key) -> float | None:
        """Go on with one pod."""
        pod = self._around.pods.get(key)
        obj = self._set_of(pod) if pod is not None else None
        if pod is None or obj is None or self._is_over(obj, pod):
            if pod is not None:
                self._drop(pod.metadata.uid)
            return None
        order = self._orders.get(pod.metadata.uid)
        target = self._target(obj, pod, order)
        if target is None:
            return await self._updates.leave(pod, "the revision that this pod is of is not known any more")
        if order is None and not (was_changed(pod) or self._is_changing(pod)):
            return None
        self._at_work.add(pod.metadata.uid)
        try:
            return await self._advance(obj, pod, target)
        finally:
            self._at_work.discard(pod.metadata.uid)
            self._settle(obj, pod)

    def _settle(self, obj: CloneSet, pod: LocalPod) -> None:
        """Have the pod stay what it is after all, if it is to and nothing came of the step."""
        if pod.metadata.uid not in self._unwanted:
            return
        self._unwanted.discard(pod.metadata.uid)
        now = self._around.pods.get(pod.metadata.key)
        if now is None or not self._is_changing(now):
            self._drop(pod.metadata.uid)
        self._wake(obj.metadata.key)

    async def _advance(self, obj: CloneSet, pod: LocalPod, target: Target) -> float | None:
        key = pod.metadata.key
        self._times.begin(pod.metadata.uid)
        try:
            progress = await self._updates.advance(pod, target)
        except NotFoundError:
            self._drop(pod.metadata.uid)
            return None
        except (RefusedError, ForbiddenError, ServerError) as error:  # else it would stand in the log alone
            self._take(pod, obj, target, Failed("FailedUpdatePod", str(error)))
            raise
        now = self._around.pods.get(key)
        # It went meanwhile, or its set let it go: nobody drops it later.
        if now is None or now.metadata.uid != pod.metadata.uid or self._set_of(now) is None:
            self._drop(pod.metadata.uid)
            return None
        return self._take(pod, obj, target, progress)

    def _take(self, pod: LocalPod, obj: CloneSet, target: Target, progress: Progress) -> float | None:
        uid = pod.metadata.uid
        before = self._progress.get(uid)
        self._progress[uid] = target.revision, progress
        if isinstance(progress, Done):
            known = self._orders.get(uid)
            counted = before is not None or known is not None
            self._times.end(uid, counted=counted)
            if counted:
                names_ = self._through.setdefault(obj.metadata.uid, {}).setdefault(target.revision, [])
                names_.append(pod.metadata.name)
            if known is None or known.revision == target.revision:
                self._drop(uid)
        elif isinstance(progress, MustRecreate):
            self._times.drop(uid)
            self._orders.drop(uid)
        else:
            self._times.at(uid, progress.reason)
            if uid not in self._orders:
                self._orders.put(uid, Order(obj.metadata.key, obj.metadata.uid, target.revision))
        if before is None or before[1] != progress:
            self._wake(obj.metadata.key)
        return getattr(progress, "look_again_in", None)

    def _target(self, obj: CloneSet, pod: LocalPod, order: Order | None) -> Target | None:
        """Where the pod is to come: where it was sent, else where it says that it is on its way to."""
        stored = self._around.revisions_of(obj)
        now = named(stored, pod.metadata.labels.get(names.TEMPLATE_HASH_LABEL, ""))
        new = (named(stored, order.revision) if order is not None else None) or now
        if new is None:
            return None
        settings = settings_of(obj)
        begun, done = self._extras(pod, settings, at_rest=order is None and not self._is_changing(pod))
        return Target(
            revision=new.metadata.name,
            labels=labels_for(new.metadata.name),
            old=now.data if now is not None else None,
            new=new.data,
            options=_options(settings),
            begun=begun,
            done=done,
        )

    def _extras(self, pod: LocalPod, settings: Settings, *, at_rest: bool) -> tuple[Extras, Extras]:
        """The states of the pod's life that go into the writes of its update, so that they cost none.

        A pod *at_rest*, which is only verified anew, has been through them.
        """
        state = pod.metadata.labels.get(names.LIFECYCLE_STATE_LABEL) or NORMAL
        begun = during_update(settings)
        resting = at_rest and state != UPDATING
        if resting or state == PREPARING_DELETE or (state == PREPARING_NORMAL and not begun):
            return Extras(), Extras()  # what becomes of it is the matter of other hooks than the update's
        if settings.hooks.in_place_update.mark_not_ready:
            return self._state(begun), Extras()  # given back to traffic in a write of its own
        after = after_update(settings)
        return self._state(begun), self._state(after if begun or after != state else "")

    def _state(self, state: str) -> Extras:
        if not state:
            return Extras()
        stamp = self._around.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        return Extras({names.LIFECYCLE_STATE_LABEL: state}, {names.LIFECYCLE_TIMESTAMP_ANNOTATION: stamp})

    def _on_pod(self, before: LocalPod | None, after: LocalPod | None) -> None:
        if before is not None and (after is None or after.metadata.uid != before.metadata.uid):
            self._drop(before.metadata.uid)
        if after is None:
            return
        if after.metadata.uid in self._orders or self._is_changing(after):
            self.controller.queue.add(after.metadata.key)

    def _is_over(self, obj: CloneSet, pod: LocalPod) -> bool:
        """Whether nothing is to be begun on *pod* any more, as its set goes."""
        return obj.metadata.deletion_timestamp is not None and not self._is_changing(pod)

    def _is_changing(self, pod: LocalPod) -> bool:
        return is_changing(pod, self._around.now())

    def _set_of(self, pod: LocalPod) -> CloneSet | None:
        owner = pod.metadata.controller
        found = self._around.sets.get(Key(pod.metadata.namespace, owner.name)) if owner is not None else None
        return found if found is not None and owner is not None and found.metadata.uid == owner.uid else None

    def _drop(self, uid: str) -> None:
        self._orders.drop(uid)
        self._progress.pop(uid, None)
        self._times.drop(uid)


def _options(settings: Settings) -> Options:
    return Options(
        grace=settings.grace,
        deadline=settings.deadline or _DEADLINE,
        on_infeasible=settings.on_infeasible,
        on_deferred=settings.on_deferred,
        resize_deadline=settings.resize_deadline,
    )
