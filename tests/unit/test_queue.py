"""The work queue: what is merged, what waits, and that no key is worked on twice at a time."""

import asyncio

import looptime
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from daemon.engine.queue import QueueClosedError, WorkQueue

pytestmark = pytest.mark.looptime


@pytest.fixture
def queue() -> WorkQueue[str]:
    return WorkQueue(first_delay=1.0, max_delay=10.0)


async def taken(queue: WorkQueue[str]) -> list[str]:
    """All keys that are ready, in their order, each done at once."""
    keys = []
    while len(queue):
        keys.append(await queue.get())
        queue.done(keys[-1])
    return keys


async def moment_of_next(queue: WorkQueue[str]) -> float:
    async with asyncio.timeout(1000):
        queue.done(await queue.get())
    return asyncio.get_running_loop().time()


async def test_keys_come_in_the_order_in_which_they_were_added(queue: WorkQueue[str]) -> None:
    for key in "bca":
        queue.add(key)

    assert await taken(queue) == ["b", "c", "a"]


async def test_a_key_that_was_added_twice_is_looked_at_once(queue: WorkQueue[str]) -> None:
    for key in "aba":
        queue.add(key)

    assert await taken(queue) == ["a", "b"]


async def test_a_key_that_is_being_worked_on_waits_and_comes_back_once(queue: WorkQueue[str]) -> None:
    queue.add("a")
    await queue.get()

    queue.add("a")
    queue.add("a")
    during = len(queue)
    queue.done("a")

    assert during == 0
    assert await taken(queue) == ["a"]


