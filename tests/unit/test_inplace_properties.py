"""What holds of every update, whatever order kubelet, agent, crashes and other writers come in."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from daemon import names
from daemon.inplace.diff import InPlace, diff
from daemon.inplace.observing import Observed, Write
from daemon.inplace.planner import plan
from daemon.inplace.targets import Done, Target
from tests.unit.inplace_world import SimulatedPod, advance, target_of
from tests.unit.revisions import container, env_of, revision

CONTAINERS = ("app", "side")
tags = st.sampled_from(["1", "2", "3-same-x", "4-same-x"])  # few, and two of one image
values = st.sampled_from(["one", "two", None])
sizes = st.sampled_from(["100m", "200m"])
priorities = st.sampled_from([None, 1, 9])


@st.composite
def templates(draw: st.DrawFn, barriers: Sequence[int | None]) -> dict[str, Any]:
    containers = []
    for name, priority in zip(CONTAINERS, barriers, strict=True):
        env = [env_of("CONFIG", f"metadata.annotations['{name}']")]
        if priority is not None:
            source = {"configMapKeyRef": {"name": "b", "key": f"p_{priority}"}}
            env.append({"name": names.BARRIER_VARIABLE, "valueFrom": source})
        size = {"requests": {"cpu": draw(sizes)}}
        containers.append(container(name, f"repo/{name}:{draw(tags)}", env=env, resources=size))
    read = {name: draw(values) for name in CONTAINERS}
    return revision(*containers, annotations={key: each for key, each in read.items() if each is not None})


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Revisions that a pod is asked to be of, one after the other."""
    barriers = [draw(priorities), draw(priorities)]
    return draw(st.lists(templates(barriers), min_size=2, max_size=4))


happenings = st.lists(
    st.sampled_from(["step", "stale step", "kubelet", "agent", "crash", "time", "other writer"]), max_size=12
)


def _happen(world: SimulatedPod, what: str, target: Target, seen: list[Any]) -> None:
    match what:
        case "step" | "stale step":
            pod = seen[0] if what == "stale step" and seen else world.pod
            step = plan(Observed(pod, target, world.now))
            seen[:] = [world.pod]
            if isinstance(step, Write):
                world.apply(step)
        case "kubelet":
            world.kubelet()
        case "agent":
            world.agent()
        case "crash":
            world.crash("app")
        case "time":
            world.pass_time(3)
        case _:
            world.told()
    assert world.is_true or not (_restarts(world, target) and world.serving)


def _restarts(world: SimulatedPod, target: Target) -> bool:
    """Whether the pod is of the revision: before, it serves as what it was."""
    return all(world.document["metadata"]["labels"].get(key) == text for key, text in target.labels.items())


def _settle(world: SimulatedPod, target: Target) -> None:
    for _ in range(8):
        if advance(world, target) == Done():
            return
        world.kubelet()
        world.agent()
        world.pass_time(3)
    raise AssertionError(f"it never settles: {advance(world, target)}")


def _targets(history: Sequence[Mapping[str, Any]], grace: float) -> list[Target]:
    """One for each revision after the first."""
    return [
        target_of(old, new, revision=f"web-{number}", grace=grace)
        for number, (old, new) in enumerate(pairwise(history), 1)
    ]


@settings(max_examples=60, deadline=None)
@given(histories(), st.lists(happenings, min_size=3, max_size=3), st.sampled_from([0.0, 5.0]))
def test_a_pod_settles_and_is_never_given_back_unless_it_is_what_it_says(
    history: list[dict[str, Any]], orders: list[list[str]], grace: float
) -> None:
    world = SimulatedPod(history[0])
    world.agent()
    begun = False
    targets = _targets(history, grace)
    for number, (asked, order) in enumerate(zip(targets, orders, strict=False)):
        # An update that never began is no revision that the pod was of.
        first = target_of(history[0], history[number + 1], revision=asked.revision, grace=grace)
        target = asked if begun else first
        seen: list[Any] = []
        for what in order:
            _happen(world, what, target, seen)
        begun = begun or _restarts(world, target)
        if begun and not _restarts(world, target):
            advance(world, target)
    last = targets[-1]
    if not _restarts(world, last):
        last = target_of(_current(world, history), history[-1], revision=last.revision, grace=grace)
    _settle(world, last)

    assert world.is_true
    assert world.serving
    wanted = history[-1]["spec"]["template"]
    assert [each.image for each in world.pod.spec.containers] == [
        each["image"] for each in wanted["spec"]["containers"]
    ]
    read = wanted["metadata"].get("annotations", {})
    assert {name: truth.env["CONFIG"] for name, truth in world.truth.items()} == {
        name: read.get(name, "") for name in CONTAINERS
    }


def _current(world: SimulatedPod, history: Sequence[dict[str, Any]]) -> dict[str, Any]:
    label = world.document["metadata"]["labels"][names.TEMPLATE_HASH_LABEL].rpartition("-")[2]
    return history[int(label)] if label.isdigit() else history[0]


@settings(max_examples=60, deadline=None)
@given(histories(), st.lists(st.sampled_from(["kubelet", "agent", "step", "time"]), max_size=12))
def test_no_container_restarts_twice_for_one_revision_nor_without_need(
    history: list[dict[str, Any]], order: list[str]
) -> None:
    old, new = history[0], history[-1]
    world, target = SimulatedPod(old), target_of(old, new)
    world.agent()
    for what in order:
        _happen(world, what, target, [])
    _settle(world, target)

    change = diff(old, new)
    assert isinstance(change, InPlace)
    expected = {name: int(name in change.restarted) for name in CONTAINERS}
    assert {name: truth.restarts for name, truth in world.truth.items()} == expected


@settings(max_examples=60, deadline=None)
@given(histories(), st.integers(0, 12))
def test_killed_after_any_write_the_next_controller_goes_on(
    history: list[dict[str, Any]], writes: int
) -> None:
    world, target = SimulatedPod(history[0]), target_of(history[0], history[-1])
    world.agent()
    for _ in range(writes):
        step = plan(Observed(world.pod, target, world.now))
        if isinstance(step, Write):
            world.apply(step)
        else:
            world.kubelet()
            world.agent()
    killed_at = len(world.writes)
    _settle(world, target)

    steps = [each.step for each in world.writes]
    assert world.is_true
    assert steps.count("TakeOut") <= 1
    assert steps.count("GiveBack") <= 1
    assert killed_at <= len(steps)
