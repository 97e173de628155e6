"""A list has each of its jobs once, whatever breaks off in between, and takes them along when it goes."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from daemon.engine.clock import SystemClock
from daemon.engine.objects import Objects
from daemon.metrics import Metrics
from daemon.objects.images import CompletionPolicy, ImageListPullJob, ImagePullJob, NodeImage
from daemon.objects.meta import Key, condition_of
from daemon.pulljobs.list_reconciler import ImageLists
from daemon.pulljobs.reconciler import JobObjects
from daemon.store.directory import DirectoryStore, Shelf
from daemon.store.records import Stored
from tests.fakes.clock import LoopClock
from tests.fakes.objects import MemoryStore
from tests.functional.pulljob_world import SOON, World, a_job, a_list

Logs = Sequence[MutableMapping[str, Any]]
IMAGES = ("a:1", "b:1", "c:1")


@pytest.fixture
async def logs() -> AsyncIterator[Logs]:
    with capture_logs() as captured:
        yield captured


@pytest.fixture
async def world(logs: Logs) -> World:
    del logs  # only kept from the terminal
    return World(MemoryStore(LoopClock()))


async def edited(world: World, **values: Any) -> None:
    job = world.image_list("set")
    await world.lists.replace(msgspec.structs.replace(job, spec=msgspec.structs.replace(job.spec, **values)))
    await asyncio.sleep(SOON)


@pytest.mark.looptime
async def test_each_image_gets_one_job_that_reaches_the_nodes(world: World) -> None:
    await world.add_node()

    async with world.running():
        await world.lists.create(a_list("set", *IMAGES))
        await asyncio.sleep(SOON)
        await world.end()

    assert world.images() == list(IMAGES)
    assert world.count("create ImagePullJob") == 3
    assert (world.image_list("set").status.completed, world.image_list("set").status.succeeded) == (3, 3)
    assert world.image_list("set").status.completion_time is not None


@pytest.mark.looptime
async def test_a_restart_makes_no_child_again(world: World) -> None:
    await world.lists.create(a_list("set", *IMAGES))
    async with world.running():
        pass
    before = world.jobs.list()

    async with world.running():
        pass

    assert world.count("create ImagePullJob") == 3
    assert [job.metadata.uid for job in world.jobs.list()] == [job.metadata.uid for job in before]


@pytest.mark.looptime
@pytest.mark.parametrize("survived", [0, 1, 2])
async def test_children_that_could_not_be_made_are_made_later_and_none_twice(
    world: World, survived: int
) -> None:
    failures = 3

    def before(write: str, _obj: Stored) -> None:
        nonlocal failures
        if write.startswith("create") and failures and world.count("create ImagePullJob") >= survived:
            failures -= 1
            raise OSError(28, "No space left on device")

    await world.lists.create(a_list("set", *IMAGES))
    world.store.before = before

    async with world.running():
        pass

    assert failures == 0
    assert world.images() == list(IMAGES)
    assert world.count("create ImagePullJob") == 3


@pytest.mark.looptime
async def test_two_reconciliations_at_once_make_each_child_once(world: World) -> None:
    await world.lists.create(a_list("set", *IMAGES))
    objects = JobObjects(world.jobs, world.lists, world.nodes)
    lists = [ImageLists(objects, Metrics(), LoopClock()) for _ in range(2)]

    await asyncio.gather(*(each.reconcile(Key("default", "set")) for each in lists), return_exceptions=True)

    assert world.images() == list(IMAGES)


@pytest.mark.looptime
async def test_an_image_that_left_the_list_leaves_the_node(world: World) -> None:
    await world.add_node()

    async with world.running():
        await world.lists.create(a_list("set", *IMAGES))
        await asyncio.sleep(SOON)
        await edited(world, images=("b:1", "d:1"))

    assert world.images() == ["b:1", "d:1"]
    assert sorted(world.tags()) == ["b:1", "d:1"]


@pytest.mark.looptime
async def test_a_child_that_somebody_removed_is_made_again(world: World) -> None:
    await world.add_node()

    async with world.running():
        await world.lists.create(a_list("set", *IMAGES))
        await asyncio.sleep(SOON)
        await world.jobs.delete(world.jobs.list()[0])
        await asyncio.sleep(SOON)

    assert world.images() == list(IMAGES)


@pytest.mark.looptime
async def test_a_list_takes_its_jobs_and_their_shares_along(world: World) -> None:
    await world.add_node()

    async with world.running():
        await world.lists.create(a_list("set", *IMAGES))
        await asyncio.sleep(SOON)
        await world.lists.delete(world.image_list("set"))
        await asyncio.sleep(SOON)

    assert world.images() == []
    assert world.tags() == {}


@pytest.mark.looptime
async def test_an_ended_list_goes_when_its_ttl_has_passed(world: World) -> None:
    await world.add_node()
    policy = CompletionPolicy(ttl_seconds_after_finished=60)

    async with world.running():
        await world.lists.create(a_list("set", *IMAGES, completion_policy=policy))
        await asyncio.sleep(SOON)
        await world.end()
        before = len(world.lists.list())
        await asyncio.sleep(60)

    assert before == 1
    assert (world.lists.list(), world.jobs.list(), world.tags()) == ((), (), {})


@pytest.mark.looptime
async def test_a_list_that_is_removed_meanwhile_is_no_error(world: World) -> None:
    def before(write: str, _obj: Stored) -> None:
        if write.startswith("replace_status ImageListPullJob"):
            for job in world.lists.list():
                world.store.ledger.delete(job)

    await world.lists.create(a_list("set", *IMAGES))
    world.store.before = before

    async with world.running():
        pass

    assert world.results("imagelists") == {}


@pytest.mark.looptime
async def test_a_name_that_a_stranger_has_is_told(world: World, logs: Logs) -> None:
    await world.add_node()
    await world.lists.create(a_list("set", "a:1"))
    async with world.running():
        pass
    (child,) = world.jobs.list()
    await world.jobs.delete(child)
    await world.jobs.create(a_job(child.metadata.name, "stranger:1"))

    async with world.running():
        pass

    assert world.images() == ["stranger:1"]
    assert [entry["child"] for entry in logs if entry["event"] == "child's name is taken"] != []


@pytest.mark.looptime
async def test_a_list_tells_the_failures_of_its_images(world: World) -> None:
    await world.add_node()

    async with world.running():
        await world.lists.create(a_list("set", "a:1"))
        await asyncio.sleep(SOON)
        await world.end("Failed")

    stalled = condition_of(world.image_list("set").status.conditions, "Stalled")
    assert stalled is not None
    assert stalled.status == "True"


class CrashError(BaseException):
    """The process is gone."""


class Dying(Shelf[ImagePullJob]):
    """The jobs of a process that dies when it makes one job too many."""

    def __init__(self, store: DirectoryStore, survived: int) -> None:
        super().__init__(store, ImagePullJob)
        self._left = survived

    async def create(self, obj: ImagePullJob) -> ImagePullJob:
        if self._left == 0:
            raise CrashError
        self._left -= 1
        return await super().create(obj)


@pytest.mark.parametrize("survived", [0, 1, 2])
async def test_a_crash_between_two_children_is_made_good_by_the_next_process(
    tmp_path: Path, survived: int
) -> None:
    async with DirectoryStore(None, tmp_path, SystemClock()) as store:
        made = await store.objects(ImageListPullJob).create(a_list("set", *IMAGES))
        with pytest.raises(CrashError):
            await lists_of(store, Dying(store, survived)).reconcile(made.metadata.key)

    async with DirectoryStore(None, tmp_path, SystemClock()) as store:
        jobs = store.objects(ImagePullJob)
        before = {job.metadata.uid for job in jobs.list()}
        await lists_of(store, jobs).reconcile(made.metadata.key)
        after = jobs.list()

    assert len(before) == survived
    assert sorted(job.spec.image for job in after) == list(IMAGES)
    assert before <= {job.metadata.uid for job in after}


def lists_of(store: DirectoryStore, jobs: Objects[ImagePullJob]) -> ImageLists:
    objects = JobObjects(jobs, store.objects(ImageListPullJob), store.objects(NodeImage))
    return ImageLists(objects, Metrics(), SystemClock())
