"""The successor of a container that changes is known from the runtime, before the kubelet tells of it."""

import json
from collections.abc import AsyncIterator
from math import inf
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from daemon import names
from daemon.objects.container_hashes import plain_hash
from daemon.objects.local_pods import LocalPod
from daemon.restarts.successors import PAUSE, Successors
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
        self.successors = Successors(replace(world.around, clock=self.clock))
        self._gate, self._image = gate, image
        self.pod = self.tell("", 0)
        self.first = self.start(0)
        self.told = self.first
        self.pod = self.tell(self.first, 0)

    def start(self, attempt: int) -> str:
        """Have the kubelet start a container; return its ID."""
        return self.world.start_container(self.pod.metadata.uid, "app", attempt=attempt)

    def tell(self, container: str, restarts: int) -> LocalPod:
        """Have the kubelet tell of the container."""
        running = {"app": {"id": getattr(self, "told", container), "image": plain_hash("app", "a:1")}}
        status: dict[str, Any] = {
            "conditions": [{"type": names.IN_PLACE_UPDATE_READY, "status": self._gate}],
            "containerStatuses": [{"name": "app", "containerID": container, "restartCount": restarts}],
        }
        gates = [{"conditionType": names.IN_PLACE_UPDATE_READY}]
        containers = [{"name": "app", "image": self._image}]
        annotations = {names.RUNNING_ANNOTATION: json.dumps(running)}
        self.pod = self.world.store(
            {
                "metadata": {"name": "web", "namespace": "shop", "annotations": annotations},
                "spec": {"nodeName": NODE, "readinessGates": gates, "containers": containers},
                "status": status,
            }
        )
        return self.pod

    async def look(self, *stopped: str) -> tuple[str, int, float]:
        """ID and restarts of the container as it is shown, and when to look again."""
        seen, again_in = await self.successors.ahead(self.pod, stopped)
        shown = seen.status.container_statuses[0]
        return shown.container_id, shown.restart_count, again_in

    def questions(self) -> int:
        """How often the runtime was asked for containers."""
        return len(self.world.runtime.requests("ListContainers"))


async def test_it_is_waited_for_and_shown_as_soon_as_it_is_there(world: PodWorld) -> None:
    changing = Changing(world)

    before = await changing.look()
    second = changing.start(1)
    after = await changing.look()
    again = await changing.look()

    assert before == (changing.first, 0, PAUSE)
    assert after == again == (second, 1, inf)
    assert changing.questions() == 2


async def test_what_the_kubelet_tells_is_not_asked_for(world: PodWorld) -> None:
    changing = Changing(world)
    second = changing.start(1)
    await changing.look()

    changing.told = second
    changing.tell(second, 1)
    shown = await changing.look()

    assert shown[:2] == (second, 1)


async def test_another_container_of_the_pod_is_none(world: PodWorld) -> None:
    changing = Changing(world)
    world.start_container(changing.pod.metadata.uid, "side", attempt=1)
    world.start_container("another-pod", "app", attempt=1)

    assert await changing.look() == (changing.first, 0, PAUSE)


async def test_one_that_was_stopped_here_has_a_successor_too(world: PodWorld) -> None:
    changing = Changing(world, image="a:1")
    idle = await changing.look()
    second = changing.start(1)

    assert idle == (changing.first, 0, inf)
    assert await changing.look(changing.first) == (second, 1, inf)


async def test_a_pod_that_serves_costs_no_question(world: PodWorld) -> None:
    changing = Changing(world, gate="True")

    assert await changing.look() == (changing.first, 0, inf)
    assert changing.questions() == 0


async def test_after_a_while_the_kubelet_is_left_to_tell(world: PodWorld) -> None:
    changing = Changing(world)
    await changing.look()
    changing.clock.pass_by(15)

    assert await changing.look() == (changing.first, 0, inf)
