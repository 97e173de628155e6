"""How the parts of a process start, stop and fail together."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from structlog.testing import capture_logs

from daemon.engine.lifecycle import run_parts

Part = Callable[[], Awaitable[None]]


class Journal:
    """What happened, in its order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def part(self, name: str, work: Part | None = None) -> Part:
        async def run() -> None:
            self.lines.append(f"{name} begins")
            try:
                await (work or asyncio.Event().wait)()
            except asyncio.CancelledError:
                self.lines.append(f"{name} is cancelled")
                raise
            self.lines.append(f"{name} ends")

        run.__name__ = name
        return run


class Queue:
    """A queue whose workers end a while after it was closed."""

    def __init__(self, journal: Journal, drain: float) -> None:
        self._journal = journal
        self._closed = asyncio.Event()
        self._drain = drain

    def close(self) -> None:
        self._journal.lines.append("queue is closed")
        self._closed.set()

    async def work(self) -> None:
        await self._closed.wait()
        await asyncio.sleep(self._drain)


@pytest.fixture
def journal() -> Journal:
    return Journal()


async def stopped_after(seconds: float) -> asyncio.Event:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    return stop


@pytest.mark.looptime
async def test_queues_close_then_workers_drain_then_feeders_are_cancelled(journal: Journal) -> None:
    queue = Queue(journal, drain=3)

    await run_parts(
        feeders=[journal.part("feeder")],
        workers=[journal.part("worker", queue.work)],
        queues=[queue],
        stop=await stopped_after(5),
        grace=10,
    )

    assert journal.lines == [
        "feeder begins",
        "worker begins",
        "queue is closed",
        "worker ends",
        "feeder is cancelled",
    ]
    assert asyncio.get_running_loop().time() == pytest.approx(8.0)


@pytest.mark.looptime
async def test_workers_that_are_late_are_cancelled_after_the_grace_and_named(journal: Journal) -> None:
    quick, slow = Queue(journal, drain=1), Queue(journal, drain=100)

    with capture_logs() as logs:
        await run_parts(
            feeders=[],
            workers=[journal.part("quick", quick.work), journal.part("slow", slow.work)],
            queues=[quick, slow],
            stop=await stopped_after(0),
            grace=10,
        )

    assert journal.lines[-2:] == ["quick ends", "slow is cancelled"]
    assert asyncio.get_running_loop().time() == pytest.approx(10.0)
    assert [entry["parts"] for entry in logs if "parts" in entry] == [["slow"]]


@pytest.mark.looptime
async def test_without_workers_a_stop_is_immediate(journal: Journal) -> None:
    await run_parts(
        feeders=[journal.part("feeder")], workers=[], queues=[], stop=await stopped_after(1), grace=10
    )

    assert asyncio.get_running_loop().time() == pytest.approx(1.0)


@pytest.mark.looptime
async def test_a_part_that_ends_by_itself_ends_nothing_else(journal: Journal) -> None:
    async def short() -> None:
        await asyncio.sleep(1)

    await run_parts(
        feeders=[journal.part("short", short), journal.part("long")],
        workers=[],
        queues=[],
        stop=await stopped_after(5),
        grace=10,
    )

    assert journal.lines[-2:] == ["short ends", "long is cancelled"]
    assert asyncio.get_running_loop().time() == pytest.approx(5.0)


async def failing() -> None:
    await asyncio.sleep(1)
    raise OSError("no more files")


@pytest.mark.looptime
@pytest.mark.parametrize("kind", ["feeders", "workers"])
async def test_the_failure_of_one_part_ends_all_and_is_raised(journal: Journal, kind: str) -> None:
    parts = {"feeders": [journal.part("feeder")], "workers": [journal.part("worker")]}
    parts[kind].append(failing)

    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="no more files")):
        await run_parts(**parts, queues=[], stop=asyncio.Event(), grace=10)

    assert sorted(journal.lines[2:]) == ["feeder is cancelled", "worker is cancelled"]
    assert asyncio.get_running_loop().time() == pytest.approx(1.0)


@pytest.mark.looptime
async def test_a_failure_while_stopping_is_raised_and_ends_the_grace(journal: Journal) -> None:
    queue = Queue(journal, drain=100)

    with pytest.RaisesGroup(OSError):
        await run_parts(
            feeders=[failing],
            workers=[journal.part("worker", queue.work)],
            queues=[queue],
            stop=await stopped_after(0.5),
            grace=50,
        )

    assert journal.lines[-1] == "worker is cancelled"
    assert asyncio.get_running_loop().time() == pytest.approx(1.0)


@pytest.mark.looptime
async def test_tasks_bear_the_names_of_their_parts(journal: Journal) -> None:
    names: set[str] = set()

    async def look() -> None:
        names.update(task.get_name() for task in asyncio.all_tasks())

    await run_parts(
        feeders=[journal.part("feeder"), Queue(journal, 0).work, partial(asyncio.sleep, 100)],
        workers=[look],
        queues=[],
        stop=await stopped_after(1),
        grace=1,
    )

    assert {"feeder", "Queue", "sleep", "look"} <= names


CHILD = """
import asyncio
from daemon.engine.lifecycle import run_parts, stop_on_signals

async def main():
    stop = stop_on_signals()
    async def feeder():
        print("ready", flush=True)
        await asyncio.Event().wait()
    async def worker():
        await stop.wait()
        print("drained", flush=True)
    await run_parts(feeders=[feeder], workers=[worker], queues=[], stop=stop, grace=5)
    print("stopped", flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_process_in_order(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            begun = child.stdout.readline()
            child.send_signal(number)
            rest, _ = child.communicate(timeout=20)
        finally:
            child.kill()

    assert begun == "ready\n"
    words = [line for line in rest.splitlines() if line in {"drained", "stopped"}]  # beside the log
    assert words == ["drained", "stopped"]
    assert child.returncode == 0
