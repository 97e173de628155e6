"""A runtime's extras that do what the test says."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field

from daemon.cri.errors import CriError
from daemon.cri.extras import Capabilities, Ingest

_ALL = Capabilities("bytes", "lease")


@dataclass
class FakeExtras:
    """Progress and pins in memory; ``broken`` is raised by every call."""

    capabilities: Capabilities = _ALL
    fetching: tuple[Ingest, ...] = ()
    whole: set[str] = field(default_factory=set)
    pins: set[str] = field(default_factory=set)
    broken: CriError | None = None
    calls: list[str] = field(default_factory=list)

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.broken is not None:
            raise self.broken

    async def ingests(self) -> tuple[Ingest, ...]:
        """What is being fetched."""
        self._call("ingests")
        return self.fetching

    async def present(self, digests: Collection[str]) -> frozenset[str]:
        """What is there of them."""
        self._call(f"present {' '.join(sorted(digests))}")
        return frozenset(self.whole.intersection(digests))

    async def release(self, digests: Collection[str]) -> None:
        """Drop what is half there."""
        self._call(f"release {' '.join(sorted(digests))}")

    async def pin(self, ref: str) -> None:
        """Pin it."""
        await asyncio.sleep(0)
        self._call(f"pin {ref}")
        self.pins.add(ref)

    async def unpin(self, ref: str) -> None:
        """Unpin it."""
        await asyncio.sleep(0)
        self._call(f"unpin {ref}")
        self.pins.discard(ref)

    async def pinned(self) -> frozenset[str]:
        """What is pinned."""
        self._call("pinned")
        return frozenset(self.pins)
