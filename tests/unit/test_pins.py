"""The book of pins: what is pinned, what cannot be, and what is being done about it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine

import pytest
from structlog.testing import capture_logs

from daemon.cri.errors import CallFailedError, NotFoundError, RuntimeDownError
from daemon.cri.extras import Capabilities, PhasesOnly
from daemon.metrics import Metrics
from daemon.nodeimages.pins import Pins
from tests.fakes.extras import FakeExtras

DOWN = RuntimeDownError("Lease", "UNAVAILABLE", "no")
REFUSED = CallFailedError("Lease", "UNKNOWN", "database is read-only")


class World:
    """Pins of one runtime."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.changes = 0
        self.pins = Pins(self.metrics, self._on_change)
        self.extras = FakeExtras()
        self.tasks: list[asyncio.Task[None]] = []

    def _on_change(self) -> None:
        self.changes += 1

    def run(self, work: Coroutine[None, None, None], name: str) -> None:
        self.tasks.append(asyncio.create_task(work, name=name))

    async def pin(self, ref: str = "a:1") -> None:
        self.pins.start(ref, self.pins.pin, self.run)
        await self.settle()

    async def unpin(self, ref: str = "a:1") -> None:
        self.pins.start(ref, self.pins.unpin, self.run)
        await self.settle()

    async def settle(self) -> None:
        if self.tasks:
            await asyncio.wait(self.tasks)

    def counted(self) -> float | None:
        return self.metrics.registry.get_sample_value("inplaced_images_pinned")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    with capture_logs():
        await made.pins.load(made.extras)
        yield made


def test_before_a_runtime_is_known_nothing_can_be_pinned() -> None:
    assert World().pins.pinned is None


async def test_before_a_runtime_is_known_nothing_is_started() -> None:
    world = World()

    await world.pin()

    assert world.tasks == []


async def test_a_runtime_without_pins_says_so() -> None:
    world = World()

    await world.pins.load(PhasesOnly())

    assert world.pins.pinned is None


async def test_a_runtime_with_labels_can_pin() -> None:
    world = World()

    await world.pins.load(FakeExtras(Capabilities("phases", "label")))

    assert world.pins.pinned == frozenset()


async def test_what_an_earlier_process_pinned_is_known() -> None:
    world = World()
    world.extras.pins = {"a:1", "b:1"}

    await world.pins.load(world.extras)

    assert world.pins.pinned == {"a:1", "b:1"}
    assert world.counted() == 2


async def test_a_pinned_image_is_in_the_book_and_in_the_runtime(world: World) -> None:
    await world.pin()

    assert world.pins.pinned == world.extras.pins == {"a:1"}
    assert (world.changes, world.counted()) == (1, 1)
    assert world.tasks[0].get_name() == "pin a:1"


async def test_an_unpinned_image_is_out_of_both(world: World) -> None:
    await world.pin()
    await world.unpin()

    assert world.pins.pinned == world.extras.pins == set()
    assert (world.changes, world.counted()) == (2, 0)


async def test_an_image_that_is_gone_counts_as_unpinned(world: World) -> None:
    await world.pin()
    world.extras.broken = NotFoundError("Lease", "NOT_FOUND", "")

    await world.unpin()

    assert world.pins.pinned == frozenset()


@pytest.mark.parametrize("error", [DOWN, REFUSED], ids=lambda error: error.reason)
async def test_an_image_that_could_not_be_unpinned_stays_in_the_book(
    world: World, error: RuntimeDownError | CallFailedError
) -> None:
    await world.pin()
    world.extras.broken = error

    await world.unpin()

    assert world.pins.pinned == {"a:1"}
    assert world.changes == 2


async def test_a_refused_pin_is_remembered(world: World) -> None:
    world.extras.broken = REFUSED

    await world.pin()

    assert (world.pins.refused, world.pins.pinned) == ({"a:1"}, frozenset())
    assert world.changes == 1


async def test_a_pin_that_the_runtimes_end_cut_off_is_not_refused(world: World) -> None:
    world.extras.broken = DOWN

    await world.pin()

    assert (world.pins.refused, world.pins.pinned) == (frozenset(), frozenset())


async def test_a_pulled_image_is_pinned_anew_even_if_it_was_refused(world: World) -> None:
    await world.pin("a:1")
    world.extras.broken = REFUSED
    await world.pin("b:1")

    world.pins.renew("a:1")
    world.pins.renew("b:1")

    assert (world.pins.refused, world.pins.pinned) == (frozenset(), frozenset())


async def test_what_was_refused_is_tried_again_when_the_runtime_returns(world: World) -> None:
    world.extras.broken = REFUSED
    await world.pin()
    world.extras.broken = None

    await world.pins.load(world.extras)

    assert world.pins.refused == frozenset()


async def test_one_thing_is_done_about_an_image_at_a_time(world: World) -> None:
    for _ in range(3):
        world.pins.start("a:1", world.pins.pin, world.run)
        world.pins.start("a:1", world.pins.unpin, world.run)
    await world.settle()
    await world.pin()

    assert world.extras.calls == ["pinned", "pin a:1", "pin a:1"]


async def test_a_cancelled_pin_can_be_started_again(world: World) -> None:
    world.pins.start("a:1", world.pins.pin, world.run)
    await asyncio.sleep(0)
    world.tasks[0].cancel()
    await world.settle()

    await world.pin()

    assert world.pins.pinned == {"a:1"}


async def test_pins_that_cannot_be_read_leave_the_book_as_it_was(world: World) -> None:
    await world.pin()
    world.extras.broken = DOWN

    with pytest.raises(RuntimeDownError):
        await world.pins.load(world.extras)

    assert world.pins.pinned == {"a:1"}
