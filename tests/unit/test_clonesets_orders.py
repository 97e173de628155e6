"""Orders of pods: one for each, found by pod and by set, and nothing left of what is over."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from daemon.objects.meta import Key
from daemon.workloads.clonesets.orders import Order, Orders

PODS = st.sampled_from(["a", "b", "c", "d"])


def order(of: str, revision: str = "web-2") -> Order:
    return Order(Key("shop", of), f"uid-of-{of}", revision)


def test_the_orders_of_a_set_are_those_of_its_pods() -> None:
    orders = Orders()
    orders.put("a", order("web"))
    orders.put("b", order("api"))
    orders.put("c", order("web", "web-3"))

    assert orders.of_set("uid-of-web") == {"a": order("web"), "c": order("web", "web-3")}
    assert orders.of_set("uid-of-nobody") == {}


def test_a_new_order_takes_the_place_of_the_one_before() -> None:
    orders = Orders()
    orders.put("a", order("web"))

    orders.put("a", order("api"))

    assert orders.get("a") == order("api")
    assert orders.of_set("uid-of-web") == {}


class OrdersMachine(RuleBasedStateMachine):
    """Whatever is put and dropped, both ways to an order lead to the same."""

    def __init__(self) -> None:
        super().__init__()
        self.orders = Orders()
        self.model: dict[str, Order] = {}

    @rule(pod=PODS, of=st.sampled_from(["web", "api"]))
    def put(self, pod: str, of: str) -> None:
        self.orders.put(pod, order(of))
        self.model[pod] = order(of)

    @rule(pod=PODS)
    def drop(self, pod: str) -> None:
        self.orders.drop(pod)
        self.model.pop(pod, None)

    @invariant()
    def is_as_the_model(self) -> None:
        for uid in ("uid-of-web", "uid-of-api"):
            wanted = {pod: each for pod, each in self.model.items() if each.set_uid == uid}
            assert self.orders.of_set(uid) == wanted
        assert {pod for pod in "abcd" if pod in self.orders} == self.model.keys()


TestOrdersMachine = OrdersMachine.TestCase
TestOrdersMachine.settings = settings(max_examples=30, stateful_step_count=15)
