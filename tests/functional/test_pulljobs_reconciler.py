"""Jobs reach the specs of nodes, and what nodes say reaches the jobs; whatever happens in between."""

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
from structlog.testing import capture_logs

from daemon.engine.objects import ConflictError
from daemon.objects.images import (
    CompletionPolicy,
    NodeSelector,
)
from daemon.objects.meta import Key
from daemon.store.records import ObjectId, Stored
from tests.fakes.clock import LoopClock
from tests.fakes.objects import MemoryStore
from tests.functional.pulljob_world import KEPT, SOON, World, a_job

pytestmark = pytest.mark.looptime


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World(MemoryStore(LoopClock()))
    with capture_logs():
        yield made


def failing(error: Exception, start: str, times: int = 1) -> Callable[[str, Stored], None]:
    """A hook that breaks the first *times* writes which begin with *start*."""
    left = times

    def before(write: str, _obj: Stored) -> None:
        nonlocal left
        if write.startswith(start) and left > 0:
            left -= 1
            raise error

    return before


async def test_a_job_becomes_a_tag_of_each_node_it_selects(world: World) -> None:
    await world.add_node("n1", pool="gpu")
    await world.add_node("n2")

    async with world.running():
        (job,) = await world.add(a_job("a", selector=NodeSelector(match_labels={"pool": "gpu"})))

    assert world.owners("n1") == {"registry.test/a:v1": [job.metadata.uid]}
    assert world.owners("n2") == {}
    assert (world.job("a").status.desired, world.job("a").status.active) == (1, 1)


async def test_what_many_jobs_want_of_a_node_goes_in_few_writes(world: World) -> None:
    await world.add_node()
    await world.add(*(a_job(f"a{number}") for number in range(100)))

    async with world.running():
        pass

    assert len(world.tags()) == 100
    assert world.count("replace NodeImage") <= 10


async def test_all_that_comes_during_a_write_goes_in_the_next_one(world: World) -> None:
    await world.add_node()

    async with world.running():
        await world.add(a_job("first"))
        world.store.writes.clear()
        world.store.open.clear()
        adding = [asyncio.create_task(world.jobs.create(a_job(f"a{number}"))) for number in range(10)]
        await asyncio.sleep(1)
        world.store.open.set()
        await asyncio.gather(*adding)
        await asyncio.sleep(SOON)

    assert len(world.tags()) == 11
    assert world.count("replace NodeImage") <= 2


async def test_an_unchanged_world_is_not_written_again(world: World) -> None:
    await world.add_node()
    await world.add(a_job("a"))
    async with world.running():
        pass
    world.store.writes.clear()

    async with world.running():
        await asyncio.sleep(10 * SOON)

    assert world.store.writes == []


async def test_a_conflict_is_decided_anew_with_what_changed(world: World) -> None:
    await world.add_node()
    world.store.before = failing(ConflictError(), "replace NodeImage", 3)

    async with world.running():
        await world.add(a_job("a"))

    assert list(world.tags()) == ["registry.test/a:v1"]
    assert world.results("nodespecs") == {"conflict": 3}


async def test_a_disk_that_is_full_for_a_while_delays_only(world: World) -> None:
    await world.add_node()
    world.store.before = failing(OSError(28, "No space left on device"), "replace", 4)

    async with world.running():
        await world.add(a_job("a"))

    assert list(world.tags()) == ["registry.test/a:v1"]
    assert world.job("a").status.active == 1
    assert world.results("nodespecs")["error"] + world.results("pulljobs").get("error", 0) == 4


async def test_what_the_node_says_reaches_the_job(world: World) -> None:
    await world.add_node()

    async with world.running():
        await world.add(a_job("good"), a_job("bad"))
        await world.end("Failed")

    assert world.job("bad").status.completion_time is not None
    assert (world.job("bad").status.failed, world.job("bad").status.failed_nodes) == (1, ("n1",))


async def test_nodes_are_asked_one_after_the_other(world: World) -> None:
    for name in ("n1", "n2", "n3"):
        await world.add_node(name)
    asked: list[list[str]] = []

    async with world.running():
        await world.add(a_job("a", parallelism=1))
        for name in ("n1", "n2", "n3"):
            asked.append([node.metadata.name for node in world.nodes.list() if node.spec.images])
            await world.end(node=name)

    assert asked == [["n1"], ["n1", "n2"], ["n1", "n2", "n3"]]
    assert world.job("a").status.succeeded == 3
    assert world.job("a").status.completion_time is not None


