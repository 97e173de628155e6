"""Starts and stops a process's parts in order: queues close, workers drain, the late are cancelled."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

Part = Callable[[], Awaitable[None]]

log = structlog.get_logger()


class Closable(Protocol):
    """A queue, as far as stopping goes."""

    def close(self) -> None:
        """Take no more work."""
        ...


def stop_on_signals() -> asyncio.Event:
    """An event that is set by SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def run_parts(
    *,
    feeders: Sequence[Part],
    workers: Sequence[Part],
    queues: Sequence[Closable],
    stop: asyncio.Event,
    grace: float,
) -> None:
    """Run everything until *stop* is set or a part fails; a failure anywhere ends all and is raised.

    Workers have *grace* seconds to finish what they have begun after their queues were closed.
    """
    async with asyncio.TaskGroup() as group:
        feeding = [group.create_task(_call(part), name=_name_of(part)) for part in feeders]
        working = [group.create_task(_call(part), name=_name_of(part)) for part in workers]
        await stop.wait()
        log.info("stopping", grace=grace)
        for queue in queues:
            queue.close()
        late = (await asyncio.wait(working, timeout=grace))[1] if working else set()
        if late:
            log.warning("cancelling what did not end in time", parts=sorted(task.get_name() for task in late))
        for task in (*late, *feeding):
            task.cancel()


async def _call(part: Part) -> None:
    await part()


def _name_of(part: Part) -> str:
    function = getattr(part, "func", part)  # of a partial
    owner = getattr(function, "__self__", None)
    return type(owner).__name__ if owner is not None else getattr(function, "__name__", "part")
