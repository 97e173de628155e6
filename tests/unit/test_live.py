"""Following running pulls: byte by byte while there is one, and not at all otherwise."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from daemon.cri.errors import RuntimeDownError
from daemon.cri.extras import Blob, Capabilities, Ingest
from daemon.nodeimages.live import Live
from tests.fakes.clock import LoopClock
from tests.fakes.extras import FakeExtras

pytestmark = pytest.mark.looptime

INTERVAL = 0.5
ONE, TWO, OTHER = "sha256:1", "sha256:2", "sha256:other"
BLOBS = (Blob(ONE, 100), Blob(TWO, 300))
NOTHING: frozenset[str] = frozenset()


class Following:
    """A running ``Live`` with its changes."""

    def __init__(self) -> None:
        self.changes = 0
        self.live = Live(LoopClock(), interval=INTERVAL, on_change=self._on_change)

    def _on_change(self) -> None:
        self.changes += 1

    def percent(self, ref: str = "a:1") -> int:
        return self.live.running[ref].percent


@pytest.fixture
async def following() -> AsyncIterator[Following]:
    made = Following()
    task = asyncio.create_task(made.live.run())
    with capture_logs():
        yield made
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


@pytest.fixture
async def extras() -> FakeExtras:
    return FakeExtras()


async def test_while_nothing_runs_nobody_is_asked(following: Following, extras: FakeExtras) -> None:
    await following.live.begin("a:1", extras, BLOBS, NOTHING)
    await asyncio.sleep(3)
    following.live.end("a:1", succeeded=True)
    await asyncio.sleep(INTERVAL)
    before = len(extras.calls)

    await asyncio.sleep(1000)

    assert before > 0
    assert len(extras.calls) == before


async def test_a_pull_is_looked_at_once_an_interval(following: Following, extras: FakeExtras) -> None:
    await following.live.begin("a:1", extras, BLOBS, NOTHING)
    await asyncio.sleep(10 * INTERVAL + 0.1)

    assert extras.calls.count("ingests") == 10
    assert following.changes == 10


async def test_of_a_pull_that_is_shorter_than_that_nothing_is_asked(
    following: Following, extras: FakeExtras
) -> None:
    await following.live.begin("a:1", extras, BLOBS, NOTHING)
    await asyncio.sleep(INTERVAL / 2)
    following.live.end("a:1", succeeded=True)
    await asyncio.sleep(INTERVAL)

    assert extras.calls.count("ingests") == 0


async def test_progress_follows_what_the_runtime_fetches(following: Following, extras: FakeExtras) -> None:
    await following.live.begin("a:1", extras, BLOBS, NOTHING)
    extras.fetching = (Ingest(ONE, 100, 100), Ingest(TWO, 100, 300))
    await asyncio.sleep(2 * INTERVAL)
    halfway = following.percent()

    extras.fetching = ()
    extras.whole = {ONE, TWO}
    await asyncio.sleep(2 * INTERVAL)

    assert halfway == 50
    assert (following.percent(), following.live.running["a:1"].phase) == (99, "Unpacking")


async def test_what_is_there_before_is_reused(following: Following, extras: FakeExtras) -> None:
    await following.live.begin("a:1", extras, BLOBS, frozenset({TWO}))

    assert (following.live.running["a:1"].reused, following.live.running["a:1"].total) == (300, 100)


async def test_the_end_of_a_pull_tells_its_last_state(following: Following, extras: FakeExtras) -> None:
    await following.live.begin("a:1", extras, BLOBS, NOTHING)
    await following.live.begin("b:1", extras, BLOBS, NOTHING)

    good = following.live.end("a:1", succeeded=True)
    bad = following.live.end("b:1", succeeded=False)

    assert good is not None
    assert bad is not None
    assert (good.percent, good.phase) == (100, "Ended")
    assert bad.percent == 0
    assert following.live.running == {}
    assert following.live.end("a:1", succeeded=True) is None


async def test_unknown_layers_are_those_that_nobody_else_fetches(
    following: Following, extras: FakeExtras
) -> None:
    await following.live.begin("known:1", extras, BLOBS, NOTHING)
    extras.fetching = (Ingest(OTHER, 5, 10),)
    await following.live.begin("a:1", extras, None, NOTHING)

    extras.fetching = (Ingest(OTHER, 5, 10), Ingest(ONE, 50, 100), Ingest("sha256:mine", 7, 10))
    await asyncio.sleep(2 * INTERVAL)

    assert [layer.digest for layer in following.live.running["a:1"].layers] == ["sha256:mine"]


async def test_what_was_fetched_before_adds_nothing_to_the_rate(
    following: Following, extras: FakeExtras
) -> None:
    size = 400_000_000
    extras.fetching = (Ingest(ONE, size // 2, size),)

    await following.live.begin("a:1", extras, (Blob(ONE, size),), NOTHING)
    resumed = following.live.running["a:1"]
    await asyncio.sleep(3 * INTERVAL)
    stalled = following.live.running["a:1"]
    extras.fetching = (Ingest(ONE, size // 2 + 1_000_000, size),)
    await asyncio.sleep(INTERVAL)
    moved = following.live.running["a:1"]

    assert (resumed.done, resumed.percent, resumed.rate) == (size // 2, 50, 0.0)
    assert (stalled.rate, stalled.seconds_left) == (0.0, None)
    assert 0 < moved.rate <= 1_000_000 / INTERVAL


async def test_small_layers_cost_no_call_before_the_pull(following: Following, extras: FakeExtras) -> None:
    await following.live.begin("a:1", extras, (Blob(ONE, 400_000_000), Blob(TWO, 1000)), frozenset({ONE}))

    assert extras.calls == []


async def test_a_runtime_that_fails_is_asked_again(following: Following, extras: FakeExtras) -> None:
    await following.live.begin("a:1", extras, BLOBS, NOTHING)
    extras.broken = RuntimeDownError("Ingests", "UNAVAILABLE", "")
    await asyncio.sleep(3 * INTERVAL)
    during = following.changes

    extras.broken = None
    extras.fetching = (Ingest(ONE, 100, 100),)
    await asyncio.sleep(2 * INTERVAL)

    assert following.changes > during
    assert following.percent() == 25


async def test_a_runtime_that_tells_no_bytes_is_not_asked(following: Following) -> None:
    silent = FakeExtras(Capabilities("phases", "none"))

    await following.live.begin("a:1", silent, None, NOTHING)
    asked = len(silent.calls)
    await asyncio.sleep(100)

    assert len(silent.calls) == asked
    assert following.live.running["a:1"].phase == "Pulling"


async def test_asking_ends_with_the_last_pull_that_tells_bytes(
    following: Following, extras: FakeExtras
) -> None:
    silent = FakeExtras(Capabilities("phases", "none"))
    await following.live.begin("silent:1", silent, None, NOTHING)
    await following.live.begin("a:1", extras, BLOBS, NOTHING)
    await asyncio.sleep(INTERVAL)
    following.live.end("a:1", succeeded=True)
    await asyncio.sleep(INTERVAL)
    before = following.changes

    await asyncio.sleep(100)

    assert following.changes == before


async def test_two_runtimes_are_asked_for_their_own_pulls(following: Following, extras: FakeExtras) -> None:
    second = FakeExtras()
    await following.live.begin("a:1", extras, BLOBS, NOTHING)
    await following.live.begin("b:1", second, BLOBS, NOTHING)

    extras.fetching = (Ingest(ONE, 100, 100),)
    second.fetching = (Ingest(TWO, 300, 300),)
    await asyncio.sleep(2 * INTERVAL)

    assert (following.percent("a:1"), following.percent("b:1")) == (25, 75)
