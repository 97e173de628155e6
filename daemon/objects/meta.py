"""What every API object carries: metadata, owners, conditions, selectors."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple, TypeVar

import msgspec


class Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, gc=False):
    """Base of all API data: camelCase outside, snake_case inside, unknown fields ignored."""


class Key(NamedTuple):
    """Names one object of a kind. The namespace is empty for cluster-scoped kinds."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class OwnerReference(Wire, frozen=True):
    """Points at the object that this one exists for."""

    kind: str
    name: str
    uid: str = ""
    api_version: str = ""
    namespace: str = ""  # OpenKruise writes it on NodeImage tags, whose owners are namespaced.
    controller: bool | None = None


class ObjectMeta(Wire, frozen=True):
    """Identity and bookkeeping of an object."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return Key(self.namespace, self.name)

    @property
    def controller(self) -> OwnerReference | None:
        """The owner that controls the object: at most one does."""
        return next((each for each in self.owner_references if each.controller), None)


class Condition(Wire, frozen=True, omit_defaults=False):
    """One aspect of an object's state, in the form of ``metav1.Condition``."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    observed_generation: int = 0
    last_transition_time: datetime | None = None


C = TypeVar("C", bound=Condition)


class LabelSelectorRequirement(Wire, frozen=True):
    """One expression of a label selector."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()


class LabelSelector(Wire, frozen=True):
    """Chooses objects by their labels. All parts must match; an empty one matches everything."""

    match_labels: Mapping[str, str] = {}
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()


def selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Tell whether *selector* matches *labels*."""
    equal = all(labels.get(key) == value for key, value in selector.match_labels.items())
    return equal and all(_meets(expression, labels) for expression in selector.match_expressions)


def _meets(expression: LabelSelectorRequirement, labels: Mapping[str, str]) -> bool:
    present = expression.key in labels
    match expression.operator:
        case "Exists":
            return present
        case "DoesNotExist":
            return not present
        case "In":
            return labels.get(expression.key) in expression.values
        case "NotIn":
            # As in Kubernetes: an object without the key is selected by NotIn.
            return labels.get(expression.key) not in expression.values


def with_conditions(current: Sequence[C], wanted: Sequence[C], now: datetime) -> tuple[C, ...]:
    """Merge *wanted* into *current* by type; the transition time moves only when a status changes."""
    before = {condition.type: condition for condition in current}
    after = dict(before)
    for condition in wanted:
        old = before.get(condition.type)
        same = old is not None and old.status == condition.status and old.last_transition_time is not None
        moved = old.last_transition_time if same and old is not None else now
        after[condition.type] = msgspec.structs.replace(condition, last_transition_time=moved)
    return tuple(after.values())


def condition_of(conditions: Sequence[C], type_: str) -> C | None:
    """The condition of that type, if there is one."""
    return next((condition for condition in conditions if condition.type == type_), None)
