"""Which containers of a pod may start, told from the pod alone."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import names
from daemon.launchorder.planner import plan
from daemon.objects.launch_order import OPEN, gates_of, is_launched, kept_by_centre
from daemon.objects.local_pods import (
    Container,
    ContainerState,
    ContainerStatus,
    EnvSource,
    EnvVar,
    FieldRef,
    LocalPod,
    LocalPodSpec,
    LocalPodStatus,
    Terminated,
)
from daemon.objects.meta import ObjectMeta

READY = "ready"
COMPLETED = names.LAUNCH_COMPLETED_ANNOTATION


def gate(priority: int) -> str:
    return f"{names.LAUNCH_GATE_PREFIX}{priority}"


def container(name: str, priority: int | None) -> Container:
    if priority is None:
        return Container(name=name)
    source = EnvSource(field_ref=FieldRef(field_path=f"metadata.annotations['{gate(priority)}']"))
    barrier = EnvVar(name=names.BARRIER_VARIABLE, value_from=source)
    return Container(name=name, env=(EnvVar(name="A", value="b"), barrier))


def status(name: str, state: str | int) -> ContainerStatus:
    """Of a container that is ready, that waits, or that ended with a code."""
    ended = ContainerState(terminated=Terminated(exit_code=state)) if isinstance(state, int) else None
    return ContainerStatus(name=name, ready=state == READY, state=ended or ContainerState())


def pod(
    priorities: Sequence[int | None],
    states: Sequence[str | int] = (),
    annotations: Mapping[str, str] | None = None,
    restart_policy: str = "Always",
) -> LocalPod:
    containers = [f"c{at}" for at in range(len(priorities))]
    return LocalPod(
        metadata=ObjectMeta(name="web", namespace="shop", uid="u1", annotations=annotations or {}),
        spec=LocalPodSpec(
            containers=tuple(container(*each) for each in zip(containers, priorities, strict=True)),
            restart_policy=restart_policy,
        ),
        status=LocalPodStatus(
            container_statuses=tuple(status(*each) for each in zip(containers, states, strict=False))
        ),
    )


def test_the_highest_priority_starts_at_once() -> None:
    assert plan(pod([0, 5, 1])) == {gate(5): OPEN}


def test_equal_ones_start_together() -> None:
    assert plan(pod([5, 5, 1])) == {gate(5): OPEN}


def test_the_next_waits_until_all_above_it_are_ready() -> None:
    opened = {gate(5): OPEN}

    assert plan(pod([5, 5, 1], [READY, "waiting"], opened)) == {}
    assert plan(pod([5, 5, 1, 0], [READY, READY], opened)) == {gate(1): OPEN}


def test_the_pod_says_when_the_last_may_start() -> None:
    assert plan(pod([5, 1], [READY], {gate(5): OPEN})) == {gate(1): OPEN, COMPLETED: OPEN}


def test_a_pod_that_is_through_needs_nothing() -> None:
    through = pod([5, 1], [READY, READY], {gate(5): OPEN, gate(1): OPEN, COMPLETED: OPEN})

    assert plan(through) == {}
    assert is_launched(through)


def test_a_gate_that_somebody_took_away_is_opened_again() -> None:
    robbed = pod([5, 1], [READY, READY], {gate(1): OPEN, COMPLETED: OPEN})

    assert plan(robbed) == {gate(5): OPEN}
    assert not is_launched(robbed)


def test_what_is_open_stays_open_when_a_container_falls() -> None:
    assert plan(pod([5, 1], ["waiting", READY], {gate(5): OPEN, gate(1): OPEN})) == {}


def test_a_container_without_a_gate_holds_nobody_up() -> None:
    assert plan(pod([None, 1, 0], ["waiting", READY], {gate(1): OPEN})) == {gate(0): OPEN, COMPLETED: OPEN}


def test_a_pod_without_an_order_is_left_alone() -> None:
    assert plan(pod([None, None])) == {}
    assert is_launched(pod([None, None]))


@pytest.mark.parametrize(
    ("policy", "code", "goes_on"),
    [
        ("Never", 0, True),
        ("Never", 1, True),
        ("OnFailure", 0, True),
        ("OnFailure", 1, False),
        ("Always", 0, False),
    ],
)
def test_a_container_that_ended_for_good_holds_nobody_up(policy: str, code: int, *, goes_on: bool) -> None:
    news = plan(pod([1, 0], [code], {gate(1): OPEN}, policy))

    assert (gate(0) in news) == goes_on


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_is_over_is_left_alone(phase: str) -> None:
    over = msgspec.structs.replace(pod([1, 0]), status=LocalPodStatus(phase=phase))

    assert plan(over) == {}


def test_a_pod_that_is_being_removed_is_left_alone() -> None:
    made = pod([1, 0])
    metadata = msgspec.structs.replace(made.metadata, deletion_timestamp=datetime(2026, 1, 1, tzinfo=UTC))

    assert plan(msgspec.structs.replace(made, metadata=metadata)) == {}


@pytest.mark.parametrize(
    "path",
    [
        "metadata.annotations['other/launch-p_1']",
        "metadata.annotations['inplaced.dev/launch-p_x']",
        "metadata.annotations['inplaced.dev/launch-p_1'] ",
        "metadata.labels['inplaced.dev/launch-p_1']",
    ],
)
def test_what_only_looks_like_a_gate_is_none(path: str) -> None:
    source = EnvSource(field_ref=FieldRef(field_path=path))
    made = Container(name="a", env=(EnvVar(name=names.BARRIER_VARIABLE, value_from=source),))

    assert gates_of(LocalPod(metadata=ObjectMeta(name="a"), spec=LocalPodSpec(containers=(made,)))) == {}


def test_a_barrier_of_openkruise_s_own_is_left_to_it() -> None:
    made = Container(name="a", env=(EnvVar(name=names.BARRIER_VARIABLE, value_from=EnvSource()),))

    assert gates_of(LocalPod(metadata=ObjectMeta(name="a"), spec=LocalPodSpec(containers=(made,)))) == {}


def test_the_centre_keeps_a_pod_whole_for_as_long_as_it_waits() -> None:
    waiting = pod([1, 0])
    through = pod([1, 0], (), {gate(1): OPEN, gate(0): OPEN, COMPLETED: OPEN})

    assert kept_by_centre(waiting) is waiting
    assert kept_by_centre(through).spec.containers == ()


orders = st.lists(st.integers(-3, 3), min_size=1, max_size=5)


@given(orders)
def test_containers_start_by_priority_and_all_of_them_do(priorities: list[int]) -> None:
    """Each opening makes those behind it ready: the world that the kubelet makes of it."""
    annotations: dict[str, str] = {}
    started: list[int] = []
    for _ in range(len(priorities) + 1):
        states = [READY if gate(each) in annotations else "waiting" for each in priorities]
        news = plan(pod(priorities, states, annotations))
        started += sorted((each for each in set(priorities) if gate(each) in news), reverse=True)
        annotations |= news

    assert started == sorted(set(priorities), reverse=True)
    assert annotations[COMPLETED] == OPEN


@given(orders, st.data())
def test_nobody_starts_before_all_above_are_ready(priorities: list[int], data: st.DataObject) -> None:
    states = [data.draw(st.sampled_from([READY, "waiting"])) for _ in priorities]

    news = plan(pod(priorities, states))

    behind = [each for each, state in zip(priorities, states, strict=True) if state != READY]
    assert all(gate(each) not in news for each in priorities if any(other > each for other in behind))