async def test_a_key_that_is_done_does_not_come_back_by_itself(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.done(await queue.get())

    assert len(queue) == 0


async def test_a_delayed_key_comes_when_it_is_due(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 5.0)

    assert await moment_of_next(queue) == pytest.approx(5.0)


async def test_no_delay_is_at_once(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 0.0)

    assert await moment_of_next(queue) == pytest.approx(0.0)


@pytest.mark.parametrize("delays", [(5.0, 3.0), (3.0, 5.0)])
async def test_the_earlier_of_two_dates_holds_and_the_key_comes_once(
    queue: WorkQueue[str], delays: tuple[float, float]
) -> None:
    for delay in delays:
        queue.add_after("a", delay)

    moment = await moment_of_next(queue)
    await asyncio.sleep(10)

    assert moment == pytest.approx(3.0)
    assert len(queue) == 0


async def test_a_date_that_has_passed_can_be_set_anew(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 1.0)
    await moment_of_next(queue)

    queue.add_after("a", 2.0)

    assert await moment_of_next(queue) == pytest.approx(3.0)


async def test_a_key_that_comes_due_while_it_is_worked_on_waits(queue: WorkQueue[str]) -> None:
    queue.add("a")
    await queue.get()
    queue.add_after("a", 1.0)

    await asyncio.sleep(2)
    during = len(queue)
    queue.done("a")

    assert during == 0
    assert await taken(queue) == ["a"]


async def test_delays_of_failures_double_up_to_the_longest(queue: WorkQueue[str]) -> None:
    delays = [queue.retry("a") for _ in range(6)]

    for delay, whole in zip(delays, [1, 2, 4, 8, 10, 10], strict=True):
        assert 0.75 * whole <= delay <= whole


async def test_a_key_that_meets_conflicts_never_waits_long_and_is_not_looked_at_without_a_pause() -> None:
    queue: WorkQueue[str] = WorkQueue(first_delay=0.125, max_delay=60.0)

    delays = [queue.retry_soon("a") for _ in range(3000)]

    for delay, whole in zip(delays[:4], [0.125, 0.25, 0.5, 0.5], strict=True):
        assert 0.75 * whole <= delay <= whole
    assert max(delays) <= 0.5


async def test_conflicts_make_no_failure_wait_longer(queue: WorkQueue[str]) -> None:
    for _ in range(10):
        queue.retry_soon("a")

    assert queue.retry("a") <= 1.0


async def test_no_number_of_failures_makes_a_delay_overflow(queue: WorkQueue[str]) -> None:
    assert max(queue.retry("a") for _ in range(3000)) <= 10.0


async def test_delays_differ_so_that_keys_do_not_fail_in_step(queue: WorkQueue[str]) -> None:
    assert len({queue.retry(str(number)) for number in range(20)}) > 15


async def test_a_retried_key_comes_after_its_delay(queue: WorkQueue[str]) -> None:
    delay = queue.retry("a")

    assert await moment_of_next(queue) == pytest.approx(delay, abs=1e-5)  # the test's clock has microseconds


async def test_failures_are_counted_a_key_and_forgotten_on_demand(queue: WorkQueue[str]) -> None:
    for _ in range(4):
        queue.retry("a")
    queue.forget("a")

    assert queue.retry("a") <= 1.0
    assert queue.retry("b") <= 1.0
    queue.forget("never seen")


async def test_a_waiting_worker_wakes_up_for_a_key(queue: WorkQueue[str]) -> None:
    worker = asyncio.create_task(queue.get())
    await asyncio.sleep(1)

    queue.add("a")

    assert await worker == "a"


async def test_all_waiting_workers_get_a_key_each(queue: WorkQueue[str]) -> None:
    workers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(1)

    for key in "abc":
        queue.add(key)

    assert sorted(await asyncio.gather(*workers)) == ["a", "b", "c"]


async def test_a_cancelled_worker_takes_no_key_along(queue: WorkQueue[str]) -> None:
    worker = asyncio.create_task(queue.get())
    await asyncio.sleep(1)

    queue.add("a")
    worker.cancel()
    await asyncio.wait([worker])

    assert await taken(queue) == ["a"]


async def test_closing_lets_workers_finish_what_is_ready_and_then_end(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.add_after("later", 1.0)

    queue.close()
    queue.add("too late")
    queue.add_after("too late", 0.0)
    queue.retry("too late")
    await asyncio.sleep(20)

    assert await taken(queue) == ["a"]
    with pytest.raises(QueueClosedError):
        await queue.get()


async def test_closing_wakes_all_workers_that_wait(queue: WorkQueue[str]) -> None:
    workers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(1)

    queue.close()
    ends = await asyncio.gather(*workers, return_exceptions=True)

    assert [type(end) for end in ends] == [QueueClosedError] * 3


async def test_a_repeat_does_not_outlive_the_close(queue: WorkQueue[str]) -> None:
    queue.add("a")
    await queue.get()
    queue.add("a")

    queue.close()
    queue.done("a")

    with pytest.raises(QueueClosedError):
        await queue.get()


KEYS = st.sampled_from("abc")
SECONDS = st.integers(1, 4)


class QueueMachine(RuleBasedStateMachine):
    """The queue beside a model that spells out what is expected of it."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = looptime.new_event_loop()
        self.queue: WorkQueue[str] = WorkQueue()
        self.ready: list[str] = []
        self.active: set[str] = set()
        self.repeats: set[str] = set()
        self.due: dict[str, int] = {}
        self.now = 0
        self.closed = False

    def expect(self, key: str) -> None:
        if key in self.active:
            self.repeats.add(key)
        elif key not in self.ready:
            self.ready.append(key)

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        self.queue.add(key)
        if not self.closed:
            self.expect(key)

    @rule(key=KEYS, delay=SECONDS)
    def add_after(self, key: str, delay: int) -> None:
        async def adding() -> None:
            self.queue.add_after(key, delay)

        self.loop.run_until_complete(adding())
        if not self.closed:
            self.due[key] = min(self.due.get(key, 1000), self.now + delay)

    @rule(seconds=SECONDS)
    def let_go_by(self, seconds: int) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds + 0.001))  # a little late, so that none is early
        self.now += seconds
        for key in [key for key, due in self.due.items() if due <= self.now]:
            del self.due[key]
            self.expect(key)

    @precondition(lambda self: self.ready)
    @rule()
    def take(self) -> None:
        key = self.loop.run_until_complete(self.queue.get())

        assert key in self.ready
        assert key not in self.active
        self.ready.remove(key)
        self.active.add(key)

    @precondition(lambda self: self.active)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.active)))
        self.queue.done(key)
        self.active.remove(key)
        if key in self.repeats:
            self.repeats.remove(key)
            self.expect(key)

    @rule()
    def close(self) -> None:
        self.queue.close()
        self.closed = True
        self.due.clear()
        self.repeats.clear()

    @invariant()
    def as_many_are_ready_as_are_expected(self) -> None:
        assert len(self.queue) == len(self.ready)

    def teardown(self) -> None:
        self.queue.close()
        self.loop.close()


TestQueueMachine = QueueMachine.TestCase
