"""CloneSet, as both served versions write it.

v1alpha1 has the parameters of a rollout in ``updateStrategy`` itself, v1beta1 in its ``rollingUpdate``; since
what is stored may be either, one struct reads both. ``daemon.workloads.clonesets.settings`` makes one form of
it.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from daemon import names
from daemon.objects.images import Count
from daemon.objects.meta import Condition, LabelSelector, ObjectMeta, Wire

IntOrText = int | str
PodUpdatePolicy = Literal["ReCreate", "InPlaceIfPossible", "InPlaceOnly"]
StrategyType = Literal["ReCreate", "InPlaceIfPossible", "InPlaceOnly", "RollingUpdate", "OnDelete"]
Weight = Annotated[int, Meta(ge=0, le=100)]
Seconds = Annotated[int, Meta(ge=1, le=2**31 - 1)]
OnInfeasible = Literal["Wait", "Rollback", "Recreate"]
OnDeferred = Literal["Wait", "Rollback"]


class InPlaceUpdateStrategy(Wire, frozen=True):
    """How one pod is changed in place, and how its node is prepared for it."""

    grace_period_seconds: Count = 0
    image_pre_download_parallelism: IntOrText | None = None
    """A percentage where OpenKruise's conversion took it from the annotation, which may be one."""
    image_pre_download_timeout_seconds: Count | None = None
    image_pre_download_min_updated_ready_pods: Count | None = None
    on_infeasible: OnInfeasible = "Wait"
    """What becomes of a pod whose node can never give the new resources. OpenKruise knows none of these."""
    on_deferred: OnDeferred = "Wait"
    """What becomes of one whose node has no room for them now."""
    resize_deadline_seconds: Seconds | None = None
    """For how long such a one waits before it is given up."""


class WeightTerm(Wire, frozen=True):
    """How much a pod that the selector matches is preferred."""

    weight: Weight
    match_selector: LabelSelector = LabelSelector()


class OrderTerm(Wire, frozen=True):
    """A label by the number at whose end pods are put in order, the highest first."""

    ordered_key: str


class PriorityStrategy(Wire, frozen=True):
    """Which pods change first: by the sum of weights, or by labels in turn."""

    weight_priority: tuple[WeightTerm, ...] = ()
    order_priority: tuple[OrderTerm, ...] = ()


class ScatterTerm(Wire, frozen=True):
    """Pods that carry this label with this value are spread over the rollout."""

    key: str
    value: str


class RollingUpdate(Wire, frozen=True):
    """The parameters of a rollout, as v1beta1 has them."""

    pod_update_policy: PodUpdatePolicy | None = None
    partition: IntOrText | None = None
    max_unavailable: IntOrText | None = None
    max_surge: IntOrText | None = None
    paused: bool = False
    priority_strategy: PriorityStrategy | None = None
    scatter_strategy: tuple[ScatterTerm, ...] = ()
    in_place_update_strategy: InPlaceUpdateStrategy | None = None


class UpdateStrategy(Wire, frozen=True):
    """How pods come to a new revision: v1alpha1's parameters, or v1beta1's in ``rolling_update``."""

    type: StrategyType | None = None
    rolling_update: RollingUpdate | None = None
    partition: IntOrText | None = None
    max_unavailable: IntOrText | None = None
    max_surge: IntOrText | None = None
    paused: bool = False
    priority_strategy: PriorityStrategy | None = None
    scatter_strategy: tuple[ScatterTerm, ...] = ()
    in_place_update_strategy: InPlaceUpdateStrategy | None = None
    inplace_update_strategy: InPlaceUpdateStrategy | None = None
    """The same, as many manifests spell it."""


class ScaleStrategy(Wire, frozen=True):
    """How pods are made and removed."""

    pods_to_delete: tuple[str, ...] = ()
    max_unavailable: IntOrText | None = None
    disable_pvc_reuse: bool = field(default=False, name="disablePVCReuse")
    enable_pvc_reuse: bool | None = field(default=None, name="enablePVCReuse")
    """The same the other way round, as v1beta1 has it: where it is said, it holds."""
    exclude_preparing_delete: bool = False


class LifecycleHook(Wire, frozen=True):
    """Holds a pod in a state until the labels or finalizers are gone, or there."""

    labels_handler: Mapping[str, str] = {}
    finalizers_handler: tuple[str, ...] = ()
    mark_pod_not_ready: bool = False


class PodLifecycle(Wire, frozen=True):
    """The hooks of a pod's life."""

    pre_delete: LifecycleHook | None = None
    in_place_update: LifecycleHook | None = None
    inplace_update: LifecycleHook | None = None
    """The same, as many manifests spell it."""
    pre_normal: LifecycleHook | None = None


class CloneSetSpec(Wire, frozen=True, kw_only=True):
    """Pods of one template that are alike, and how they change."""

    replicas: Count = 1
    selector: LabelSelector
    template: Mapping[str, Any]
    volume_claim_templates: tuple[Mapping[str, Any], ...] = ()
    scale_strategy: ScaleStrategy = ScaleStrategy()
    update_strategy: UpdateStrategy = UpdateStrategy()
    revision_history_limit: Count = 10
    min_ready_seconds: Count = 0
    progress_deadline_seconds: Count | None = None
    lifecycle: PodLifecycle = PodLifecycle()


class CloneSetCondition(Condition, frozen=True, omit_defaults=False):
    """One aspect of the set's state. OpenKruise writes some without a reason."""

    reason: str = ""


class CloneSetStatus(Wire, frozen=True, omit_defaults=False):
    """Counts are pods."""

    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    updated_replicas: int = 0
    updated_ready_replicas: int = 0
    updated_available_replicas: int = 0
    expected_updated_replicas: int = 0
    update_revision: str = ""
    current_revision: str = ""
    collision_count: int | None = None
    conditions: tuple[CloneSetCondition, ...] = ()
    label_selector: str = ""


class CloneSet(Wire, frozen=True):
    """Pods that are alike, changed in place where that is possible."""

    metadata: ObjectMeta
    spec: CloneSetSpec
    status: CloneSetStatus = CloneSetStatus()
    api_version: str = names.KRUISE_API
    kind: str = "CloneSet"
