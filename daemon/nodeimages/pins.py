"""Keeps book of the images that we protect against garbage collection."""

from collections.abc import Callable, Collection, Coroutine

import structlog

from daemon.cri.errors import CriError, NotFoundError, RuntimeDownError
from daemon.cri.extras import ImageExtras
from daemon.metrics import Metrics

log = structlog.get_logger()
Work = Callable[[str], Coroutine[None, None, None]]


class Pins:
    """The pins of one runtime. What it holds is the truth: it is read anew when it returns."""

    def __init__(self, metrics: Metrics, on_change: Callable[[], None]) -> None:
        self._metrics = metrics
        self._on_change = on_change
        self._extras: ImageExtras | None = None
        self._pinned: set[str] = set()
        self._refused: set[str] = set()
        self._busy: set[str] = set()

    @property
    def pinned(self) -> Collection[str] | None:
        """References that we pinned; None where the runtime cannot pin."""
        if self._extras is None or self._extras.capabilities.pins == "none":
            return None
        return frozenset(self._pinned)

    @property
    def refused(self) -> Collection[str]:
        """References that could not be pinned."""
        return frozenset(self._refused)

    async def load(self, extras: ImageExtras) -> None:
        """Read which pins are there. Raises CriError."""
        self._pinned = set(await extras.pinned())
        self._extras = extras
        self._refused.clear()
        self._count()

    def renew(self, ref: str) -> None:
        """Have *ref* pinned again: a pull may have put another image behind it."""
        self._pinned.discard(ref)
        self._refused.discard(ref)

    def start(self, ref: str, work: Work, run: Callable[[Coroutine[None, None, None], str], object]) -> None:
        """Have *run* do *work* (``pin`` or ``unpin``) for *ref*, unless something is being done for it."""
        if ref not in self._busy and self._extras is not None:
            self._busy.add(ref)
            run(work(ref), f"{work.__name__} {ref}")

    async def pin(self, ref: str) -> None:
        """Pin *ref*; by way of ``start``."""
        assert self._extras is not None
        try:
            await self._extras.pin(ref)
            self._pinned.add(ref)
        except RuntimeDownError as error:
            log.info("pin put off", image=ref, error=str(error))
        except CriError as error:
            self._refused.add(ref)
            log.warning("cannot pin", image=ref, error=str(error))
        finally:
            self._ended(ref)

    async def unpin(self, ref: str) -> None:
        """Release *ref*; by way of ``start``."""
        assert self._extras is not None
        try:
            await self._extras.unpin(ref)
            self._pinned.discard(ref)
        except NotFoundError:
            self._pinned.discard(ref)
        except CriError as error:
            log.warning("cannot unpin", image=ref, error=str(error))
        finally:
            self._ended(ref)

    def _ended(self, ref: str) -> None:
        self._busy.discard(ref)
        self._count()
        self._on_change()

    def _count(self) -> None:
        self._metrics.images_pinned.set(len(self._pinned))
