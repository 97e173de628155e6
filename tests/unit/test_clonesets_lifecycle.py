"""Where a pod is in its life, and what its hooks hold it from: every state and every edge."""

from dataclasses import replace

import pytest
from msgspec import structs

from daemon.objects.local_pods import LocalPodCondition
from daemon.workloads.clonesets.lifecycle import (
    DELETE_KEY,
    UPDATE_KEY,
    Go,
    Stay,
    Turn,
    after_update,
    before_delete,
    before_update,
    by_itself,
    during_update,
    instead_of_delete,
    instead_of_update,
)
from daemon.workloads.clonesets.settings import NO_HOOK, Hook, Hooks, Settings
from daemon.workloads.clonesets.views import PodView
from tests.unit.clonesets import pod, seen

HOOK = Hook({"guard": "on"}, ("example.io/blocker",), mark_not_ready=False)
MARKING = replace(HOOK, mark_not_ready=True)
PLAIN = Settings(replicas=1, policy="InPlaceIfPossible")
HOOKED = replace(PLAIN, hooks=Hooks(pre_delete=HOOK, in_place_update=HOOK, pre_normal=HOOK))
MARKED = replace(PLAIN, hooks=Hooks(pre_delete=MARKING, in_place_update=MARKING, pre_normal=MARKING))
ALL, LABEL, FINALIZER, NONE = "all", "label", "finalizer", "none"


def one(state: str, handlers: str = ALL, *, busy: bool = False, node: str = "node-1") -> PodView:
    labels = {"guard": "on"} if handlers in {ALL, LABEL} else {}
    finalizers = ["example.io/blocker"] if handlers in {ALL, FINALIZER} else []
    made = pod("a", state=state, labels=labels, finalizers=finalizers, node=node)
    return seen(PLAIN, made, chosen=["uid-a"] if busy else []).pods[0]


@pytest.mark.parametrize(
    ("view", "settings", "becomes"),
    [
        (one("PreparingNormal"), PLAIN, "Normal"),
        (one("PreparingNormal", node=""), PLAIN, None),
        (one("PreparingNormal", ALL), HOOKED, "Normal"),
        (one("PreparingNormal", LABEL), HOOKED, None),
        (one("PreparingNormal", FINALIZER), HOOKED, None),
        (one("PreparingNormal", NONE), HOOKED, None),
        (one("Normal"), HOOKED, None),
        (one(""), HOOKED, None),
        (one("Updating", NONE, busy=True), HOOKED, None),
        (one("Updating", NONE), HOOKED, "Updated"),
        (one("Updating"), PLAIN, "Normal"),
        (one("Updated", NONE), HOOKED, None),
        (one("Updated", LABEL), HOOKED, None),
        (one("Updated", ALL), HOOKED, "Normal"),
        (one("Updated", NONE), PLAIN, "Normal"),
        (one("PreparingUpdate"), HOOKED, None),
        (one("PreparingDelete"), HOOKED, None),
        (one("Whatever"), HOOKED, None),
    ],
)
def test_what_becomes_of_a_pod_by_itself(view: PodView, settings: Settings, becomes: str | None) -> None:
    turn = by_itself(view, settings)

    assert (turn.state if turn is not None else None) == becomes


@pytest.mark.parametrize("state", ["Normal", "Updated"])
@pytest.mark.parametrize("key", [UPDATE_KEY, DELETE_KEY])
def test_a_key_that_was_left_on_a_pod_of_which_nothing_is_wanted_is_taken_off(key: str, state: str) -> None:
    message = f'[{{"userAgent":"Lifecycle","key":"{key}"}}]'
    told = LocalPodCondition(type="KruisePodReady", status="False", message=message)
    view = one(state, NONE)
    status = structs.replace(view.pod.status, conditions=(*view.pod.status.conditions, told))
    left = replace(view, pod=structs.replace(view.pod, status=status))

    assert by_itself(left, MARKED) == Turn(state, release=key)
    assert by_itself(replace(left, busy=True), MARKED) is None


@pytest.mark.parametrize(
    ("view", "settings", "step"),
    [
        (one("Normal"), PLAIN, Go()),
        (one("Normal", NONE), HOOKED, Go()),
        (one("Normal", LABEL), HOOKED, Turn("PreparingUpdate")),
        (one("Normal", FINALIZER), HOOKED, Turn("PreparingUpdate")),
        (one("Normal"), MARKED, Turn("PreparingUpdate", acquire=UPDATE_KEY)),
        (one("PreparingUpdate", ALL), HOOKED, Stay()),
        (one("PreparingUpdate", FINALIZER), HOOKED, Stay()),
        (one("PreparingUpdate", NONE), HOOKED, Go()),
        (one("PreparingUpdate", ALL), PLAIN, Go()),
        (one("Updating", ALL, busy=True), HOOKED, Go()),
        (one("Updated", NONE), HOOKED, Turn("PreparingUpdate", HOOK.labels, HOOK.finalizers)),
    ],
)
def test_what_a_pod_passes_before_it_changes(view: PodView, settings: Settings, step: object) -> None:
    assert before_update(view, settings) == step


@pytest.mark.parametrize(
    ("view", "settings", "step"),
    [
        (one("Normal"), PLAIN, Go()),
        (one("Normal", NONE), HOOKED, Go()),
        (one("Normal", LABEL), HOOKED, Turn("PreparingDelete")),
        (one("Updating", FINALIZER), MARKED, Turn("PreparingDelete", acquire=DELETE_KEY)),
        (one("PreparingDelete", ALL), HOOKED, Stay()),
        (one("PreparingDelete", NONE), HOOKED, Go()),
        (one("PreparingDelete", ALL), PLAIN, Go()),
    ],
)
def test_what_a_pod_passes_before_it_is_deleted(view: PodView, settings: Settings, step: object) -> None:
    assert before_delete(view, settings) == step


@pytest.mark.parametrize(
    ("handlers", "settings", "state"),
    [(ALL, HOOKED, "Normal"), (LABEL, HOOKED, "Updated"), (NONE, HOOKED, "Updated"), (NONE, PLAIN, "Normal")],
)
def test_a_pod_that_need_not_change_gets_its_handlers_back_first(
    handlers: str, settings: Settings, state: str
) -> None:
    assert instead_of_update(one("PreparingUpdate", handlers), settings) == Turn(state, release=UPDATE_KEY)


def test_a_pod_that_need_not_go_proves_itself_again() -> None:
    assert instead_of_delete(HOOKED).state == "PreparingNormal"
    assert instead_of_delete(PLAIN).state == "Normal"


def test_a_pod_without_a_hook_passes_no_states() -> None:
    assert (during_update(PLAIN), after_update(PLAIN)) == ("", "Normal")
    assert (during_update(HOOKED), after_update(HOOKED)) == ("Updating", "Updated")


def test_a_hook_without_handlers_holds_nothing() -> None:
    only_marking = replace(PLAIN, hooks=Hooks(in_place_update=Hook({}, (), mark_not_ready=True)))

    assert before_update(one("Normal"), only_marking) == Go()
    assert not NO_HOOK.any_on(one("Normal").pod)
