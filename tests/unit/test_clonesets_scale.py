"""How many pods are made and which go, planned for one moment: by example, and for all moments."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from daemon import names
from daemon.workloads.clonesets.scale import ScalePlan, plan_scale
from daemon.workloads.clonesets.settings import Hook, Hooks, Settings
from daemon.workloads.clonesets.views import NORMAL, PREPARING_DELETE, PodView, Snapshot
from tests.unit.clonesets import NEW, NOW, OLD, names_of, pod, seen, view

SETTINGS = Settings(replicas=3, policy="ReCreate")
DOOMED = {names.SPECIFIED_DELETE_LABEL: "true"}


def test_missing_pods_are_made() -> None:
    plan = plan_scale(seen(SETTINGS, pod("a")))

    assert (plan.create_new, plan.create_old, plan.delete) == (2, 0, [])


def test_pods_on_their_way_out_are_replaced_at_once() -> None:
    plan = plan_scale(seen(SETTINGS, pod("a"), pod("b"), pod("c", deleting=True)))

    assert plan.create_new == 1


def test_pods_that_have_ended_are_replaced() -> None:
    plan = plan_scale(seen(SETTINGS, pod("a"), pod("b"), pod("c", phase="Failed", ready=False)))

    assert (plan.create_new, plan.delete) == (1, [])


def test_what_serves_least_goes_first() -> None:
    pods = (pod("ready"), pod("unready", ready=False), pod("pending", ready=False, phase="Pending"))

    plan = plan_scale(seen(replace(SETTINGS, replicas=0), *pods, pod("unbound", ready=False, node="")))

    assert names_of(plan.delete) == ["unbound", "pending", "unready", "ready"]


def test_the_cheaper_pod_goes_first() -> None:
    cost = "controller.kubernetes.io/pod-deletion-cost"
    pods = (pod("dear", annotations={cost: "10"}), pod("cheap", annotations={cost: "-1"}), pod("usual"))

    assert names_of(plan_scale(seen(replace(SETTINGS, replicas=2), *pods)).delete) == ["cheap"]


def test_the_pod_that_somebody_points_at_goes_before_all_others() -> None:
    pods = (pod("unready", ready=False), pod("doomed", labels=DOOMED), pod("other"))

    assert names_of(plan_scale(seen(replace(SETTINGS, replicas=2), *pods)).delete) == ["doomed"]


def test_a_pod_that_somebody_points_at_is_replaced_when_the_number_stays() -> None:
    plan = plan_scale(seen(SETTINGS, pod("a", labels=DOOMED), pod("b"), pod("c")))

    assert (names_of(plan.delete), plan.create_new) == (["a"], 0)


def test_only_so_many_available_pods_go_at_once() -> None:
    pods = [pod(name, labels=DOOMED) for name in "abcd"]

    plan = plan_scale(seen(replace(SETTINGS, replicas=4, max_unavailable=2), *pods))

    assert len(plan.delete) == 2


def test_unavailable_pods_go_whatever_the_limit() -> None:
    pods = [pod(name, labels=DOOMED, ready=False) for name in "abcd"]

    assert len(plan_scale(seen(replace(SETTINGS, replicas=4), *pods)).delete) == 4


def test_with_surge_the_successor_is_made_first() -> None:
    settings = replace(SETTINGS, max_unavailable=0, max_surge=1)

    plan = plan_scale(seen(settings, pod("a", labels=DOOMED), pod("b"), pod("c")))

    assert (plan.create_new, plan.delete) == (1, [])


def test_surge_pods_go_when_the_rollout_is_over() -> None:
    settings = replace(SETTINGS, max_unavailable=0, max_surge=2)

    plan = plan_scale(seen(settings, *map(pod, "abcde")))

    assert len(plan.delete) == 2


def test_the_surge_stays_while_a_pod_changes_in_place() -> None:
    settings = replace(SETTINGS, policy="InPlaceIfPossible", max_unavailable=0, max_surge=1)

    plan = plan_scale(seen(settings, *map(pod, "abcd"), chosen=["uid-a"]))

    assert (plan.delete, plan.create_new) == ([], 0)


def test_no_surge_stays_in_a_set_of_no_pods() -> None:
    settings = replace(SETTINGS, replicas=0, policy="InPlaceIfPossible", max_surge=1)

    plan = plan_scale(seen(settings, pod("a"), chosen=["uid-a"]))

    assert names_of(plan.delete) == ["a"]


def test_a_paused_rollout_makes_no_surge() -> None:
    settings = replace(SETTINGS, max_surge=1, paused=True)

    assert plan_scale(seen(settings, *(pod(name, OLD) for name in "abc"))) == ScalePlan(delete=[], restore=[])


def test_new_pods_below_the_partition_are_old() -> None:
    plan = plan_scale(seen(replace(SETTINGS, partition=2), pod("a", OLD)))

    assert (plan.create_old, plan.create_new) == (1, 1)


def test_what_is_too_many_goes_from_the_revision_of_which_there_are_too_many() -> None:
    settings = replace(SETTINGS, replicas=3, partition=1, max_unavailable=3)
    pods = [pod(f"new-{i}") for i in range(2)] + [pod(f"old-{i}", OLD) for i in range(3)]

    assert {each.rpartition("-")[0] for each in names_of(plan_scale(seen(settings, *pods)).delete)} == {"old"}


def test_new_pods_are_made_only_while_few_are_unavailable() -> None:
    settings = replace(SETTINGS, replicas=10, scale_unavailable=3)

    assert plan_scale(seen(settings, pod("a"), pod("b", ready=False))).create_new == 2


def test_a_pod_that_was_held_for_its_deletion_goes_on_to_go() -> None:
    settings = replace(SETTINGS, replicas=2)

    plan = plan_scale(seen(settings, pod("a", state=PREPARING_DELETE), pod("b"), pod("c")))

    assert (names_of(plan.delete), plan.restore) == (["a"], [])


def test_a_pod_that_was_held_for_its_deletion_is_kept_when_it_is_wanted_again() -> None:
    plan = plan_scale(seen(SETTINGS, pod("a", state=PREPARING_DELETE), pod("b"), pod("c")))

    assert (names_of(plan.restore), plan.delete, plan.create_new) == (["a"], [], 0)


def test_one_that_was_taken_out_of_traffic_is_not_kept() -> None:
    hooks = Hooks(pre_delete=Hook({"a": "b"}, (), mark_not_ready=True))

    plan = plan_scale(
        seen(replace(SETTINGS, hooks=hooks), pod("a", state=PREPARING_DELETE), pod("b"), pod("c"))
    )

    assert (plan.restore, names_of(plan.delete)) == ([], ["a"])


def test_held_pods_do_not_count_where_they_are_excluded() -> None:
    settings = replace(SETTINGS, exclude_preparing_delete=True)
    held = pod("a", state=PREPARING_DELETE, labels=DOOMED)

    assert plan_scale(seen(settings, held, pod("b"), pod("c"))).create_new == 1


def test_a_held_pod_that_does_not_count_goes_when_nothing_holds_it() -> None:
    settings = replace(SETTINGS, exclude_preparing_delete=True)

    plan = plan_scale(seen(settings, pod("a", state=PREPARING_DELETE), pod("b"), pod("c"), pod("d")))

    assert (names_of(plan.delete), plan.restore, plan.create_new) == (["a"], [], 0)


def test_another_pod_goes_beside_a_held_one_that_does_not_count() -> None:
    settings = replace(SETTINGS, exclude_preparing_delete=True)
    held = pod("a", state=PREPARING_DELETE, labels=DOOMED)

    plan = plan_scale(seen(settings, held, pod("b"), pod("c"), pod("d"), pod("e")))

    assert len(plan.delete) == 2
    assert "a" in names_of(plan.delete)


VIEWS = st.builds(
    lambda updated, available, state, doomed, busy: (updated, available, state, doomed, busy),
    st.booleans(),
    st.booleans(),
    st.sampled_from([NORMAL, NORMAL, NORMAL, PREPARING_DELETE, "PreparingUpdate", "Updated"]),
    st.sampled_from([False, False, True]),
    st.booleans(),
)


def _views(parts: list[tuple[bool, bool, str, bool, bool]]) -> list[PodView]:
    return [
        view(
            f"p{i}",
            updated=updated,
            available=available and not (busy and updated),
            state=state,
            doomed=doomed,
            busy=busy and updated,
        )
        for i, (updated, available, state, doomed, busy) in enumerate(parts)
    ]


settings_ = st.builds(
    lambda replicas, policy, partition, unavailable, surge, exclude: Settings(
        replicas=replicas,
        policy=policy,
        partition=min(partition, replicas),
        max_unavailable=unavailable if unavailable or surge else 1,
        max_surge=surge,
        exclude_preparing_delete=exclude,
    ),
    st.integers(0, 6),
    st.sampled_from(["ReCreate", "InPlaceIfPossible", "OnDelete"]),
    st.integers(0, 6),
    st.integers(0, 3),
    st.integers(0, 2),
    st.booleans(),
)
worlds = st.builds(
    lambda settings, parts: Snapshot(
        settings=settings, pods=_views(parts), update_revision=NEW, current_revision=OLD, now=NOW
    ),
    settings_,
    st.lists(VIEWS, max_size=9),
)


@given(worlds)
def test_no_deletion_leaves_fewer_available_than_there_must_be(world: Snapshot) -> None:
    plan = plan_scale(world)

    available = sum(each.available for each in world.pods)
    going = sum(each.available for each in plan.delete)
    assert going == 0 or available - going >= world.settings.least_available


@given(worlds)
def test_no_pod_is_both_kept_and_deleted_nor_deleted_twice(world: Snapshot) -> None:
    plan = plan_scale(world)

    going, kept = [each.uid for each in plan.delete], {each.uid for each in plan.restore}
    assert len(going) == len(set(going))
    assert not kept & set(going)


@given(worlds)
def test_there_are_never_more_pods_than_replicas_and_surge(world: Snapshot) -> None:
    plan = plan_scale(world)

    made = plan.create_new + plan.create_old
    counted = len(world.live)
    if world.settings.exclude_preparing_delete:
        counted -= sum(each.state == PREPARING_DELETE for each in world.live)
    assert made == 0 or counted + made <= world.settings.replicas + world.settings.max_surge


@given(worlds)
def test_what_is_not_too_much_and_not_pointed_at_stays(world: Snapshot) -> None:
    plan = plan_scale(world)

    surplus = [each for each in plan.delete if not each.doomed]
    assert len(surplus) <= max(len(world.live) - world.settings.replicas, 0)


@given(worlds)
def test_every_world_settles(world: Snapshot) -> None:
    for _ in range(40):
        plan = plan_scale(world)
        if plan == ScalePlan(delete=[], restore=[]):
            break
        world = _after(world, plan)

    assert len(world.live) >= world.settings.replicas
    assert all(each.state != PREPARING_DELETE for each in world.live)
    assert plan_scale(world) == ScalePlan(delete=[], restore=[])


def _after(world: Snapshot, plan: ScalePlan) -> Snapshot:
    """The world in which all was done, and what was made or kept serves."""
    gone, kept = {each.uid for each in plan.delete}, {each.uid for each in plan.restore}
    left = [
        replace(each, state=NORMAL, available=True) if each.uid in kept else replace(each, busy=False)
        for each in world.pods
        if each.uid not in gone
    ]
    served = [replace(each, available=each.state == NORMAL) for each in left]
    count = sum(each.name.startswith("made") for each in world.pods)
    made = [view(f"made{count + i}") for i in range(plan.create_new)]
    made += [view(f"made{count + plan.create_new + i}", updated=False) for i in range(plan.create_old)]
    return replace(world, pods=[*served, *made])
