"""What becomes of a key: done, failed, refused or in conflict; and what is told of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from daemon.engine.objects import ConflictError, NotFoundError
from daemon.engine.reconciling import Controller, PermanentError
from daemon.metrics import Metrics

pytestmark = pytest.mark.looptime

Reconcile = Callable[[str], Awaitable[float | None]]


class Script:
    """Does what it was told for each look at a key, and keeps when that was."""

    def __init__(self, *steps: float | Exception | None) -> None:
        self._steps = list(steps)
        self.looks: list[tuple[float, str]] = []
        self.looked = asyncio.Condition()

    async def __call__(self, key: str) -> float | None:
        async with self.looked:
            self.looks.append((asyncio.get_running_loop().time(), key))
            self.looked.notify_all()
        step = self._steps.pop(0) if self._steps else None
        if isinstance(step, Exception):
            raise step
        return step

    async def until(self, count: int) -> list[float]:
        """Wait for that many looks; the moments of all."""
        async with asyncio.timeout(1000), self.looked:
            await self.looked.wait_for(lambda: len(self.looks) >= count)
        return [moment for moment, _ in self.looks]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@asynccontextmanager
async def running(
    reconcile: Reconcile, metrics: Metrics, *, workers: int = 1
) -> AsyncIterator[Controller[str]]:
    controller: Controller[str] = Controller("images", reconcile, metrics, workers=workers)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(controller.run())
        try:
            yield controller
            controller.queue.close()
            async with asyncio.timeout(1000):
                await asyncio.wait([task])
        finally:
            task.cancel()


def counted(metrics: Metrics) -> dict[str, float]:
    values = {
        result: metrics.registry.get_sample_value(
            "inplaced_reconciles_total", {"controller": "images", "result": result}
        )
        for result in ("ok", "conflict", "refused", "error")
    }
    return {result: value for result, value in values.items() if value}


@asynccontextmanager
async def settled(
    script: Script, metrics: Metrics, looks: int
) -> AsyncIterator[list[MutableMapping[str, Any]]]:
    """Run one key through *looks* looks, and a long time more; the logs."""
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        async with running(script, metrics) as controller:
            controller.queue.add("a")
            await script.until(looks)
            await asyncio.sleep(500)
        yield logs


async def test_a_key_that_is_done_is_left_alone(metrics: Metrics) -> None:
    script = Script(None)

    async with settled(script, metrics, 1) as logs:
        assert len(script.looks) == 1

    assert counted(metrics) == {"ok": 1}
    assert logs == []


async def test_a_key_is_looked_at_again_when_it_asks_for_it(metrics: Metrics) -> None:
    script = Script(30.0, None)

    async with settled(script, metrics, 2):
        moments = [moment for moment, _ in script.looks]

    assert moments[1] - moments[0] == pytest.approx(30.0)
    assert counted(metrics) == {"ok": 2}


async def test_an_error_is_logged_and_retried_with_growing_delays(metrics: Metrics) -> None:
    script = Script(*[RuntimeError("broken")] * 8, None)

    async with settled(script, metrics, 9) as logs:
        moments = [moment for moment, _ in script.looks]

    pauses = [after - before for before, after in pairwise(moments)]
    assert pauses == sorted(pauses)
    assert pauses[-1] > 4.0
    assert counted(metrics) == {"error": 8, "ok": 1}
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("reconcile failed", "error")] * 8
    assert logs[-1]["retry_in"] == pytest.approx(pauses[-1], abs=0.01)


async def test_errors_are_counted_anew_after_a_success(metrics: Metrics) -> None:
    script = Script(*[RuntimeError("broken")] * 8, 1.0, RuntimeError("broken"), None)

    async with settled(script, metrics, 11):
        moments = [moment for moment, _ in script.looks]

    assert moments[10] - moments[9] <= 0.05


async def test_a_permanent_error_is_told_and_not_tried_again(metrics: Metrics) -> None:
    script = Script(PermanentError("field x is wrong"))

    async with settled(script, metrics, 1) as logs:
        assert len(script.looks) == 1

    assert counted(metrics) == {"refused": 1}
    assert [(entry["event"], entry["error"]) for entry in logs] == [("gave up", "field x is wrong")]


async def test_a_permanent_error_ends_when_the_key_is_added_again(metrics: Metrics) -> None:
    script = Script(PermanentError("wrong"), None)

    async with running(script, metrics) as controller:
        controller.queue.add("a")
        await script.until(1)
        controller.queue.add("a")
        await script.until(2)

    assert counted(metrics) == {"refused": 1, "ok": 1}


async def test_a_key_in_a_storm_of_conflicts_is_looked_at_again_within_half_a_second(
    metrics: Metrics,
) -> None:
    script = Script(*(ConflictError() for _ in range(20)), None)

    async with settled(script, metrics, 21) as logs:
        moments = [moment for moment, _ in script.looks]

    assert max(after - before for before, after in pairwise(moments)) <= 0.5
    assert logs == []


async def test_a_conflict_is_retried_soon_and_is_no_error(metrics: Metrics) -> None:
    script = Script(ConflictError(), None)

    async with settled(script, metrics, 2) as logs:
        moments = [moment for moment, _ in script.looks]

    assert moments[1] - moments[0] <= 0.05
    assert counted(metrics) == {"conflict": 1, "ok": 1}
    assert logs == []


async def test_other_errors_of_the_store_are_errors(metrics: Metrics) -> None:
    async with settled(Script(NotFoundError("gone"), None), metrics, 2) as logs:
        pass

    assert counted(metrics) == {"error": 1, "ok": 1}
    assert [(entry["log_level"], entry["error"]) for entry in logs] == [("warning", "gone")]
    assert "exc_info" not in logs[0]


async def test_pauses_grow_no_longer_than_they_may(metrics: Metrics) -> None:
    script = Script(*[NotFoundError("gone")] * 12, None)
    controller: Controller[str] = Controller("images", script, metrics, max_delay=2.0)

    with capture_logs():
        task = asyncio.create_task(controller.run())
        controller.queue.add("a")
        moments = await script.until(13)
        controller.queue.close()
        await task

    assert max(after - before for before, after in pairwise(moments)) <= 2.0


async def test_an_error_of_one_key_does_not_hold_up_others(metrics: Metrics) -> None:
    done: list[str] = []

    async def reconcile(key: str) -> None:
        if key == "bad":
            raise RuntimeError(key)
        done.append(key)

    with capture_logs():
        async with running(reconcile, metrics) as controller:
            for key in ("bad", "good", "better"):
                controller.queue.add(key)

    assert done == ["good", "better"]


async def test_logs_of_a_reconciliation_name_controller_and_key(metrics: Metrics) -> None:
    async def reconcile(_key: str) -> None:
        structlog.get_logger().info("working")

    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        async with running(reconcile, metrics) as controller:
            controller.queue.add("a")

    assert [(entry["controller"], entry["key"]) for entry in logs] == [("images", "a")]
    assert structlog.contextvars.get_contextvars() == {}


async def test_the_duration_of_each_look_is_observed(metrics: Metrics) -> None:
    async with settled(Script(PermanentError("no")), metrics, 1):
        pass

    labels = {"controller": "images"}
    assert metrics.registry.get_sample_value("inplaced_reconcile_seconds_count", labels) == 1


async def test_every_outcome_is_counted_from_zero(metrics: Metrics) -> None:
    Controller("images", Script(), metrics)

    zeros = [
        metrics.registry.get_sample_value(
            "inplaced_reconciles_total", {"controller": "images", "result": result}
        )
        for result in ("ok", "conflict", "refused", "error")
    ]
    assert zeros == [0, 0, 0, 0]


@pytest.mark.parametrize("workers", [1, 3])
async def test_as_many_keys_are_worked_on_at_once_as_there_are_workers(
    metrics: Metrics, workers: int
) -> None:
    busy = most = 0

    async def reconcile(_key: str) -> None:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(1)
        busy -= 1

    async with running(reconcile, metrics, workers=workers) as controller:
        for number in range(9):
            controller.queue.add(str(number))

    assert most == workers


async def test_one_key_is_never_worked_on_twice_at_once(metrics: Metrics) -> None:
    busy: list[str] = []
    looks = 0

    async def reconcile(key: str) -> None:
        nonlocal looks
        assert key not in busy
        busy.append(key)
        looks += 1
        await asyncio.sleep(1)
        busy.remove(key)

    async with running(reconcile, metrics, workers=4) as controller:
        for _ in range(5):
            controller.queue.add("a")
            controller.queue.add("b")
            await asyncio.sleep(0.5)

    assert looks >= 4
    assert counted(metrics) == {"ok": looks}


async def test_a_cancel_passes_through_and_counts_as_nothing(metrics: Metrics) -> None:
    begun = asyncio.Event()

    async def reconcile(_key: str) -> None:
        begun.set()
        await asyncio.Event().wait()

    controller: Controller[str] = Controller("images", reconcile, metrics)
    task = asyncio.create_task(controller.run())
    controller.queue.add("a")
    await begun.wait()
    controller.queue.add("a")

    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert counted(metrics) == {}
    assert len(controller.queue) == 1
