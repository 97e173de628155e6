"""Which restarts count as asked for, and that each counts once."""

import json
from collections.abc import Mapping, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import names
from daemon.objects.local_pods import ContainerStatus, LocalPod, LocalPodStatus
from daemon.objects.meta import ObjectMeta
from daemon.objects.planned_restarts import (
    all_replaced,
    counted,
    planned_restarts,
    replaced,
    to_be_replaced,
    unplanned_restarts,
)
from daemon.objects.running_containers import RunningContainer, told_of


def pod(restarts: int = 0, *, container: str = "", **annotations: str) -> LocalPod:
    statuses = (ContainerStatus(name="app", restart_count=restarts, container_id=container),)
    return LocalPod(
        metadata=ObjectMeta(
            name="web", annotations={names.PREFIX + k.replace("_", "-"): v for k, v in annotations.items()}
        ),
        status=LocalPodStatus(container_statuses=statuses),
    )


def annotated(before: LocalPod, changes: Mapping[str, str | None]) -> LocalPod:
    every = {**before.metadata.annotations, **changes}
    kept = {key: text for key, text in every.items() if text is not None}
    return msgspec.structs.replace(
        before, metadata=msgspec.structs.replace(before.metadata, annotations=kept)
    )


def after(before: LocalPod, *stops: tuple[str, str]) -> LocalPod:
    for container, stop in stops:
        before = annotated(before, counted(before, {container: stop}))
    return before


def seen_ahead(before: LocalPod, container: str, restarts: int) -> LocalPod:
    """Its agent knows of a successor of which the kubelet has not told."""
    told = told_of({"app": RunningContainer(id=container, restarts=restarts)})
    return msgspec.structs.replace(before, status=msgspec.structs.replace(before.status, conditions=(told,)))


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


def test_what_an_update_replaces_counts_with_its_last_word_and_once() -> None:
    before = pod(container="containerd://a")
    changing = annotated(before, to_be_replaced(before, ["app"]))
    assert replaced(changing) == {}
    assert planned_restarts(changing) == {}

    done = seen_ahead(changing, "containerd://b", 1)
    ended = annotated(done, all_replaced(done))

    assert replaced(done) == {"app": "containerd://a"}
    assert planned_restarts(ended) == {"app": 1}
    assert all_replaced(ended) == {}


def test_a_container_that_an_update_replaced_is_no_crash_before_it_is_counted_either() -> None:
    before = pod(2, container="containerd://a")
    changing = annotated(before, to_be_replaced(before, ["app"]))
    restarted = pod(3, container="containerd://b", replaced_containers='{"app":"containerd://a"}')

    assert unplanned_restarts(changing) == unplanned_restarts(restarted) == {"app": 2}
    assert unplanned_restarts(annotated(restarted, all_replaced(restarted))) == {"app": 2}


def test_a_replaced_container_that_its_agent_had_counted_already_counts_once() -> None:
    """It was stopped for its environment, as the kubelet took long over its image."""
    restarted = pod(2, container="containerd://b", replaced_containers='{"app":"containerd://a"}')
    stopped = after(restarted, ("app", "containerd://a"))

    assert unplanned_restarts(stopped) == {"app": 1}
    assert planned_restarts(annotated(stopped, all_replaced(stopped))) == {"app": 1}


def test_an_update_that_is_undone_before_the_kubelet_acts_hides_no_later_crash() -> None:
    before = pod(container="containerd://a")
    changing = annotated(before, to_be_replaced(before, ["app"]))
    undone = annotated(changing, to_be_replaced(changing, ["app"]))
    ended = annotated(undone, all_replaced(undone))

    assert planned_restarts(ended) == {}
    assert unplanned_restarts(pod(1, container="containerd://b")) == {"app": 1}


def test_an_update_that_overtakes_another_counts_what_that_one_replaced() -> None:
    before = pod(container="containerd://a")
    first = seen_ahead(annotated(before, to_be_replaced(before, ["app"])), "containerd://b", 1)
    second = annotated(first, to_be_replaced(first, ["app"]))
    ended = seen_ahead(second, "containerd://c", 2)

    assert planned_restarts(second) == {"app": 1}
    assert planned_restarts(annotated(ended, all_replaced(ended))) == {"app": 2}


@pytest.mark.parametrize("text", ["", "x", "[]", '{"app":7}', "\x00"])
def test_what_others_write_there_counts_as_nothing(text: str) -> None:
    spoilt = pod(1, container="containerd://b", replaced_containers=text)

    assert replaced(spoilt) == {}
    assert planned_restarts(annotated(spoilt, all_replaced(spoilt))) == {}


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


def test_a_restart_that_is_counted_before_it_happens_hides_no_earlier_crash() -> None:
    """Whoever watches the number must not see it rise again when the restart has come about."""
    crashed = pod(1, container="containerd://b")
    stopping = after(crashed, ("app", "containerd://b"))
    restarted = pod(2, container="containerd://c", planned_restarts='{"app":1}')

    assert unplanned_restarts(stopping) == unplanned_restarts(restarted) == {"app": 1}


def test_an_update_that_ended_before_the_kubelet_tells_of_it_hides_no_earlier_crash() -> None:
    crashed = pod(1, container="containerd://b")
    changing = annotated(crashed, to_be_replaced(crashed, ["app"]))
    done = seen_ahead(changing, "containerd://c", 2)

    assert unplanned_restarts(annotated(done, all_replaced(done))) == {"app": 1}


def test_what_an_update_replaced_counts_once_when_its_successor_is_stopped_before_the_last_word() -> None:
    """The stop of the first was counted, as it was begun when the update came; then labels changed again."""
    before = after(pod(container="containerd://a"), ("app", "containerd://a"))
    changing = annotated(before, to_be_replaced(before, ["app"]))
    second = seen_ahead(changing, "containerd://b", 1)
    third = seen_ahead(after(second, ("app", "containerd://b")), "containerd://c", 2)
    ended = annotated(third, all_replaced(third))

    assert planned_restarts(ended) == {"app": 2}
    assert unplanned_restarts(ended) == {"app": 0}


def test_what_an_update_replaced_counts_though_its_successor_was_stopped_before_the_last_word() -> None:
    before = pod(container="containerd://a")
    changing = annotated(before, to_be_replaced(before, ["app"]))
    second = seen_ahead(changing, "containerd://b", 1)
    third = seen_ahead(after(second, ("app", "containerd://b")), "containerd://c", 2)
    ended = annotated(third, all_replaced(third))

    assert planned_restarts(ended) == {"app": 2}
    assert counted(ended, {"app": "containerd://b"}) == {}


def test_an_update_of_containers_that_never_ran_leaves_nothing_to_count() -> None:
    before = pod(replaced_containers='{"app":7}')

    assert to_be_replaced(before, ["app"]) == {"inplaced.dev/replaced-containers": None}