async def test_a_node_that_comes_or_gets_a_label_later_is_asked_by_a_lasting_job(world: World) -> None:
    await world.add_node("n1")
    policy = CompletionPolicy(type="Never")

    async with world.running():
        await world.add(
            a_job("a", selector=NodeSelector(match_labels={"pool": "gpu"}), completion_policy=policy)
        )
        await world.add_node("n2", pool="gpu")
        node = world.node("n1")
        metadata = msgspec.structs.replace(node.metadata, labels={"pool": "gpu"})
        await world.nodes.replace(msgspec.structs.replace(node, metadata=metadata))
        await world.end(node="n2")

    assert list(world.tags("n1")) == list(world.tags("n2")) == ["registry.test/a:v1"]


async def test_a_node_that_leaves_is_no_longer_counted(world: World) -> None:
    await world.add_node("n1")
    await world.add_node("n2")

    async with world.running():
        await world.add(a_job("a", parallelism=2))
        await world.end(node="n1")
        await world.nodes.delete(world.node("n2"))
        await asyncio.sleep(SOON)

    assert (world.job("a").status.desired, world.job("a").status.succeeded) == (1, 1)
    assert world.job("a").status.completion_time is not None


async def test_the_share_of_a_removed_job_goes_and_the_others_stay(world: World) -> None:
    await world.add_node()

    async with world.running():
        first, second, _ = await world.add(a_job("a", "x:1"), a_job("b", "x:1"), a_job("c", "y:1"))
        await world.jobs.delete(world.job("c"))
        await world.jobs.delete(world.job("a"))
        await asyncio.sleep(SOON)

    assert first.metadata.uid != second.metadata.uid
    assert list(world.owners().values()) == [[second.metadata.uid]]


async def test_a_job_that_was_made_anew_leaves_no_share_of_its_predecessor(world: World) -> None:
    await world.add_node()

    async with world.running():
        (old,) = await world.add(a_job("a", "x:1"))
        await world.jobs.delete(old)
        (new,) = await world.add(a_job("a", "y:1"))

    assert list(world.owners().values()) == [[new.metadata.uid]]


async def test_a_job_that_was_removed_while_nobody_looked_leaves_no_share(world: World) -> None:
    await world.add_node()
    async with world.running():
        kept, _, renewed = await world.add(a_job("kept"), a_job("gone"), a_job("renewed"))
    await world.jobs.delete(world.job("gone"))
    await world.jobs.delete(renewed)
    again = await world.jobs.create(a_job("renewed", "z:1"))

    async with world.running():
        pass

    assert list(world.owners().values()) == [[kept.metadata.uid], [again.metadata.uid]]


async def test_a_job_that_is_removed_during_a_write_is_no_error_and_leaves_no_share(world: World) -> None:
    await world.add_node()
    removed: list[str] = []

    def before(write: str, _obj: Stored) -> None:
        if write.startswith("replace NodeImage") and not removed:
            removed.append(write)
            world.store.ledger.delete(world.job("a"))
            world.store.ledger.tell(ObjectId("ImagePullJob", Key("default", "a")))

    async with world.running():
        world.store.before = before
        await world.add(a_job("a"))

    assert removed
    assert world.tags() == {}
    assert world.results("pulljobs") == {}


async def test_an_ended_job_without_a_ttl_stays_and_gives_its_image_up(world: World) -> None:
    await world.add_node()

    async with world.running():
        await world.add(a_job("a"))
        await world.end()
        before = world.tags()
        await asyncio.sleep(KEPT)

    assert before != {}
    assert world.tags() == {}
    assert world.job("a").status.succeeded == 1


async def test_an_ended_job_with_a_ttl_goes_with_its_share(world: World) -> None:
    await world.add_node()

    async with world.running():
        await world.add(a_job("a", completion_policy=CompletionPolicy(ttl_seconds_after_finished=60)))
        await world.end()
        before = world.images()
        await asyncio.sleep(60)

    assert before == ["registry.test/a:v1"]
    assert world.images() == []
    assert world.tags() == {}


async def test_a_deadline_ends_a_job_by_itself(world: World) -> None:
    await world.add_node()

    async with world.running():
        await world.add(a_job("a", completion_policy=CompletionPolicy(active_deadline_seconds=60)))
        await asyncio.sleep(60)

    assert world.job("a").status.message == "job exceeds activeDeadlineSeconds"
    assert world.tags() == {}


async def test_an_edited_job_asks_for_its_new_image_alone(world: World) -> None:
    await world.add_node()

    async with world.running():
        await world.add(a_job("a", "x:1"))
        await world.end()
        job = world.job("a")
        await world.jobs.replace(
            msgspec.structs.replace(job, spec=msgspec.structs.replace(job.spec, image="x:2"))
        )
        await asyncio.sleep(SOON)

    assert [tag.tag for tag in world.tags().values()] == ["2"]
    assert world.job("a").status.completion_time is None
