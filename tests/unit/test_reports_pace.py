"""In a cluster a node tells much in few writes: what may wait waits, what somebody waits for does not."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from daemon.metrics import Metrics
from daemon.nodeimages.plans import Wanted
from daemon.nodeimages.reports import Manner, Pace, Reports
from daemon.objects.images import AgentStatus, ImageTagStatus, NodeImage, NodeImageStatus
from daemon.objects.meta import Condition, Key, ObjectMeta, condition_of
from tests.fakes.clock import LoopClock
from tests.fakes.objects import Memory, MemoryStore

pytestmark = pytest.mark.looptime

NOW = datetime(2026, 5, 1, tzinfo=UTC)
KEY = Key("", "n1")
PACE = Pace(interval=2.0, between=2.0, settle=0.3, gather=0.15, ends=5)
AGENT = AgentStatus(version="1.2.3", public_key="a2V5")
SOON = 0.01
TAKES = 1.5
"""Seconds that a write takes while the API server has much to do."""


def a_tag(phase: str, **values: Any) -> ImageTagStatus:
    ends = {"completion_time": NOW} if phase in ("Succeeded", "Failed") else {}
    return ImageTagStatus(tag="v1", phase=phase, **(ends | values))  # type: ignore[arg-type]


class Around:
    """A store that differs in how it takes a status."""

    def __init__(self, inner: Memory[NodeImage]) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Pruning(Around):
    """A store that does not know our own fields, as OpenKruise's definition of the kind."""

    async def replace_status(self, obj: NodeImage) -> NodeImage:
        status = msgspec.structs.replace(obj.status, agent=None, observed_generation=0, conditions=())
        return await self._inner.replace_status(msgspec.structs.replace(obj, status=status))


class Slow(Around):
    """A store that takes its time."""

    async def replace_status(self, obj: NodeImage) -> NodeImage:
        await asyncio.sleep(TAKES)
        return await self._inner.replace_status(obj)


class World:
    """A node's object, its reports, and the moments at which its status was written."""

    def __init__(self, around: Callable[[Memory[NodeImage]], Any] = lambda nodes: nodes) -> None:
        self.store = MemoryStore(LoopClock())
        self.nodes = self.store.objects(NodeImage)
        self.written: list[float] = []
        self.told: list[tuple[NodeImage, NodeImageStatus]] = []
        manner = Manner(pace=PACE, agent=AGENT, on_told=self._on_told)
        self.reports = Reports(around(self.nodes), Metrics(), LoopClock(), manner)

    def _on_told(self, stored: NodeImage, before: NodeImageStatus) -> None:
        self.written.append(asyncio.get_running_loop().time())
        self.told.append((stored, before))

    def publish(self, tags: Mapping[str, ImageTagStatus], generation: int = 1) -> None:
        wanted: Sequence[Wanted] = [
            Wanted(ref=f"{name}:v1", name=name, tag="v1", version=0, created_at=NOW) for name in tags
        ]
        report: Mapping[str, ImageTagStatus] = {f"{name}:v1": tag for name, tag in tags.items()}
        self.reports.publish(KEY, wanted, report, generation)

    def phases(self, **phases: str) -> None:
        self.publish({name: a_tag(phase) for name, phase in phases.items()})

    @property
    def status(self) -> NodeImageStatus:
        image = self.nodes.get(KEY)
        assert image is not None
        return image.status

    def condition(self, kind: str) -> Condition:
        return condition_of(self.status.conditions, kind) or pytest.fail(f"no condition {kind}")


@pytest.fixture
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made = World(*([request.param] if hasattr(request, "param") else []))
    await made.nodes.create(NodeImage(metadata=ObjectMeta(name="n1")))
    task = asyncio.create_task(made.reports.controller.run())
    yield made
    task.cancel()
    await asyncio.wait([task])


def now() -> float:
    return asyncio.get_running_loop().time()


