"""Which restarts count as asked for, and that each counts once."""

import json
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import names
from daemon.objects.local_pods import ContainerStatus, LocalPod, LocalPodStatus
from daemon.objects.meta import ObjectMeta
from daemon.objects.planned_restarts import counted, planned_restarts, unplanned_restarts


def pod(restarts: int = 0, **annotations: str) -> LocalPod:
    statuses = (ContainerStatus(name="app", restart_count=restarts),)
    return LocalPod(
        metadata=ObjectMeta(
            name="web", annotations={names.PREFIX + k.replace("_", "-"): v for k, v in annotations.items()}
        ),
        status=LocalPodStatus(container_statuses=statuses),
    )


def after(before: LocalPod, *stops: tuple[str, str]) -> LocalPod:
    for container, stop in stops:
        told = {**before.metadata.annotations, **counted(before, {container: stop})}
        before = msgspec.structs.replace(
            before, metadata=msgspec.structs.replace(before.metadata, annotations=told)
        )
    return before


def test_each_stopped_container_counts() -> None:
    stopped = after(pod(), ("app", "containerd://a"), ("app", "containerd://b"), ("log", "containerd://l"))

    assert planned_restarts(stopped) == {"app": 2, "log": 1}
    assert json.loads(stopped.metadata.annotations["inplaced.dev/planned-restarts"]) == {"app": 2, "log": 1}


def test_the_same_stop_counts_once_however_often_it_is_told() -> None:
    stopped = after(pod(), ("app", "containerd://a"), ("app", "containerd://a"))

    assert planned_restarts(stopped) == {"app": 1}
    assert counted(stopped, {"app": "containerd://a"}) == {}


def test_a_container_without_an_id_was_not_stopped() -> None:
    assert counted(pod(), {"app": ""}) == {}


def test_all_restarts_that_nobody_asked_for_are_crashes() -> None:
    assert unplanned_restarts(pod(5, planned_restarts='{"app":3}')) == {"app": 2}


def test_a_restart_that_has_not_happened_yet_is_no_crash_less() -> None:
    assert unplanned_restarts(pod(0, planned_restarts='{"app":1}')) == {"app": 0}


@pytest.mark.parametrize(
    "text", ["", "3", "{", '{"app":"many"}', '{"app":-4}', '{"app":1.5}', "[1]", "\x00\ud7ff" * 999]
)
def test_what_nobody_can_read_counts_as_none_and_is_replaced(text: str) -> None:
    broken = pod(2, planned_restarts=text, planned_restarts_counted=text)

    assert planned_restarts(broken) == {}
    assert planned_restarts(after(broken, ("app", "containerd://a"))) == {"app": 1}


@given(st.lists(st.tuples(st.sampled_from(["app", "log"]), st.integers(0, 6)), max_size=20))
def test_the_count_is_that_of_different_containers_whatever_is_told_again(
    told: Sequence[tuple[str, int]],
) -> None:
    """IDs of one name only grow, as a successor never becomes its predecessor again."""
    stops = sorted((name, f"containerd://{number}") for name, number in told)

    stopped = after(pod(), *stops)

    assert planned_restarts(stopped) == {
        name: len({stop for of, stop in stops if of == name}) for name in {name for name, _ in stops}
    }
