"""Which pods of a rollout move now: by example, and for all moments."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import names
from daemon.objects.meta import LabelSelector
from daemon.objects.workloads import OrderTerm, ScatterTerm, WeightTerm
from daemon.workloads.clonesets.ranking import for_update
from daemon.workloads.clonesets.rollout import plan_rollout, surplus
from daemon.workloads.clonesets.settings import Settings
from daemon.workloads.clonesets.views import PREPARING_DELETE, PREPARING_UPDATE, Snapshot
from tests.unit.clonesets import NEW, NOW, OLD, names_of, pod, seen, view
from tests.unit.test_clonesets_scale import worlds

SETTINGS = Settings(replicas=4, policy="InPlaceIfPossible", max_unavailable=2)
BEGUN = {"apps.kruise.io/inplace-update-state": "{}"}
PREPARED = {names.NEXT_REVISION_READY: "True"}


def test_as_many_move_as_may_be_unavailable() -> None:
    plan = plan_rollout(seen(SETTINGS, *(pod(name, OLD) for name in "abcd")))

    assert (len(plan.move), len(plan.upcoming)) == (2, 2)


def test_pods_that_change_count_as_unavailable() -> None:
    pods = [pod("a"), *(pod(name, OLD) for name in "bcd")]

    assert len(plan_rollout(seen(SETTINGS, *pods, chosen=["uid-a"])).move) == 1


def test_pods_that_do_not_serve_move_first_and_whatever_the_limit() -> None:
    pods = [pod("a", OLD), pod("b", OLD, ready=False), pod("c", OLD, ready=False), pod("d", OLD)]

    assert set(names_of(plan_rollout(seen(SETTINGS, *pods)).move)) == {"b", "c"}


def test_a_broken_revision_stops_the_rollout_at_the_limit() -> None:
    pods = [pod("a", ready=False), pod("b", ready=False), pod("c", OLD), pod("d", OLD)]

    assert plan_rollout(seen(SETTINGS, *pods)).move == []


def test_pods_that_cannot_move_take_no_other_s_place() -> None:
    settings = replace(SETTINGS, max_unavailable=1, partition=1)
    world = seen(settings, *(pod(name, OLD) for name in "abcd"))
    first, *others = for_update(world.pods, settings)

    plan = plan_rollout(world, unable=[first.uid])
    last = plan_rollout(world, unable=[each.uid for each in (first, *others[:2])])

    assert (plan.move, plan.stuck) == ([others[0]], [])
    assert (last.move, last.stuck) == ([others[2]], [first, others[0]])


def test_the_partition_keeps_the_rest() -> None:
    plan = plan_rollout(seen(replace(SETTINGS, partition=3), *(pod(name, OLD) for name in "abcd")))

    assert (len(plan.move), len(plan.upcoming)) == (1, 0)


def test_a_partition_that_is_raised_lets_go_the_last_of_those_that_were_picked_and_not_touched() -> None:
    picked = ["uid-a", "uid-b", "uid-c"]
    pods = [pod("a", OLD), pod("b", OLD), pod("c", OLD, ready=False), pod("d", OLD)]

    gone = surplus(seen(replace(SETTINGS, partition=3), *pods, chosen=picked))

    assert names_of(gone) == names_of(for_update(seen(SETTINGS, *pods).pods[:3], SETTINGS))[1:]


def test_pods_whose_update_has_begun_are_never_let_go() -> None:
    gate = {names.IN_PLACE_UPDATE_READY: "False"}
    pods = [pod("a", NEW), pod("b", OLD, conditions=gate, annotations=BEGUN), pod("c", OLD), pod("d", OLD)]

    gone = surplus(seen(replace(SETTINGS, partition=4), *pods, chosen=["uid-a", "uid-b", "uid-c"]))

    assert names_of(gone) == ["c"]


def test_nobody_is_let_go_while_enough_stay() -> None:
    pods = [pod(name, OLD) for name in "abcd"]

    assert surplus(seen(replace(SETTINGS, partition=2), *pods, chosen=["uid-a", "uid-b"])) == ()


def test_nothing_moves_while_paused() -> None:
    plan = plan_rollout(seen(replace(SETTINGS, paused=True), *(pod(name, OLD) for name in "abcd")))

    assert (plan.move, plan.upcoming) == ((), ())


def test_nothing_moves_with_on_delete() -> None:
    assert plan_rollout(seen(replace(SETTINGS, policy="OnDelete"), pod("a", OLD))).move == ()


def test_pods_that_are_to_go_do_not_change_any_more() -> None:
    pods = [
        pod("a", OLD, state=PREPARING_DELETE),
        pod("b", OLD, labels={names.SPECIFIED_DELETE_LABEL: "true"}),
    ]

    assert plan_rollout(seen(SETTINGS, *pods)).move == []


def test_pods_that_are_held_for_it_move_first() -> None:
    settings = replace(SETTINGS, partition=1)
    pods = [pod("a", OLD), pod("b", OLD, state=PREPARING_UPDATE)]

    assert names_of(plan_rollout(seen(settings, *pods)).move) == ["b"]


def test_a_pod_that_is_held_is_released_after_a_roll_back() -> None:
    plan = plan_rollout(seen(SETTINGS, pod("a", NEW, state=PREPARING_UPDATE)))

    assert (names_of(plan.release), plan.move) == (["a"], [])


def test_a_pod_that_is_held_is_released_by_a_raised_partition() -> None:
    plan = plan_rollout(seen(replace(SETTINGS, partition=4), pod("a", OLD, state=PREPARING_UPDATE)))

    assert names_of(plan.release) == ["a"]


def test_weights_decide_before_preparation_does() -> None:
    term = WeightTerm(weight=10, match_selector=LabelSelector(match_labels={"zone": "b"}))
    pods = [pod("a", OLD, conditions=PREPARED), pod("b", OLD, labels={"zone": "b"}), pod("c", OLD)]

    assert names_of(for_update(seen(SETTINGS, *pods).pods, replace(SETTINGS, weights=(term,)))) == [
        "b",
        "a",
        "c",
    ]


def test_the_higher_number_of_an_ordered_label_moves_first() -> None:
    settings = replace(SETTINGS, orders=(OrderTerm(ordered_key="zone"),))
    pods = [pod("a", OLD, labels={"zone": "z-2"}), pod("b", OLD), pod("c", OLD, labels={"zone": "z-10"})]

    assert names_of(for_update(seen(settings, *pods).pods, settings)) == ["c", "a", "b"]


def test_pods_on_prepared_nodes_move_first() -> None:
    pods = [pod("a", OLD), pod("b", OLD, conditions=PREPARED)]

    assert names_of(for_update(seen(SETTINGS, *pods).pods, SETTINGS)) == ["b", "a"]


def test_pods_of_a_kind_are_scattered() -> None:
    settings = replace(SETTINGS, scatter=(ScatterTerm(key="role", value="main"),))
    mains = [pod(f"m{i}", OLD, labels={"role": "main"}) for i in range(2)]
    others = [pod(f"o{i}", OLD) for i in range(4)]

    order = names_of(for_update(seen(settings, *mains, *others).pods, settings))

    assert [name[0] for name in order] == ["o", "m", "o", "o", "m", "o"]


@pytest.mark.parametrize(("mains", "others"), [(2, 4), (3, 3), (1, 5), (5, 2), (0, 3)])
def test_pods_that_change_one_by_one_are_scattered_as_they_were_from_the_beginning(
    mains: int, others: int
) -> None:
    settings = replace(SETTINGS, scatter=(ScatterTerm(key="role", value="main"),), max_unavailable=1)
    pods = {f"m{i}": pod(f"m{i}", OLD, labels={"role": "main"}) for i in range(mains)}
    pods |= {f"o{i}": pod(f"o{i}", OLD) for i in range(others)}
    whole = names_of(for_update(seen(settings, *pods.values()).pods, settings))

    order: list[str] = []
    while len(order) < len(pods):
        stale = [each for name, each in pods.items() if name not in order]
        changed = [pod(name, NEW, labels=pods[name].metadata.labels) for name in order]
        (moved, *_) = for_update(seen(settings, *stale).pods, settings, seen(settings, *changed).pods)
        order.append(moved.name)

    assert order == whole


@given(worlds)
def test_no_move_leaves_fewer_available_than_there_must_be(world: Snapshot) -> None:
    plan = plan_rollout(world)

    available, moving = sum(each.available for each in world.pods), sum(each.available for each in plan.move)
    assert moving == 0 or available - moving >= world.settings.least_available


@given(worlds)
def test_the_partition_is_never_undercut(world: Snapshot) -> None:
    plan = plan_rollout(world)

    stale = [each for each in world.live if not each.updated]
    assert not plan.move or len(stale) - len(plan.move) >= world.settings.partition - sum(
        each.doomed or each.state == PREPARING_DELETE for each in stale
    )


@given(worlds)
def test_only_live_pods_of_other_revisions_move_and_each_once(world: Snapshot) -> None:
    plan = plan_rollout(world)

    assert all(each.live and not each.updated and not each.doomed for each in plan.move)
    assert len({each.uid for each in (*plan.move, *plan.upcoming)}) == len(plan.move) + len(plan.upcoming)


@given(st.integers(1, 8), st.integers(1, 4), st.integers(0, 8))
def test_every_rollout_comes_to_its_end(replicas: int, unavailable: int, partition: int) -> None:
    settings = replace(
        SETTINGS, replicas=replicas, max_unavailable=unavailable, partition=min(partition, replicas)
    )
    pods = [view(f"p{i}", updated=False) for i in range(replicas)]
    for _ in range(replicas):
        world = Snapshot(settings=settings, pods=pods, update_revision=NEW, current_revision=OLD, now=NOW)
        moved = {each.uid for each in plan_rollout(world).move}
        pods = [replace(each, updated=True) if each.uid in moved else each for each in pods]

    assert sum(not each.updated for each in pods) == settings.partition