async def ended_in_turn(world: World, pulls: int, *, every: float) -> float:
    """Have one pull after the other end; return when the last did."""
    phases = dict.fromkeys([f"i{number}" for number in range(pulls)], "Waiting")
    for name in phases:
        await asyncio.sleep(every)
        phases[name] = "Succeeded"
        world.phases(**phases)
    return now()


async def test_a_pull_that_ends_soon_is_told_once(world: World) -> None:
    world.phases(a="Pulling")
    await asyncio.sleep(0.2)
    world.phases(a="Succeeded")
    await asyncio.sleep(10)

    assert world.written == [pytest.approx(0.2, abs=SOON)]
    assert world.status.succeeded == 1


async def test_a_pull_that_lasts_is_told_when_it_has_lasted_a_while(world: World) -> None:
    world.phases(a="Pulling")
    await asyncio.sleep(10)

    assert world.written == [pytest.approx(PACE.settle, abs=SOON)]
    assert world.status.pulling == 1


async def test_the_last_end_is_told_at_once_also_right_after_another_write(world: World) -> None:
    world.phases(a="Pulling")
    await asyncio.sleep(PACE.settle + SOON)
    assert len(world.written) == 1

    world.phases(a="Succeeded")
    await asyncio.sleep(SOON)

    assert world.written[1] == pytest.approx(world.written[0], abs=3 * SOON)


async def test_ends_that_follow_each_other_are_told_together(world: World) -> None:
    last = await ended_in_turn(world, 20, every=0.05)
    await asyncio.sleep(10)

    assert len(world.written) <= 1.0 / PACE.gather + 2
    assert world.written[-1] == pytest.approx(last, abs=SOON)
    assert world.status.succeeded == 20


async def test_ends_without_end_are_told_at_the_pace_of_progress(world: World) -> None:
    last = await ended_in_turn(world, 200, every=0.15)
    await asyncio.sleep(10)

    assert world.written[4] < 1.5
    assert len(world.written) <= PACE.ends + last / PACE.interval + 1
    assert max(later - earlier for earlier, later in pairwise(world.written)) <= PACE.interval + SOON
    assert world.written[-1] == pytest.approx(last, abs=SOON)


async def test_a_node_that_was_quiet_is_heard_at_once_again(world: World) -> None:
    names = [f"i{number}" for number in range(50)]
    phases = dict.fromkeys(names, "Waiting")
    for name in names[:40]:
        await asyncio.sleep(0.15)
        phases[name] = "Succeeded"
        world.phases(**phases)
    await asyncio.sleep(2 * PACE.interval)
    phases[names[40]] = "Succeeded"
    world.phases(**phases)
    ended = now()
    await asyncio.sleep(1)

    assert world.written[-1] == pytest.approx(ended + PACE.gather, abs=SOON)


@pytest.mark.parametrize("world", [Slow], indirect=True)
async def test_a_store_that_takes_long_is_told_rarely(world: World) -> None:
    last = await ended_in_turn(world, 400, every=0.15)
    await asyncio.sleep(10)

    between = [after - before for before, after in pairwise(world.written)][int(PACE.ends) :]
    assert between[0] == pytest.approx(10 * TAKES, abs=0.2)
    assert len(world.written) <= PACE.ends + last / (10 * TAKES) + 2
    assert world.written[-1] == pytest.approx(last + TAKES, abs=SOON)
    assert world.status.succeeded == 400


async def test_an_end_waits_for_no_retry_that_may_be_far(world: World) -> None:
    world.publish({"a": a_tag("Waiting", reason="ImageNotFound"), "b": a_tag("Succeeded")})
    await asyncio.sleep(SOON)

    assert len(world.written) == 1


