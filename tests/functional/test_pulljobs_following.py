"""Jobs go where the pods are that they select, also later ones; nobody else's pods are followed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from daemon.engine.objects import Listener
from daemon.objects.images import CompletionPolicy, NodeImage
from daemon.objects.meta import Key, LabelSelector, ObjectMeta
from daemon.objects.parts import PodPart
from daemon.objects.pods import Pod
from daemon.pulljobs.reconciler import JobObjects, PullJobs, Surroundings
from tests.fakes.clock import LoopClock
from tests.fakes.objects import MemoryStore
from tests.functional.pulljob_world import KEPT, SOON, World, a_job
from tests.unit.test_pulljobs_pods import pod

pytestmark = pytest.mark.looptime

WEB = LabelSelector(match_labels={"app": "web"})
NEVER = CompletionPolicy(type="Never")


class Pods:
    """The pods of one selector, which the test moves."""

    def __init__(self) -> None:
        self.known = asyncio.Event()
        self.running = False
        self._pods: dict[str, Pod] = {}
        self._listeners: list[Listener] = []

    async def run(self) -> None:
        self.running = True
        try:
            await asyncio.Event().wait()
        finally:
            self.running = False

    async def synced(self) -> None:
        await self.known.wait()

    def list(self) -> Sequence[Pod]:
        return list(self._pods.values())

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    async def put(self, *pods: Pod) -> None:
        for each in pods:
            self._pods[each.metadata.name] = each
            for listener in self._listeners:
                listener(Key("default", each.metadata.name))
        self.known.set()
        await asyncio.sleep(SOON)


class Followed(World):
    """The world of jobs, with pods."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(LoopClock()))
        self.opened: list[PodPart] = []
        self.pods = Pods()

    def _open(self, part: PodPart) -> Pods:
        self.opened.append(part)
        return self.pods

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        objects = JobObjects(self.jobs, self.lists, self.nodes)
        around = Surroundings(open_pods=self._open)
        jobs = PullJobs(objects, self.metrics, LoopClock(), default_ttl=KEPT, around=around)
        assert jobs.pods is not None
        parts = (jobs.controller.run, jobs.specs.controller.run, jobs.pods.watches.run)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(part()) for part in parts]
            jobs.watch()
            yield
            for task in tasks:
                task.cancel()


@pytest.fixture
async def world() -> AsyncIterator[Followed]:
    with capture_logs():
        made = Followed()
        for name in ("n1", "n2", "n3"):
            await made.nodes.create(NodeImage(metadata=ObjectMeta(name=name)))
        yield made


def asked(world: Followed) -> list[str]:
    return [node.metadata.name for node in world.nodes.list() if node.spec.images]


async def test_a_job_goes_to_the_nodes_of_its_pods_alone(world: Followed) -> None:
    async with world.following():
        await world.add(a_job("a", pod_selector=WEB, parallelism=9))
        await world.pods.put(pod("p1", "n1"), pod("p2", "n3"))

    assert asked(world) == ["n1", "n3"]
    assert world.job("a").status.desired == 2


async def test_a_job_does_nothing_before_its_pods_are_known(world: Followed) -> None:
    async with world.following():
        await world.add(a_job("a", pod_selector=WEB))
        await asyncio.sleep(100)

    assert world.job("a").status.completion_time is None
    assert asked(world) == []


async def test_pods_that_are_scheduled_later_are_followed(world: Followed) -> None:
    async with world.following():
        await world.add(a_job("a", pod_selector=WEB, parallelism=9))
        await world.pods.put(pod("p1", "n1"), pod("p2", phase="Pending"))
        await world.end(node="n1")
        running = world.job("a").status.completion_time is None
        await world.pods.put(pod("p2", "n2"))
        await world.end(node="n2")

    assert running
    assert (world.job("a").status.succeeded, world.job("a").status.desired) == (2, 2)
    assert world.job("a").status.completion_time is not None


async def test_nodes_are_asked_in_the_order_of_the_workload(world: Followed) -> None:
    order: list[list[str]] = []

    async with world.following():
        await world.add(a_job("a", pod_selector=WEB, parallelism=1))
        await world.pods.put(*(pod(f"db-{i}", f"n{i + 1}", owner="StatefulSet") for i in range(3)))
        for name in ("n3", "n2", "n1"):
            order.append(asked(world))
            await world.end(node=name)

    assert order == [["n3"], ["n2", "n3"], ["n1", "n2", "n3"]]


async def test_a_lasting_job_follows_pods_for_ever(world: Followed) -> None:
    async with world.following():
        await world.add(a_job("a", pod_selector=WEB, parallelism=9, completion_policy=NEVER))
        await world.pods.put(pod("p1", "n1"))
        await world.end(node="n1")
        await world.pods.put(pod("p2", "n2"))

    assert asked(world) == ["n1", "n2"]


async def test_jobs_with_the_same_selector_share_what_is_followed(world: Followed) -> None:
    async with world.following():
        await world.add(*(a_job(name, pod_selector=WEB) for name in "abc"))
        await world.pods.put(pod("p1", "n1"))

    assert world.opened == [PodPart("default", WEB)]
    assert len(world.tags("n1")) == 3


@pytest.mark.parametrize("way", ["ended", "deleted"])
async def test_nobody_is_followed_for_a_job_that_is_over(world: Followed, way: str) -> None:
    async with world.following():
        await world.add(a_job("a", pod_selector=WEB))
        await world.pods.put(pod("p1", "n1"))
        before = world.pods.running
        if way == "ended":
            await world.end(node="n1")
        else:
            await world.jobs.delete(world.job("a"))
            await asyncio.sleep(SOON)
        after = world.pods.running

    assert (before, after) == (True, False)


async def test_a_job_without_a_pod_selector_follows_no_pods(world: Followed) -> None:
    async with world.following():
        await world.add(a_job("a"))

    assert world.opened == []
