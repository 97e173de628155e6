"""Informers and other parts that run, for the length of a test, and can be waited for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from daemon.engine.objects import ApiObject
from daemon.kube.informer import Informer

T = TypeVar("T", bound=ApiObject)
R = TypeVar("R")

DEADLINE = 15.0
"""Seconds in which what is waited for must happen."""


@asynccontextmanager
async def running(*parts: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run *parts* until the end of the block; what one of them raises fails the test."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error


@asynccontextmanager
async def following(*informers: Informer[Any]) -> AsyncIterator[None]:
    """Run *informers*, from when they have seen all objects to the end of the block."""
    async with running(*(informer.run() for informer in informers)):
        async with asyncio.timeout(DEADLINE):
            for informer in informers:
                await informer.synced()
        yield


async def until(informer: Informer[T], holds: Callable[[], bool]) -> None:
    """Return when *holds* is true, which is looked at after each change of an object."""
    changed = asyncio.Event()
    informer.subscribe(lambda _key: changed.set())
    async with asyncio.timeout(DEADLINE):
        while not holds():
            changed.clear()
            await changed.wait()


async def within(awaited: Awaitable[R], seconds: float = DEADLINE) -> R:
    """The result, which must come in time."""
    async with asyncio.timeout(seconds):
        return await awaited
