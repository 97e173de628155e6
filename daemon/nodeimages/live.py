"""Follows the running pulls byte by byte, and does nothing at all while none runs."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping

import structlog

from daemon.cri import progress
from daemon.cri.errors import CriError
from daemon.cri.extras import Blob, ImageExtras
from daemon.cri.progress import Progress, Sighting
from daemon.engine.clock import Clock

log = structlog.get_logger()

_QUICK = 4 * 2**20
"""Bytes. A layer below that is there before a rate means anything, and not worth a call of its own."""


class Live:
    """Progress of each running pull, by reference."""

    def __init__(self, clock: Clock, *, interval: float, on_change: Callable[[], None]) -> None:
        self._clock = clock
        self._interval = interval
        self._on_change = on_change
        self._running: dict[str, Progress] = {}
        self._extras: dict[str, ImageExtras] = {}
        self._some = asyncio.Event()

    @property
    def running(self) -> Mapping[str, Progress]:
        """How far each running pull is."""
        return self._running

    async def begin(
        self, ref: str, extras: ImageExtras, blobs: tuple[Blob, ...] | None, present: frozenset[str]
    ) -> None:
        """Follow the pull of *ref* from now on. *blobs* is None where its layers are not known."""
        # What lies there half-fetched already is neither this pull's, while its layers are not known, nor
        # fetched at this pull's rate, when it goes on with it.
        ingests = await extras.ingests() if _may_be_seen(blobs, present) else ()
        seen = Sighting(self._clock.monotonic(), ingests, present)
        self._running[ref] = progress.begin(blobs, seen)
        self._extras[ref] = extras
        if extras.capabilities.progress == "bytes":
            self._some.set()

    def end(self, ref: str, *, succeeded: bool) -> Progress | None:
        """Follow it no longer; its last state, or None if it never began."""
        last = self._running.pop(ref, None)
        self._extras.pop(ref, None)
        if not any(extras.capabilities.progress == "bytes" for extras in self._extras.values()):
            self._some.clear()
        return progress.finish(last) if last is not None and succeeded else last

    async def run(self) -> None:
        """Look at the runtime again and again while a pull runs."""
        while True:
            await self._some.wait()
            await asyncio.sleep(self._interval)  # the pace of the progress bars; a short pull needs none
            if not self._some.is_set():
                continue
            try:
                await self._look()
            except CriError as error:
                log.debug("progress unknown", error=str(error))

    async def _look(self) -> None:
        for extras in {id(extras): extras for extras in self._extras.values()}.values():
            ingests = await extras.ingests()
            refs = [ref for ref, mine in self._extras.items() if mine is extras]
            unsure = {digest for ref in refs for digest in progress.unsure(self._running[ref], ingests)}
            present = await extras.present(unsure) if unsure else frozenset()
            for ref in refs:
                if ref in self._running:  # it may have ended meanwhile
                    others = [item for other, item in self._running.items() if other != ref]
                    seen = Sighting(self._clock.monotonic(), ingests, present, progress.claims(others))
                    self._running[ref] = progress.observe(self._running[ref], seen)
        self._on_change()


def _may_be_seen(blobs: Iterable[Blob] | None, present: Collection[str]) -> bool:
    return blobs is None or any(blob.size >= _QUICK for blob in blobs if blob.digest not in present)
