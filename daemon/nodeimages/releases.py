"""Drops what a runtime has fetched by halves for pulls that have ended, and leaves other pulls alone."""

import asyncio
import re

import structlog

from daemon.cri.errors import CriError, PullFailedError
from daemon.cri.extras import ImageExtras
from daemon.nodeimages.live import Live
from daemon.nodeimages.plans import Failure

log = structlog.get_logger()

_TIMEOUT = 10.0
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Releases:
    """Tells from the running pulls whose layers are whose."""

    def __init__(self, live: Live) -> None:
        self._live = live

    async def cancelled(self, ref: str, extras: ImageExtras) -> None:
        """Drop what a cancelled pull has left: nobody may ever want the rest."""
        await self._release(ref, self._layers(ref), extras)

    async def spoilt(self, ref: str, failure: Failure, extras: ImageExtras) -> None:
        """Drop wrong bytes: containerd keeps them, and fails on them again without asking the registry."""
        if failure.reason == PullFailedError.reason:
            # A manifest is no layer, and a registry that lies about it tells no layers: the message names it.
            named = frozenset(_DIGEST.findall(failure.message))
            await self._release(ref, self._layers(ref) | named, extras)

    def _layers(self, ref: str) -> frozenset[str]:
        progress = self._live.running.get(ref)
        return frozenset(layer.digest for layer in progress.layers) if progress is not None else frozenset()

    async def _release(self, ref: str, digests: frozenset[str], extras: ImageExtras) -> None:
        others = {digest for other in self._live.running if other != ref for digest in self._layers(other)}
        try:
            async with asyncio.timeout(_TIMEOUT):
                await extras.release(digests - others)
        except (CriError, TimeoutError) as error:
            log.info("half-fetched layers stay", image=ref, error=str(error))
