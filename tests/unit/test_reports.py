"""What a node says of its images: counts that add up, in an order that holds, not too often."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from itertools import pairwise
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.engine.objects import ConflictError
from daemon.metrics import Metrics
from daemon.nodeimages.plans import Wanted
from daemon.nodeimages.reports import Manner, Pace, Reports
from daemon.nodeimages.statuses import status_of
from daemon.objects.images import ImageTagStatus, NodeImage, NodeImageStatus
from daemon.objects.meta import Key, ObjectMeta
from daemon.store.records import Stored
from tests.fakes.clock import LoopClock
from tests.fakes.objects import MemoryStore

NOW = datetime(2026, 5, 1, tzinfo=UTC)
KEY = Key("", "n1")
INTERVAL = 2.0
PHASES = ("Waiting", "Pulling", "Succeeded", "Failed")


def wanted(name: str, tag: str = "v1", version: int = 0) -> Wanted:
    return Wanted(ref=f"{name}:{tag}", name=name, tag=tag, version=version, created_at=NOW)


def status(tag: str = "v1", phase: str = "Pulling", progress: int = 0, failures: int = 0) -> ImageTagStatus:
    return ImageTagStatus(tag=tag, phase=phase, progress=progress, failures=failures)  # type: ignore[arg-type]


NAMES, TAGS = st.sampled_from(["a", "b", "c/d", "c"]), st.sampled_from(["v1", "v2", "v3"])
WORLDS = st.dictionaries(st.tuples(NAMES, TAGS), st.sampled_from(PHASES), max_size=8)


def told(world: dict[tuple[str, str], str]) -> tuple[list[Wanted], dict[str, ImageTagStatus]]:
    items = [wanted(name, tag) for name, tag in world]
    report = {f"{name}:{tag}": status(tag, phase) for (name, tag), phase in world.items()}
    return items, report


@given(WORLDS)
def test_the_counts_add_up_to_the_tags(world: dict[tuple[str, str], str]) -> None:
    found = status_of(*told(world))

    tags = [tag for image in found.image_statuses.values() for tag in image.tags]
    assert found.desired == len(world) == len(tags)
    assert found.desired == found.succeeded + found.failed + found.pulling + found.waiting
    for phase in PHASES:
        assert getattr(found, phase.lower()) == sum(tag.phase == phase for tag in tags)


@given(WORLDS, st.randoms())
def test_the_order_does_not_depend_on_the_order_of_the_plan(
    world: dict[tuple[str, str], str], random: Random
) -> None:
    items, report = told(world)
    mixed = random.sample(items, len(items))

    one, other = status_of(items, report), status_of(mixed, report)

    assert msgspec.json.encode(one) == msgspec.json.encode(other)
    assert list(one.image_statuses) == sorted(one.image_statuses)
    for image in one.image_statuses.values():
        assert [tag.tag for tag in image.tags] == sorted(tag.tag for tag in image.tags)


def test_an_image_of_which_nothing_is_known_yet_is_left_out() -> None:
    found = status_of([wanted("a"), wanted("b")], {"a:v1": status()})

    assert (found.desired, list(found.image_statuses)) == (1, ["a"])


class World:
    """A node's object, its reports, and the moments at which its status was written."""

    def __init__(self, reports: Reports, store: MemoryStore) -> None:
        self.reports = reports
        self.store = store
        self.nodes = store.objects(NodeImage)
        self.written: list[float] = []
        self.nodes.subscribe(lambda _: self.written.append(asyncio.get_running_loop().time()))

    def publish(self, **values: int | str) -> None:
        self.reports.publish(KEY, [wanted("a")], {"a:v1": status(**values)})  # type: ignore[arg-type]

    def stored(self) -> ImageTagStatus:
        image = self.nodes.get(KEY)
        assert image is not None
        return image.status.image_statuses["a"].tags[0]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    store = MemoryStore(LoopClock())
    nodes = store.objects(NodeImage)
    await nodes.create(NodeImage(metadata=ObjectMeta(name="n1")))
    reports = Reports(nodes, Metrics(), LoopClock(), Manner(pace=Pace(interval=INTERVAL)))
    task = asyncio.create_task(reports.controller.run())
    yield World(reports, store)
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.looptime
async def test_the_first_report_is_written_at_once(world: World) -> None:
    world.publish(phase="Waiting")
    await asyncio.sleep(0.1)

    assert world.stored().phase == "Waiting"


