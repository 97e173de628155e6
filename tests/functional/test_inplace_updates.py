"""Updates of pods carried out over the API: few writes, each bound to a version, killed anywhere."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from daemon import names
from daemon.inplace.targets import Done, Failed, Target, Waiting
from daemon.kube.errors import ApiError
from tests.fakes.apifaults import Fault
from tests.functional.update_world import UpdateWorld, update_world
from tests.unit.inplace_world import SimulatedPod, target_of
from tests.unit.revisions import container, env_of, revision


@pytest.fixture
async def world() -> AsyncIterator[UpdateWorld]:
    async with update_world() as made:
        yield made


def _of(image: str, config: str, cpu: str = "100m") -> dict[str, Any]:
    reads = [env_of("CONFIG", "metadata.annotations['config']")]
    size = {"requests": {"cpu": cpu}}
    app = container("app", image, env=reads, resources=size)
    low = {"name": names.BARRIER_VARIABLE, "valueFrom": {"configMapKeyRef": {"name": "b", "key": "p_1"}}}
    high = {"name": names.BARRIER_VARIABLE, "valueFrom": {"configMapKeyRef": {"name": "b", "key": "p_2"}}}
    first = container("first", image.replace("app", "first"), env=[high])
    last = container("last", image.replace("app", "last"), env=[low])
    return revision(app, first, last, annotations={"config": config})


OLD, NEW = _of("repo/app:1", "one"), _of("repo/app:2", "two", "200m")
PLAIN = [revision(container("app", f"repo/app:{tag}")) for tag in (1, 2)]


async def _settle(world: UpdateWorld, simulated: SimulatedPod, target: Target) -> None:
    for _ in range(12):
        try:
            if await world.advance(target) == Done():
                return
        except ApiError:
            world.restart()
        world.node_acts(simulated)
        world.clock.pass_by(3)
        simulated.pass_time(3)
    raise AssertionError("it never settles")


async def test_an_update_of_an_image_is_three_writes_and_no_reading(world: UpdateWorld) -> None:
    simulated, target = world.make(PLAIN[0]), target_of(*PLAIN)
    before = len(world.server.requests)

    await world.advance(target)
    world.node_acts(simulated)
    ended = await world.advance(target)

    asked = [f"{each.verb} {each.resource}" for each in world.server.requests[before:]]
    assert ended == Done()
    assert [each for each in asked if each != "get pods"] == [
        "patch pods/status",
        "patch pods",
        "patch pods/status",
    ]
    assert asked.count("get pods") == 2  # the test's own
    assert [reason for reason, _ in world.told] == ["InPlaceUpdateStarted", "InPlaceUpdateSucceeded"]


async def test_image_environment_and_resources_in_one_revision_restart_each_container_once(
    world: UpdateWorld,
) -> None:
    simulated, target = world.make(OLD), target_of(OLD, NEW)
    world.node_acts(simulated)

    await _settle(world, simulated, target)

    world.load(simulated)
    assert simulated.is_true
    assert simulated.serving
    assert {name: truth.restarts for name, truth in simulated.truth.items()} == {
        "app": 1,
        "first": 1,
        "last": 1,
    }
    assert simulated.pod.spec.containers[0].resources.requests == {"cpu": "200m"}


async def test_a_pod_that_changed_meanwhile_is_read_anew_and_decided_on_anew(world: UpdateWorld) -> None:
    simulated, target = world.make(PLAIN[0]), target_of(*PLAIN)
    stale = world.load(simulated).pod
    world.node_acts(simulated)

    progress = await world.updates.advance(stale, target)

    assert isinstance(progress, Waiting)
    assert progress.reason == "Restarting"
    assert world.server.count("get", resource="pods") == 1


async def test_another_pod_of_the_same_name_is_left_alone(world: UpdateWorld) -> None:
    simulated = world.make(PLAIN[0])
    old = world.load(simulated).pod
    world.server.remove("pods", "web-1", "default")
    world.make(PLAIN[0])

    progress = await world.updates.advance(old, target_of(*PLAIN))

    assert progress == Waiting("Deleting", "the pod is gone")
    assert not world.server.writes


async def test_a_pod_that_its_workload_let_go_meanwhile_is_left_alone(world: UpdateWorld) -> None:
    simulated = world.make(PLAIN[0])
    owner = {
        "apiVersion": names.KRUISE_API,
        "kind": "CloneSet",
        "name": "web",
        "uid": "u",
        "controller": True,
    }
    simulated.document["metadata"]["ownerReferences"] = [owner]
    world.store(simulated)
    owned = simulated.pod
    simulated.document["metadata"]["ownerReferences"] = []
    world.store(simulated)

    progress = await world.updates.advance(owned, target_of(*PLAIN))

    assert isinstance(progress, Waiting)
    assert progress.reason == "Released"
    assert world.load(simulated).serving


async def test_a_pod_that_is_gone_is_no_error(world: UpdateWorld) -> None:
    simulated = world.make(PLAIN[0])
    old = world.load(simulated).pod
    world.server.remove("pods", "web-1", "default")

    assert isinstance(await world.updates.advance(old, target_of(*PLAIN)), Waiting)


async def test_a_pod_that_is_written_to_all_the_time_is_looked_at_later(world: UpdateWorld) -> None:
    world.make(PLAIN[0])
    world.server.fail(Fault(status=409, verb="patch", times=100))

    progress = await world.advance(target_of(*PLAIN))

    assert isinstance(progress, Waiting)
    assert (progress.reason, progress.look_again_in) == ("Changed", 1.0)


async def test_what_went_wrong_is_told_in_the_condition_and_an_event_once(world: UpdateWorld) -> None:
    simulated, target = world.make(PLAIN[0]), target_of(*PLAIN)
    await world.advance(target)
    world.load(simulated)
    simulated.kubelet(pulls=False)
    world.store(simulated)

    first, second = await world.advance(target), await world.advance(target)

    assert isinstance(first, Failed)
    assert first == second
    assert world.told[-1] == ("InPlaceUpdateStuck", "Warning")
    assert len(world.told) == 2
    told = world.load(simulated).condition(names.IN_PLACE_UPDATE_READY)
    assert told["reason"] == "ImagePullFailed"


async def test_a_silent_agent_keeps_nothing_from_an_update_that_the_kubelet_does_alone(
    world: UpdateWorld,
) -> None:
    simulated, target = world.make(PLAIN[0]), target_of(*PLAIN)
    world.alive = False

    await world.advance(target)
    world.load(simulated).kubelet()
    world.store(simulated)

    assert await world.advance(target) == Done()


@pytest.mark.parametrize("status", [0, 401], ids=["done but not answered", "not done"])
@pytest.mark.parametrize("grace", [0, 5])
@pytest.mark.parametrize("write", range(8))
async def test_killed_at_any_write_the_next_controller_ends_the_update(
    world: UpdateWorld, write: int, grace: int, status: int
) -> None:
    simulated, target = world.make(OLD), target_of(OLD, NEW, grace=grace)
    world.node_acts(simulated)
    world.server.fail(Fault(status=status, verb="patch", reset=not status, after=write))

    await _settle(world, simulated, target)

    world.load(simulated)
    assert simulated.is_true
    assert simulated.serving
    assert {name: truth.restarts for name, truth in simulated.truth.items()} == {
        "app": 1,
        "first": 1,
        "last": 1,
    }
