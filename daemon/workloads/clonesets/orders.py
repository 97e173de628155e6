"""Which pods are on their way to which revision, found by pod and by set. Pure but for being changed."""

from collections.abc import Mapping
from dataclasses import dataclass

from daemon.objects.meta import Key


@dataclass(frozen=True, slots=True)
class Order:
    """A pod is on its way to a revision."""

    of: Key
    """The set."""
    set_uid: str
    revision: str


class Orders:
    """At most one order for each pod, by the pod's UID."""

    def __init__(self) -> None:
        self._all: dict[str, Order] = {}
        self._by_set: dict[str, dict[str, Order]] = {}

    def __contains__(self, pod: object) -> bool:
        return pod in self._all

    def get(self, pod: str) -> Order | None:
        """The order of the pod with this UID."""
        return self._all.get(pod)

    def of_set(self, uid: str) -> Mapping[str, Order]:
        """The orders of the pods of one set, found without a look at those of others."""
        return self._by_set.get(uid, {})

    def put(self, pod: str, order: Order) -> None:
        """Give the pod with this UID an order, in the place of the one that it has."""
        self.drop(pod)
        self._all[pod] = order
        self._by_set.setdefault(order.set_uid, {})[pod] = order

    def drop(self, pod: str) -> None:
        """Take back the order of the pod with this UID; none is no error."""
        order = self._all.pop(pod, None)
        if order is None:
            return
        orders = self._by_set[order.set_uid]
        del orders[pod]
        if not orders:
            del self._by_set[order.set_uid]