@pytest.mark.parametrize("pulls", [1, 50])
async def test_whatever_moves_is_told_every_two_seconds_at_most(world: World, pulls: int) -> None:
    for tick in range(200):
        await asyncio.sleep(0.1)
        percents = {f"i{number}": a_tag("Pulling", progress=tick // 2) for number in range(pulls)}
        begun = dict(list(percents.items())[: tick + 1])
        world.publish(begun)
    await asyncio.sleep(10)

    pauses = [later - earlier for earlier, later in pairwise(world.written)]
    assert len(world.written) == pytest.approx(20 / PACE.interval, abs=2)
    assert min(pauses) >= PACE.interval - SOON
    assert world.status.image_statuses["i0"].tags[0].progress == 99


async def test_who_is_told_learns_what_was_said_before(world: World) -> None:
    world.phases(a="Succeeded")
    await asyncio.sleep(SOON)
    world.phases(a="Succeeded", b="Failed")
    await asyncio.sleep(SOON)

    (first, before_first), (second, before_second) = world.told
    assert (before_first, before_second) == (NodeImageStatus(), first.status)
    assert second.status.failed == 1


async def test_a_node_tells_who_speaks_and_of_which_spec(world: World) -> None:
    world.publish({"a": a_tag("Succeeded")}, generation=7)
    await asyncio.sleep(SOON)

    assert (world.status.agent, world.status.observed_generation) == (AGENT, 7)


async def test_a_node_that_wants_nothing_says_that_it_is_there(world: World) -> None:
    world.publish({})
    await asyncio.sleep(1)

    assert world.status.agent == AGENT
    assert world.condition("Ready").status == "True"


@pytest.mark.parametrize(
    ("phases", "ready", "reconciling", "stalled", "reason"),
    [
        ({"a": "Succeeded"}, "True", "False", "False", "Present"),
        ({"a": "Succeeded", "b": "Pulling"}, "False", "True", "False", "Pulling"),
        ({"a": "Failed", "b": "Waiting"}, "False", "True", "False", "Pulling"),
        ({"a": "Failed", "b": "Succeeded"}, "False", "False", "True", "PullFailed"),
    ],
)
async def test_conditions_are_those_of_kstatus(
    world: World, phases: dict[str, str], ready: str, reconciling: str, stalled: str, reason: str
) -> None:
    world.phases(**phases)
    await asyncio.sleep(1)

    assert [world.condition(kind).status for kind in ("Ready", "Reconciling", "Stalled")] == [
        ready,
        reconciling,
        stalled,
    ]
    assert world.condition("Ready").reason == reason
    assert world.condition("Ready").observed_generation == 1


async def test_conditions_move_only_when_their_status_does(world: World) -> None:
    world.phases(a="Pulling")
    await asyncio.sleep(5)
    begun = world.condition("Ready").last_transition_time

    world.phases(a="Pulling", b="Pulling")
    await asyncio.sleep(5)
    meanwhile = world.condition("Ready").last_transition_time
    world.phases(a="Succeeded", b="Succeeded")
    await asyncio.sleep(5)

    assert begun == meanwhile
    assert begun is not None
    assert (world.condition("Ready").last_transition_time or begun) > begun


@pytest.mark.parametrize("world", [Pruning], indirect=True)
async def test_a_store_that_keeps_but_a_part_of_it_is_told_once(world: World) -> None:
    for _ in range(10):
        world.phases(a="Succeeded")
        await asyncio.sleep(3)

    assert len(world.written) == 1
    assert world.status.agent is None


@pytest.mark.parametrize("world", [Pruning], indirect=True)
async def test_what_others_wrote_over_it_is_mended(world: World) -> None:
    world.phases(a="Succeeded")
    await asyncio.sleep(1)
    node = world.nodes.get(KEY)
    assert node is not None
    wrong = msgspec.structs.replace(node, status=NodeImageStatus(desired=9))
    await world.nodes.replace_status(wrong)

    world.phases(a="Succeeded")
    await asyncio.sleep(1)

    assert len(world.written) == 2
    assert world.status.succeeded == 1
