"""One form of what both versions of CloneSet say of scaling and of rollouts, as numbers of pods. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from daemon import names
from daemon.objects.local_pods import LocalPod
from daemon.objects.resizes import DEADLINE_SECONDS
from daemon.objects.workloads import (
    CloneSet,
    InPlaceUpdateStrategy,
    IntOrText,
    LifecycleHook,
    OnDeferred,
    OnInfeasible,
    OrderTerm,
    PriorityStrategy,
    RollingUpdate,
    ScaleStrategy,
    ScatterTerm,
    UpdateStrategy,
    WeightTerm,
)

Policy = Literal["ReCreate", "InPlaceIfPossible", "InPlaceOnly", "OnDelete"]

_MOST_UNAVAILABLE = "20%"


@dataclass(frozen=True, slots=True)
class Hook:
    """What holds a pod in a state. A hook without handlers holds nothing."""

    labels: Mapping[str, str]
    finalizers: tuple[str, ...]
    mark_not_ready: bool

    @property
    def holds(self) -> bool:
        """Whether there is anything that could hold a pod."""
        return bool(self.labels or self.finalizers)

    def any_on(self, pod: LocalPod) -> bool:
        """Whether one of its handlers at least is on *pod*."""
        return any(self._present(pod))

    def all_on(self, pod: LocalPod) -> bool:
        """Whether all of its handlers are on *pod*."""
        return all(self._present(pod))

    def _present(self, pod: LocalPod) -> list[bool]:
        metadata = pod.metadata
        labels = [metadata.labels.get(key) == value for key, value in self.labels.items()]
        return labels + [each in metadata.finalizers for each in self.finalizers]


NO_HOOK = Hook({}, (), mark_not_ready=False)


@dataclass(frozen=True, slots=True)
class Hooks:
    """The hooks of a pod's life."""

    pre_delete: Hook = NO_HOOK
    in_place_update: Hook = NO_HOOK
    pre_normal: Hook = NO_HOOK


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a CloneSet asks for. Numbers are pods, times seconds."""

    replicas: int
    policy: Policy
    partition: int = 0
    """Pods that stay at the old revision."""
    max_unavailable: int = 1
    max_surge: int = 0
    paused: bool = False
    weights: tuple[WeightTerm, ...] = ()
    orders: tuple[OrderTerm, ...] = ()
    scatter: tuple[ScatterTerm, ...] = ()
    grace: float = 0.0
    on_infeasible: OnInfeasible = "Wait"
    on_deferred: OnDeferred = "Wait"
    resize_deadline: int = DEADLINE_SECONDS
    min_ready: float = 0.0
    deadline: float | None = None
    scale_unavailable: int | None = None
    """Pods that may be unavailable while new ones are made; None for any number."""
    pods_to_delete: frozenset[str] = frozenset()
    reuse_claims: bool = True
    exclude_preparing_delete: bool = False
    hooks: Hooks = Hooks()

    @property
    def in_place(self) -> bool:
        """Whether pods may change in place."""
        return self.policy in {"InPlaceIfPossible", "InPlaceOnly"}

    @property
    def replaces(self) -> bool:
        """Whether pods may be replaced by a rollout."""
        return self.policy in {"ReCreate", "InPlaceIfPossible"}

    @property
    def least_available(self) -> int:
        """Pods that must not become fewer by what is done here."""
        return max(self.replicas - self.max_unavailable, 0)


def settings_of(obj: CloneSet) -> Settings:
    """Read *obj*. What the schema would refuse is taken for the nearest value that makes sense."""
    spec, replicas = obj.spec, obj.spec.replicas
    rolling, scaling = _rolling(spec.update_strategy), spec.scale_strategy
    priority = rolling.priority_strategy or PriorityStrategy()
    in_place = in_place_strategy_of(obj)
    surge = share(rolling.max_surge, replicas, up=True)
    unavailable = share(_or(rolling.max_unavailable, _MOST_UNAVAILABLE), replicas, up=surge == 0)
    excluded = obj.metadata.labels.get(names.EXCLUDE_PREPARING_DELETE_LABEL) == "true"
    return Settings(
        replicas=replicas,
        policy=_policy(spec.update_strategy),
        partition=partition_of(rolling.partition, replicas),
        max_unavailable=unavailable if unavailable or surge else 1,
        max_surge=surge,
        paused=rolling.paused,
        weights=priority.weight_priority,
        orders=priority.order_priority,
        scatter=rolling.scatter_strategy,
        grace=in_place.grace_period_seconds,
        on_infeasible=in_place.on_infeasible,
        on_deferred=in_place.on_deferred,
        resize_deadline=in_place.resize_deadline_seconds or DEADLINE_SECONDS,
        min_ready=spec.min_ready_seconds,
        deadline=spec.progress_deadline_seconds,
        scale_unavailable=None
        if scaling.max_unavailable is None
        else max(share(scaling.max_unavailable, replicas, up=True), 1),
        pods_to_delete=frozenset(scaling.pods_to_delete),
        reuse_claims=_reuses_claims(scaling),
        exclude_preparing_delete=scaling.exclude_preparing_delete or excluded,
        hooks=_hooks(obj),
    )


def in_place_strategy_of(obj: CloneSet) -> InPlaceUpdateStrategy:
    """How its pods change in place, whichever version says so."""
    return _rolling(obj.spec.update_strategy).in_place_update_strategy or InPlaceUpdateStrategy()


def share(value: IntOrText | None, whole: int, *, up: bool) -> int:
    """*value*, a number or a percentage of *whole*, as a number from 0; what is neither counts as 0."""
    if value is None:
        return 0
    if isinstance(value, int):
        return max(value, 0)
    digits = value.removesuffix("%")
    if not (digits.isascii() and digits.isdecimal()):
        return 0
    if digits == value:  # a number in quotes: its meaning is clear
        return int(digits)
    return -(-int(digits) * whole // 100) if up else int(digits) * whole // 100


def partition_of(value: IntOrText | None, replicas: int) -> int:
    """Pods that stay old. A percentage below 100 lets one pod at least change, however few there are."""
    stay = min(share(value, replicas, up=True), replicas)
    percent = isinstance(value, str) and value.endswith("%") and value != "100%"
    return max(replicas - 1, 0) if percent and stay == replicas else stay


def _policy(strategy: UpdateStrategy) -> Policy:
    match strategy.type:
        case "InPlaceIfPossible" | "InPlaceOnly" | "OnDelete" | "ReCreate":
            return strategy.type
        case _:
            rolling = strategy.rolling_update
            return (rolling.pod_update_policy if rolling is not None else None) or "ReCreate"


def _rolling(strategy: UpdateStrategy) -> RollingUpdate:
    if strategy.rolling_update is not None:
        return strategy.rolling_update
    return RollingUpdate(
        partition=strategy.partition,
        max_unavailable=strategy.max_unavailable,
        max_surge=strategy.max_surge,
        paused=strategy.paused,
        priority_strategy=strategy.priority_strategy,
        scatter_strategy=strategy.scatter_strategy,
        in_place_update_strategy=strategy.in_place_update_strategy or strategy.inplace_update_strategy,
    )


def _hooks(obj: CloneSet) -> Hooks:
    life = obj.spec.lifecycle
    return Hooks(
        pre_delete=_hook(life.pre_delete),
        in_place_update=_hook(life.in_place_update or life.inplace_update),
        pre_normal=_hook(life.pre_normal),
    )


def _hook(hook: LifecycleHook | None) -> Hook:
    if hook is None:
        return NO_HOOK
    return Hook(hook.labels_handler, hook.finalizers_handler, hook.mark_pod_not_ready)


def _reuses_claims(scaling: ScaleStrategy) -> bool:
    if scaling.enable_pvc_reuse is not None:
        return scaling.enable_pvc_reuse
    return not scaling.disable_pvc_reuse


def _or(value: IntOrText | None, default: IntOrText) -> IntOrText:
    return default if value is None else value
