"""How many writes jobs cost: what belongs together goes together, and nothing is written at rest."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from structlog.testing import capture_logs

from daemon.engine.objects import ConflictError
from daemon.objects.images import ImagePullJob, NodeImageStatus
from daemon.objects.meta import Key
from daemon.store.records import Stored
from tests.fakes.clock import LoopClock
from tests.fakes.objects import MemoryStore
from tests.functional.pulljob_world import World, a_job, ended_status

pytestmark = pytest.mark.looptime

STATUS = "replace_status ImagePullJob"
SPEC = "replace NodeImage"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World(MemoryStore(LoopClock()))
    with capture_logs():
        yield made


async def told(world: World, node: str, *repositories: str) -> None:
    """Have the node end what it is asked for, or these only, without waiting for anything to settle."""
    image = world.node(node)
    ends = ended_status(image, "Succeeded").image_statuses
    statuses = {**image.status.image_statuses, **{name: ends[name] for name in repositories or ends}}
    status = NodeImageStatus(image_statuses=statuses)
    await world.nodes.replace_status(msgspec.structs.replace(image, status=status))


async def test_a_node_is_asked_within_milliseconds(world: World) -> None:
    await world.add_node()

    async with world.running():
        await world.jobs.create(a_job("a"))
        await asyncio.sleep(0.003)

        assert list(world.tags()) == ["registry.test/a:v1"]


@pytest.mark.parametrize("image", ["registry.test/a:v1", f"registry.test/a@sha256:{'0' * 64}"])
async def test_a_short_job_is_told_once(world: World, image: str) -> None:
    await world.add_node()

    async with world.running():
        await world.jobs.create(a_job("a", image))
        await asyncio.sleep(0.25)
        await told(world, "n1")
        await asyncio.sleep(0.05)
        early = world.job("a").status.succeeded
        await asyncio.sleep(10)

    assert early == 1
    assert (world.count(SPEC), world.count(STATUS)) == (1, 1)


async def test_a_job_that_goes_on_says_so_within_half_a_second(world: World) -> None:
    await world.add_node()

    async with world.running():
        await world.jobs.create(a_job("a"))
        await asyncio.sleep(0.5)

        assert world.job("a").status.active == 1


async def test_a_job_that_goes_on_is_told_at_its_beginning_and_at_its_end(world: World) -> None:
    await world.add_node()

    async with world.running():
        await world.jobs.create(a_job("a"))
        await asyncio.sleep(60)
        await told(world, "n1")
        await asyncio.sleep(10)

    assert world.job("a").status.succeeded == 1
    assert (world.count(SPEC), world.count(STATUS)) == (1, 2)


async def test_two_jobs_at_once_say_so_within_a_second(world: World) -> None:
    await world.add_node()

    async with world.running():
        for name in "ab":
            await world.jobs.create(a_job(name))
        await asyncio.sleep(1.0)

        assert [world.job(name).status.active for name in "ab"] == [1, 1]


async def test_a_job_says_so_as_soon_though_many_have_gone_on_for_long(world: World) -> None:
    await world.add_node()

    async with world.running():
        for number in range(20):
            await world.jobs.create(a_job(f"old{number}"))
        await asyncio.sleep(10)
        await world.jobs.create(a_job("a"))
        await asyncio.sleep(0.5)

        assert world.job("a").status.active == 1


async def test_the_start_of_a_job_is_when_it_was_seen_first_and_not_when_that_was_told(world: World) -> None:
    await world.add_node()

    async with world.running():
        seen = LoopClock().now()
        await world.jobs.create(a_job("a"))
        await asyncio.sleep(5)

    start = world.job("a").status.start_time
    assert start is not None
    assert (start - seen).total_seconds() < 0.1


async def test_progress_is_told_once_a_second_and_the_end_at_once(world: World) -> None:
    names = [f"n{number:03}" for number in range(100)]
    for name in names:
        await world.add_node(name)

    async with world.running():
        await world.jobs.create(a_job("a", parallelism=100))
        for name in names:
            await asyncio.sleep(0.05)
            await told(world, name)
        await asyncio.sleep(0.01)
        status = world.job("a").status

    assert (status.succeeded, status.completion_time is not None) == (100, True)
    assert world.count(SPEC) == 100
    assert 4 <= world.count(STATUS) <= 7


async def test_twenty_small_jobs_at_once_cost_a_write_each_and_few_beside(world: World) -> None:
    await world.add_node()

    async with world.running():
        for number in range(20):
            await world.jobs.create(a_job(f"a{number}"))
            await asyncio.sleep(0.005)
        for _ in range(10):
            await asyncio.sleep(0.1)
            await told(world, "n1")
        await asyncio.sleep(5)

    assert {job.status.succeeded for job in world.jobs.list()} == {1}
    assert world.count(STATUS) == 20
    assert world.count(SPEC) <= 8


async def test_twenty_jobs_whose_pulls_take_two_seconds_cost_a_write_each(world: World) -> None:
    await world.add_node()

    async with world.running():
        for number in range(20):
            await world.jobs.create(a_job(f"a{number}"))
        for number in range(20):
            await asyncio.sleep(0.1)
            await told(world, "n1", f"registry.test/a{number}")
        await asyncio.sleep(5)

    assert {job.status.succeeded for job in world.jobs.list()} == {1}
    assert world.count(STATUS) == 20


async def test_twenty_jobs_that_go_on_say_so_within_four_seconds(world: World) -> None:
    await world.add_node()

    async with world.running():
        for number in range(20):
            await world.jobs.create(a_job(f"a{number}"))
        await asyncio.sleep(4)

    assert {job.status.active for job in world.jobs.list()} == {1}


async def test_what_ten_jobs_want_of_many_nodes_is_one_write_a_node(world: World) -> None:
    for number in range(100):
        await world.add_node(f"n{number:03}")

    async with world.running():
        await asyncio.gather(*(world.jobs.create(a_job(f"a{i}", parallelism=100)) for i in range(10)))
        await asyncio.sleep(1)
        specs = world.count(SPEC)
        for number in range(100):
            await told(world, f"n{number:03}")
        await asyncio.sleep(5)

    assert {job.status.succeeded for job in world.jobs.list()} == {100}
    assert specs <= 150
    assert world.count(SPEC) == specs


async def test_jobs_that_go_node_by_node_go_together(world: World) -> None:
    for number in range(20):
        await world.add_node(f"n{number:02}")

    async with world.running():
        await asyncio.gather(*(world.jobs.create(a_job(f"a{i}", parallelism=1)) for i in range(10)))
        for number in range(20):
            await asyncio.sleep(0.2)
            await told(world, f"n{number:02}")
        await asyncio.sleep(5)

    assert {job.status.succeeded for job in world.jobs.list()} == {20}
    assert world.count(SPEC) <= 30


async def test_an_end_that_could_not_be_written_is_written_later(world: World) -> None:
    failures = 5

    def before(write: str, _obj: Stored) -> None:
        nonlocal failures
        if write.startswith(STATUS) and failures:
            failures -= 1
            raise ConflictError

    await world.add_node()
    world.store.before = before

    async with world.running():
        await world.jobs.create(a_job("a"))
        await asyncio.sleep(0.1)
        await told(world, "n1")
        end = LoopClock().now()
        await asyncio.sleep(20)

    status = world.job("a").status
    assert failures == 0
    assert status.completion_time is not None
    assert (status.completion_time - end).total_seconds() < 0.1


async def test_the_next_process_writes_nothing_that_was_told(world: World) -> None:
    await world.add_node()
    async with world.running():
        await world.add(a_job("done"))
        await world.end()
        await world.add(a_job("waiting"))
    world.store.writes.clear()

    async with world.running():
        await asyncio.sleep(30)

    assert world.store.writes == []


async def test_a_job_that_was_made_anew_does_not_inherit_what_was_not_told(world: World) -> None:
    await world.add_node()

    async with world.running():
        old = await world.jobs.create(a_job("a", "x:1"))
        await asyncio.sleep(0.1)
        await world.jobs.delete(old)
        await world.jobs.create(a_job("a", "y:1", parallelism=0))
        await asyncio.sleep(5)

    new = world.jobs.get(Key("default", "a"))
    assert isinstance(new, ImagePullJob)
    assert new.status.message == "job is running, no progress"
    assert world.tags() == {}
