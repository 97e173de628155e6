"""Containers with a place in the launch order change one priority after the other."""

import json
from typing import Any

from daemon import names
from daemon.inplace.targets import Done, Waiting
from tests.unit.inplace_world import SimulatedPod, advance, target_of
from tests.unit.revisions import container, env_of, revision


def _barrier(priority: int) -> dict[str, Any]:
    source = {"configMapKeyRef": {"name": "web-1-barrier", "key": f"p_{priority}"}}
    return {"name": names.BARRIER_VARIABLE, "valueFrom": source}


def _our_barrier(priority: int) -> dict[str, Any]:
    return env_of(names.BARRIER_VARIABLE, f"metadata.annotations['{names.PREFIX}launch-p_{priority}']")


def _pod(tag: str, cpu: str = "100m", config: str = "one") -> dict[str, Any]:
    size = {"requests": {"cpu": cpu}}
    reads = env_of("CONFIG", "metadata.annotations['config']")
    return revision(
        container("low", f"low:{tag}", env=[_barrier(1), reads], resources=size),
        container("high", f"high:{tag}", env=[_barrier(9)]),
        container("free", f"free:{tag}"),
        annotations={"config": config, "note": config},
    )


def _state(world: SimulatedPod) -> Any:
    return json.loads(world.document["metadata"]["annotations"][names.STATE_ANNOTATION])


def test_the_highest_priority_and_those_without_one_change_first() -> None:
    world, target = SimulatedPod(_pod("1")), target_of(_pod("1"), _pod("2", "200m", "two"))

    advance(world, target)

    images = {each.name: each.image for each in world.pod.spec.containers}
    annotations = world.document["metadata"]["annotations"]
    assert images == {"low": "low:1", "high": "high:2", "free": "free:2"}
    assert (annotations["config"], annotations["note"]) == ("one", "two")
    assert names.RESOURCES_ANNOTATION not in annotations


def test_what_is_put_off_is_in_openkruises_format() -> None:
    world = SimulatedPod(_pod("1"))

    advance(world, target_of(_pod("1"), _pod("2", "200m", "two")))

    state = _state(world)
    assert state["nextContainerImages"] == {"low": "low:2"}
    assert state["nextContainerResources"] == {"low": {"requests": {"cpu": "200m"}}}
    assert state["nextContainerRefMetadata"] == {
        "low": {"creationTimestamp": None, "annotations": {"config": "two"}}
    }
    assert state["preCheckBeforeNext"] == {"containersRequiredReady": ["free", "high"]}


def test_the_next_change_when_those_before_are_ready_also_if_only_resources_are_left() -> None:
    old, new = _pod("1"), _pod("1", "200m")
    for each in new["spec"]["template"]["spec"]["containers"]:
        each["image"] = each["image"].replace("high:1", "high:2")
    world, target = SimulatedPod(old), target_of(old, new)
    advance(world, target)
    world.kubelet()
    world.document["status"]["containerStatuses"][1]["ready"] = False

    waiting = advance(world, target)
    world.told()
    advance(world, target)
    world.agent()
    world.kubelet()

    assert isinstance(waiting, Waiting)
    assert waiting.reason == "NextContainers"
    assert advance(world, target) == Done()
    assert [each.step for each in world.writes] == ["TakeOut", "Change", "Change", "GiveBack"]
    assert world.pod.spec.containers[0].resources.requests == {"cpu": "200m"}


def test_all_batches_are_verified_before_the_pod_is_given_back() -> None:
    world, target = SimulatedPod(_pod("1")), target_of(_pod("1"), _pod("2", "200m", "two"))
    for _ in range(3):
        advance(world, target)
        world.kubelet()
        world.agent()

    assert advance(world, target) == Done()
    assert world.is_true
    assert {name: truth.restarts for name, truth in world.truth.items()} == {"low": 1, "high": 1, "free": 1}
    assert len(_state(world)["containerBatchesRecord"]) == 2


def test_a_state_that_becomes_unreadable_loses_no_batch() -> None:
    world, target = SimulatedPod(_pod("1")), target_of(_pod("1"), _pod("2"))
    advance(world, target)
    world.document["metadata"]["annotations"][names.STATE_ANNOTATION] = "{broken"
    for _ in range(3):
        world.kubelet()
        world.agent()
        advance(world, target)

    assert advance(world, target) == Done()
    assert {name: truth.image for name, truth in world.truth.items()} == {
        "low": "low:2",
        "high": "high:2",
        "free": "free:2",
    }


def test_containers_that_read_the_same_annotation_change_together() -> None:
    reads = env_of("CONFIG", "metadata.annotations['config']")
    both = [
        container("low", "l:1", env=[_our_barrier(1), reads]),
        container("high", "h:1", env=[_our_barrier(9), reads]),
    ]
    old, new = (revision(*both, annotations={"config": each}) for each in ("one", "two"))
    world = SimulatedPod(old)
    world.agent()

    advance(world, target_of(old, new))

    assert world.document["metadata"]["annotations"]["config"] == "two"
    assert "nextContainerRefMetadata" not in _state(world)


def test_a_container_one_of_whose_annotations_goes_does_not_wait() -> None:
    reads = env_of("CONFIG", "metadata.annotations['config']")
    both = [container("low", "l:1", env=[_barrier(1), reads]), container("high", "h:1", env=[_barrier(9)])]
    old = revision(*both, annotations={"config": "one", "note": "n"})
    both[1] = container("high", "h:2", env=[_barrier(9)])
    world = SimulatedPod(old)

    advance(world, target_of(old, revision(*both, annotations={"note": "n"})))

    assert "config" not in world.document["metadata"]["annotations"]
    assert "nextContainerRefMetadata" not in _state(world)


def test_a_literal_barrier_is_no_priority() -> None:
    odd = {"name": names.BARRIER_VARIABLE, "value": "p_3"}
    old, new = (revision(container("app", each, env=[odd])) for each in ("a:1", "a:2"))
    world = SimulatedPod(old)

    advance(world, target_of(old, new))

    assert world.pod.spec.containers[0].image == "a:2"
