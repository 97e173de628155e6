"""What every asyncio task of the process is waiting for."""

import asyncio
from collections.abc import Iterator
from types import FrameType
from typing import Any

from daemon.debug.views import View

_MAX_DEPTH = 30


class TaskView(View, frozen=True):
    """One task. ``stack`` is outermost first: module:line function."""

    name: str
    coroutine: str
    state: str
    stack: tuple[str, ...]


def running() -> tuple[TaskView, ...]:
    """All tasks of this loop, by name."""
    return tuple(sorted(map(_describe, asyncio.all_tasks()), key=lambda task: task.name))


def _describe(task: "asyncio.Task[Any]") -> TaskView:
    coroutine = task.get_coro()
    state = "cancelling" if task.cancelling() else "running" if task is asyncio.current_task() else "waiting"
    return TaskView(
        name=task.get_name(),
        coroutine=getattr(coroutine, "__qualname__", type(coroutine).__name__),
        state=state,
        stack=tuple(map(_place, _frames(coroutine))),
    )


def _frames(awaited: Any) -> Iterator[FrameType]:
    """Follow the chain of awaits: ``Task.get_stack`` shows only the outermost frame of a suspended task."""
    for _ in range(_MAX_DEPTH):
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is None:
            return
        yield frame
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)


def _place(frame: FrameType) -> str:
    return f"{frame.f_globals.get('__name__', '?')}:{frame.f_lineno} {frame.f_code.co_qualname}"