@pytest.mark.looptime
async def test_what_only_moved_is_written_at_most_once_an_interval(world: World) -> None:
    for percent in range(100):
        world.publish(progress=percent)
        await asyncio.sleep(0.1)
    await asyncio.sleep(2 * INTERVAL)

    pauses = [after - before for before, after in pairwise(world.written)]
    assert len(world.written) == pytest.approx(10 / INTERVAL, abs=1)
    assert min(pauses) >= INTERVAL - 0.001
    assert world.stored().progress == 99


@pytest.mark.looptime
@pytest.mark.parametrize("change", [{"phase": "Succeeded"}, {"failures": 1}])
async def test_what_happened_is_written_at_once(world: World, change: dict[str, int | str]) -> None:
    world.publish(progress=1)
    await asyncio.sleep(0.1)

    world.publish(**({"progress": 2} | change))
    await asyncio.sleep(0.1)

    assert len(world.written) == 2
    assert world.stored().progress == 2


@pytest.mark.looptime
async def test_the_same_report_is_written_once(world: World) -> None:
    for _ in range(20):
        world.publish(progress=1)
        await asyncio.sleep(1)

    assert len(world.written) == 1


@pytest.mark.looptime
async def test_reports_that_come_during_a_write_are_merged(world: World) -> None:
    world.store.open.clear()
    for failures in range(10):
        world.publish(failures=failures)
        await asyncio.sleep(0.1)

    world.store.open.set()
    await asyncio.sleep(0.1)

    assert len(world.written) == 2
    assert world.stored().failures == 9


@pytest.mark.looptime
async def test_a_change_of_the_spec_is_no_conflict(world: World) -> None:
    node = world.nodes.get(KEY)
    assert node is not None
    metadata = msgspec.structs.replace(node.metadata, labels={"a": "b"})
    world.store.open.clear()
    world.publish(progress=1)
    await asyncio.sleep(0.1)

    world.store.ledger.replace(msgspec.structs.replace(node, metadata=metadata))
    world.store.open.set()
    await asyncio.sleep(0.1)

    assert world.stored().progress == 1


def refusing(times: int, error: Exception) -> Callable[[str, Stored], None]:
    left = times

    def before(_write: str, _obj: Stored) -> None:
        nonlocal left
        if left > 0:
            left -= 1
            raise error

    return before


@pytest.mark.looptime
@pytest.mark.parametrize("error", [ConflictError(), OSError(28, "No space left on device")], ids=type)
async def test_a_write_that_failed_is_made_good(world: World, error: Exception) -> None:
    world.store.before = refusing(3, error)

    world.publish(phase="Failed")
    await asyncio.sleep(10)

    assert world.stored().phase == "Failed"


@pytest.mark.looptime
async def test_a_node_that_goes_during_the_write_is_no_error(world: World) -> None:
    node = world.nodes.get(KEY)
    assert node is not None
    world.store.open.clear()
    world.publish(phase="Succeeded")
    await asyncio.sleep(0.1)

    world.store.ledger.delete(node)
    world.store.open.set()
    await asyncio.sleep(10)

    assert world.written == []
    assert world.store.writes == ["create NodeImage n1"]


@pytest.mark.looptime
async def test_a_node_that_is_gone_is_no_error_and_one_that_returns_is_told_again(world: World) -> None:
    world.publish(phase="Succeeded")
    await asyncio.sleep(0.1)
    node = world.nodes.get(KEY)
    assert node is not None
    await world.nodes.delete(node)
    world.publish(phase="Succeeded")
    await asyncio.sleep(10)

    returned = await world.nodes.create(NodeImage(metadata=ObjectMeta(name="n1")))
    world.publish(phase="Succeeded")
    await asyncio.sleep(10)

    assert returned.status == NodeImageStatus()
    assert world.stored().phase == "Succeeded"
