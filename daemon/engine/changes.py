"""Tells whoever looks that there is something new to see."""

import asyncio


class Changes:
    """A number that grows with each change, and a way to wait for it."""

    def __init__(self) -> None:
        self._number = 1
        self._next = asyncio.Event()

    def announce(self) -> None:
        """Something that can be seen has changed."""
        self._number += 1
        self._next.set()
        self._next = asyncio.Event()

    async def after(self, seen: int) -> int:
        """Wait until the number is above *seen*, and return it."""
        while self._number <= seen:
            await self._next.wait()
        return self._number
