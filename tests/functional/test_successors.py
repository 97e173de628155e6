"""The successor of a container that changes is known from the runtime, before the kubelet tells of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from grpclib.const import Status
from msgspec.structs import replace

from daemon import names
from daemon.objects.container_hashes import plain_hash
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key
from daemon.objects.running_containers import RunningContainer, told_of
from daemon.restarts.successors import Successors, pause_after
from tests.fakes.clock import FakeClock
from tests.functional.pod_world import NODE, PodWorld, pod_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[PodWorld]:
    async with pod_world(tmp_path) as made:
        yield made


class Changing:
    """A pod that changes in place, what the runtime has of it, and who looks for successors."""

    def __init__(self, world: PodWorld, *, gate: str = "False", image: str = "a:2") -> None:
        self.world = world
        self.clock = FakeClock()
        self.news: list[Key] = []
        self.successors = Successors(replace(world.around, clock=self.clock), self.news.append)
        self._gate, self._image = gate, image
        self.first, self.pod = self._started("web")

    def _started(self, name: str) -> tuple[str, LocalPod]:
        """A pod, and its container of the old image, of which both kubelet and agent have told."""
        uid = self._store(name, "").metadata.uid
        container = self.world.start_container(uid, "app")
        return container, self._store(name, container)

    def another(self, name: str) -> LocalPod:
        """One more pod that changes in the same way."""
        return self._started(name)[1]

    def start(self, attempt: int) -> str:
        """Have the kubelet start a container; return its ID."""
        return self.world.start_container(self.pod.metadata.uid, "app", attempt=attempt)

    def tell(self, container: str, restarts: int) -> None:
        """Have the kubelet tell of the container, and the agent that it is of the new image."""
        self.pod = self._store("web", container, restarts, told=self._image)

    def _store(self, name: str, container: str, restarts: int = 0, *, told: str = "a:1") -> LocalPod:
        running = {"app": RunningContainer(id=container, restarts=restarts, image=plain_hash("app", told))}
        gate = {"type": names.IN_PLACE_UPDATE_READY, "status": self._gate}
        status: dict[str, Any] = {
            "conditions": [gate, msgspec.to_builtins(told_of(running))],
            "containerStatuses": [{"name": "app", "containerID": container, "restartCount": restarts}],
        }
        gates = [{"conditionType": names.IN_PLACE_UPDATE_READY}]
        containers = [{"name": "app", "image": self._image}]
        return self.world.store(
            {
                "metadata": {"name": name, "namespace": "shop"},
                "spec": {"nodeName": NODE, "readinessGates": gates, "containers": containers},
                "status": status,
            }
        )

    def show(self, *stopped: str) -> tuple[str, int]:
        """ID and restarts of the container as it is shown."""
        shown = self.successors.ahead(self.pod, stopped).status.container_statuses[0]
        return shown.container_id, shown.restart_count

    async def look(self) -> bool:
        """Have the runtime asked if need be; return whether there was need."""
        return await self.successors.look()

    def questions(self) -> int:
        """How often the runtime was asked for containers."""
        return len(self.world.runtime.requests("ListContainers"))


async def test_it_is_waited_for_and_shown_as_soon_as_it_is_there(world: PodWorld) -> None:
    changing = Changing(world)

    before = changing.show()
    assert await changing.look()
    assert changing.news == []
    second = changing.start(1)
    assert await changing.look()

    assert changing.news == [changing.pod.metadata.key], "the pod is looked at again once there is news"
    assert before == (changing.first, 0)
    assert changing.show() == (second, 1)
    assert not await changing.look(), "nothing is waited for any more"
    assert changing.questions() == 2


async def test_while_it_runs_it_asks_until_all_are_found(world: PodWorld) -> None:
    changing = Changing(world)
    told = asyncio.Event()
    searching = Successors(world.around, lambda _key: told.set())
    task = asyncio.create_task(searching.run())
    try:
        searching.ahead(changing.pod)
        second = changing.start(1)
        async with asyncio.timeout(10):
            await told.wait()
    finally:
        task.cancel()

    assert searching.ahead(changing.pod).status.container_statuses[0].container_id == second


async def test_one_question_answers_for_all_pods(world: PodWorld) -> None:
    changing = Changing(world)
    others = [changing.another(f"web-{number}") for number in range(3)]
    for pod in (changing.pod, *others):
        changing.successors.ahead(pod)
    world.start_container(others[1].metadata.uid, "app", attempt=1)

    await changing.look()

    assert changing.questions() == 1
    assert changing.news == [others[1].metadata.key]


@pytest.mark.parametrize(
    ("took", "waited", "pause"), [(0.001, 0.5, 0.02), (0.04, 0.5, 0.2), (0.001, 10.0, 0.2), (0.0, 0.0, 0.02)]
)
def test_it_asks_the_less_often_the_more_a_question_costs_and_the_longer_it_takes(
    took: float, waited: float, pause: float
) -> None:
    assert pause_after(took, waited) == pytest.approx(pause)


async def test_what_the_kubelet_tells_is_not_asked_for(world: PodWorld) -> None:
    changing = Changing(world)
    changing.show()
    second = changing.start(1)
    await changing.look()
    changing.tell(second, 1)

    assert changing.show() == (second, 1)
    assert not await changing.look()


async def test_another_container_of_the_pod_is_none(world: PodWorld) -> None:
    changing = Changing(world)
    changing.show()
    world.start_container(changing.pod.metadata.uid, "side", attempt=1)
    world.start_container("another-pod", "app", attempt=1)
    await changing.look()

    assert changing.news == []
    assert changing.show() == (changing.first, 0)


async def test_one_that_was_stopped_here_has_a_successor_too(world: PodWorld) -> None:
    changing = Changing(world, image="a:1")
    changing.show()
    idle = await changing.look()
    second = changing.start(1)
    changing.show(changing.first)
    await changing.look()

    assert not idle
    assert changing.show(changing.first) == (second, 1)


async def test_one_that_took_long_to_stop_is_waited_for_from_its_end_on(world: PodWorld) -> None:
    changing = Changing(world, image="a:1")
    changing.show()
    changing.clock.pass_by(60)

    changing.show(changing.first)
    second = changing.start(1)
    assert await changing.look()
    assert changing.show(changing.first) == (second, 1)


async def test_one_that_was_stopped_is_not_waited_for_longer_as_it_is_looked_at_again(
    world: PodWorld,
) -> None:
    changing = Changing(world, image="a:1")
    changing.show(changing.first)
    changing.clock.pass_by(60)

    changing.show(changing.first)

    assert not await changing.look()


async def test_a_pod_that_serves_costs_no_question(world: PodWorld) -> None:
    changing = Changing(world, gate="True")

    assert changing.show() == (changing.first, 0)
    assert not await changing.look()
    assert changing.questions() == 0


async def test_a_pod_that_is_gone_is_not_asked_for(world: PodWorld) -> None:
    changing = Changing(world)
    changing.show()
    changing.successors.forget(changing.pod)

    assert not await changing.look()


async def test_after_a_while_the_kubelet_is_left_to_tell(world: PodWorld) -> None:
    changing = Changing(world)
    changing.show()
    changing.clock.pass_by(15)

    assert not await changing.look()
    assert changing.show() == (changing.first, 0)


async def test_a_runtime_that_does_not_answer_is_asked_again(world: PodWorld) -> None:
    changing = Changing(world)
    changing.show()
    second = changing.start(1)
    world.runtime.fail("ListContainers", Status.UNAVAILABLE, times=1)

    assert await changing.look()
    assert changing.show() == (changing.first, 0)
    assert await changing.look()
    assert changing.show() == (second, 1)
