"""Tells when something in a set of directories changed, without polling.

Directories may come, go and be replaced. An event says nothing but 'look again': what is lost, doubled or
overflowed then does no harm.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from math import inf
from pathlib import Path

from asyncinotify import Event, Inotify, Mask, Watch

QUIET = 0.02
"""Seconds without a change after which a burst of them is over, and between two looks at least.

A file that was moved into its place is whole: if none is being written meanwhile, it is looked at at once.
"""
LONGEST = 0.5
"""Seconds after which a burst is looked at although it goes on."""
BLIND = 30.0
"""Seconds between two looks where the kernel gives no watch."""

# Not MODIFY: a file that is being written is read when it is closed.
_MASK = (
    Mask.CLOSE_WRITE | Mask.CREATE | Mask.DELETE | Mask.MOVE | Mask.ATTRIB | Mask.DELETE_SELF | Mask.MOVE_SELF
)


_WRITTEN = Mask.CLOSE_WRITE | Mask.MOVED_FROM | Mask.DELETE


class Watching:
    """Follows the directories that *folders* names; it is asked again after each change."""

    def __init__(self, folders: Callable[[], frozenset[Path]]) -> None:
        self._folders = folders
        self._changed = asyncio.Event()
        self._being_written: set[Path | None] = set()
        """Files that came into being since the last look, and were not closed yet."""
        self._moved_in = False
        """Whether the last change moved something into its place."""
        self._looked_at = -inf
        self.complaint = ""
        """Why changes are seen late, as long as they are."""

    async def run(self, look: Callable[[], Awaitable[None]]) -> None:
        """Call *look* at the start and after each burst of changes, until cancelled."""
        try:
            inotify = Inotify()
        except OSError as error:
            self._complain(error)
            await self._poll(look)
            return
        with inotify:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(inotify), name="manifest-events")
                while True:
                    self._changed.clear()
                    await self._place(inotify)
                    await look()
                    self._looked_at = asyncio.get_running_loop().time()
                    await self._burst()

    async def _listen(self, inotify: Inotify) -> None:
        # A task of its own: a read that is cancelled, as by a timeout, may lose the events it has taken.
        async for event in inotify:
            self._note(event)
            self._changed.set()

    def _note(self, event: Event) -> None:
        if event.mask & Mask.CREATE:
            self._being_written.add(event.name)
        elif event.mask & _WRITTEN:
            self._being_written.discard(event.name)
        self._moved_in = bool(event.mask & Mask.MOVED_TO)

    def _is_whole(self) -> bool:
        """Whether what changed can be read right now."""
        rested = asyncio.get_running_loop().time() - self._looked_at >= QUIET
        return rested and self._moved_in and not self._being_written

    async def _poll(self, look: Callable[[], Awaitable[None]]) -> None:
        while True:
            await look()
            await asyncio.sleep(BLIND)

    async def _burst(self) -> None:
        """Wait for a change, and for the end of those that come with it."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(BLIND if self.complaint else None):
                await self._changed.wait()
        except TimeoutError:
            return
        end = loop.time() + LONGEST
        while (left := end - loop.time()) > 0 and not self._is_whole():
            self._changed.clear()
            try:
                async with asyncio.timeout(min(QUIET, left)):
                    await self._changed.wait()
            except TimeoutError:
                break
        self._being_written.clear()  # what is no file is never closed

    async def _place(self, inotify: Inotify) -> None:
        """Watch what is to be watched, until nothing new turns up meanwhile, and nothing else."""
        points: frozenset[Path] = frozenset()
        placed: list[Watch] = []
        while (wanted := await asyncio.to_thread(self._points)) != points:
            points, self.complaint = wanted, ""
            placed = [watch for point in points if (watch := self._watch(inotify, point)) is not None]
        for watch in inotify.watches:
            if watch not in placed:
                with suppress(OSError):  # The kernel removed it already: its directory is gone.
                    inotify.rm_watch(watch)

    def _watch(self, inotify: Inotify, point: Path) -> Watch | None:
        """Watch *point*; one that is watched already stays so, unless another directory has its name now."""
        try:
            return inotify.add_watch(point, _MASK)
        except FileNotFoundError:
            return None  # What is above it is asked for in the next round.
        except OSError as error:
            self._complain(error)
            return None

    def _complain(self, error: OSError) -> None:
        limits = "fs.inotify.max_user_instances and max_user_watches"
        self.complaint = f"is looked at every {BLIND:.0f} s only: {error.strerror} (see sysctl {limits})"

    def _points(self) -> frozenset[Path]:
        return frozenset(point for folder in self._folders() for point in _points_of(folder))


def _points_of(folder: Path) -> Iterator[Path]:
    """Where to watch *folder*: itself if it is there, and what is above it if it may come or be replaced."""
    if folder.is_dir():
        yield folder
        if folder.is_symlink():
            yield folder.parent
    else:
        yield next(parent for parent in folder.absolute().parents if parent.is_dir())
