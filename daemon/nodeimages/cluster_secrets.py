"""Pull secrets of a cluster's node: sealed ones from the node's own Secret, OpenKruise's copies as they are.

They are read when a pull needs them and not watched: so a rotated one is seen by the next attempt, and a node
that needs none costs the API server nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from daemon import names
from daemon.engine.clock import Clock
from daemon.engine.objects import NotFoundError, ObjectsError
from daemon.objects.images import Secret, SecretReference
from daemon.objects.meta import Key
from daemon.objects.sealing import SealError, SealingKey, box_name

log = structlog.get_logger()
ReadSecret = Callable[[Key], Awaitable[Secret]]
"""Reads one Secret as it is stored now. Raises ObjectsError."""

_FRESH = 1.0
"""Seconds for which what was read serves other pulls too."""
_KEPT = 64
"""Secrets that are kept for the time in which the API server cannot be reached."""


class Patience(msgspec.Struct, frozen=True):
    """How long a secret that is not there yet is waited for, in seconds."""

    limit: float = 10.0
    """The controller seals anew after an agent's start made another key."""
    pause: float = 0.25
    again: float = 60.0
    """After a wait in vain, for how long nobody waits again."""


class _Read(msgspec.Struct, frozen=True):
    secret: Secret | None
    at: float


class ClusterSecrets:
    """Finds the Secrets that a NodeImage refers to. *own* names the node's sealed Secret."""

    def __init__(
        self, read: ReadSecret, own: Key, key: SealingKey, clock: Clock, patience: Patience | None = None
    ) -> None:
        self._read_stored = read
        self._own = own
        self._key = key
        self._clock = clock
        self._patience = patience or Patience()
        self._known: dict[Key, _Read] = {}
        self._reading: dict[Key, asyncio.Lock] = {}
        self._in_vain: dict[Key, float] = {}

    async def find(self, reference: SecretReference) -> Secret | None:
        """The Secret, or None when it cannot be had. Raises nothing but a cancel."""
        namespace = reference.namespace or names.KRUISE_SECRETS_NAMESPACE
        key = Key(namespace, reference.name)
        if reference.mode == "batch" or namespace == names.KRUISE_SECRETS_NAMESPACE:
            return await self._read(key)
        return await self._unsealed(key)

    async def _unsealed(self, key: Key) -> Secret | None:
        limit = self._clock.monotonic() + self._patience_for(key)
        pause = self._patience.pause
        while (found := self._open(await self._read(self._own), key)) is None:
            if self._clock.monotonic() + pause > limit:
                self._remember_vain(key)
                return None
            await asyncio.sleep(pause)  # the controller is asked by what the API server holds, not by us
            pause = min(2 * pause, 2.0)
        self._in_vain.pop(key, None)
        return found

    def _patience_for(self, key: Key) -> float:
        since = self._clock.monotonic() - self._in_vain.get(key, float("-inf"))
        return 0.0 if since < self._patience.again else self._patience.limit

    def _remember_vain(self, key: Key) -> None:
        now = self._clock.monotonic()
        kept = {other: at for other, at in self._in_vain.items() if now - at < self._patience.again}
        self._in_vain = kept | {key: now}

    def _open(self, sealed: Secret | None, key: Key) -> Secret | None:
        box = sealed.data.get(box_name(key)) if sealed is not None else None
        if box is None:
            return None
        try:
            found = self._key.open(box)
        except SealError as error:
            log.info("sealed secret not for this key yet", secret=str(key), error=str(error))
            return None
        return found if found.metadata.key == key else None

    async def _read(self, key: Key) -> Secret | None:
        """What is stored now; what was stored last when nobody answers."""
        async with self._reading.setdefault(key, asyncio.Lock()):
            known = self._known.pop(key, None)
            if known is None or self._clock.monotonic() - known.at >= _FRESH:
                known = await self._read_anew(key, known)
            self._known[key] = known
            self._drop_oldest()
            return known.secret

    async def _read_anew(self, key: Key, known: _Read | None) -> _Read:
        try:
            secret: Secret | None = await self._read_stored(key)
        except NotFoundError:
            secret = None
        except ObjectsError as error:
            log.warning("cannot read pull secret", secret=str(key), error=str(error))
            secret = known.secret if known is not None else None
        return _Read(secret, self._clock.monotonic())

    def _drop_oldest(self) -> None:
        while len(self._known) > _KEPT:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._reading.pop(oldest, None)
