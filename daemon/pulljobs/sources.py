"""The pull secrets that jobs name, read one by one and by name, for as long as somebody needs them.

Read and not watched, so that the controller needs no right to list everybody's Secrets.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from daemon.engine.clock import Clock
from daemon.engine.objects import NotFoundError, ObjectsError
from daemon.engine.reconciling import Controller
from daemon.metrics import Metrics
from daemon.objects.images import Secret
from daemon.objects.meta import Key
from daemon.objects.validation import SECRET_KEYS

ReadSecret = Callable[[Key], Awaitable[Secret]]
"""Reads one Secret as it is stored now. Raises ObjectsError."""

_FRESH = 10.0
"""Seconds after which a secret is read again."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Read:
    secret: Secret | None
    at: float


class Sources:
    """The secrets as last read. *needed* tells whether one still is, *on_change* that it is another one."""

    def __init__(
        self,
        read: ReadSecret,
        metrics: Metrics,
        clock: Clock,
        *,
        needed: Callable[[Key], bool],
        on_change: Callable[[Key], None],
    ) -> None:
        self.controller: Controller[Key] = Controller("pullsecrets", self.reconcile, metrics)
        self._read_stored = read
        self._clock = clock
        self._needed = needed
        self._on_change = on_change
        self._known: dict[Key, _Read] = {}
        self._reading: dict[Key, asyncio.Lock] = {}

    async def find(self, key: Key) -> Secret | None:
        """The secret, read now unless it was just read; None when there is none of use."""
        async with self._reading.setdefault(key, asyncio.Lock()):
            known = self._known.get(key)
            if known is None or self._clock.monotonic() - known.at >= _FRESH:
                known = self._known[key] = await self._read(key, known)
                self.controller.queue.add_after(key, _FRESH)
            return known.secret

    async def reconcile(self, key: Key) -> float | None:
        """Read a secret again while it is needed."""
        before = self._known.get(key)
        if before is None or not self._needed(key):
            self._known.pop(key, None)
            self._reading.pop(key, None)
            return None
        after = self._known[key] = await self._read(key, before)
        if _identity(before.secret) != _identity(after.secret):
            self._on_change(key)
        return _FRESH

    async def _read(self, key: Key, known: _Read | None) -> _Read:
        try:
            secret: Secret | None = await self._read_stored(key)
        except NotFoundError:
            secret = None
        except ObjectsError as error:
            log.warning("cannot read pull secret", secret=str(key), error=str(error))
            secret = known.secret if known is not None else None
        if secret is not None and secret.type not in SECRET_KEYS:
            log.warning("is no pull secret", secret=str(key), type=secret.type)
            secret = None
        return _Read(secret, self._clock.monotonic())


def _identity(secret: Secret | None) -> tuple[str, str]:
    return ("", "") if secret is None else (secret.metadata.uid, secret.metadata.resource_version)
