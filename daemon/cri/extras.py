"""What CRI lacks: progress of a running pull, and protection of images against garbage collection.

One interface, whatever the runtime can do. ``PhasesOnly`` is what a runtime gets of which nothing is known.
"""

from collections.abc import Collection
from typing import Literal, Protocol

import msgspec


class Capabilities(msgspec.Struct, frozen=True):
    """What this runtime can tell and do beyond CRI."""

    progress: Literal["bytes", "phases"] = "phases"
    pins: Literal["label", "lease", "none"] = "none"


class Ingest(msgspec.Struct, frozen=True):
    """A blob that the runtime is fetching right now. Sizes are bytes; total is 0 while unknown."""

    digest: str
    done: int
    total: int


class Blob(msgspec.Struct, frozen=True):
    """One blob of an image: digest and compressed size in bytes."""

    digest: str
    size: int


class ImageExtras(Protocol):
    """Progress and pins. All methods raise CriError when the runtime fails them."""

    @property
    def capabilities(self) -> Capabilities:
        """What the other methods can do here."""
        ...

    async def ingests(self) -> tuple[Ingest, ...]:
        """The blobs being fetched now, by anybody. Empty where progress is 'phases'."""
        ...

    async def present(self, digests: Collection[str]) -> frozenset[str]:
        """Those of *digests* that are whole in the runtime's content store. Empty where unknown."""
        ...

    async def release(self, digests: Collection[str]) -> None:
        """Drop half-fetched blobs with these digests. Whole ones stay."""
        ...

    async def pin(self, ref: str) -> None:
        """Protect image *ref* (as given to CRI) against garbage collection. Idempotent."""
        ...

    async def unpin(self, ref: str) -> None:
        """Undo our pin of *ref*; what others pinned stays. Idempotent, also when the image is gone."""
        ...

    async def pinned(self) -> frozenset[str]:
        """References that we pinned and have not unpinned."""
        ...


class PhasesOnly:
    """The extras of a runtime that offers none."""

    @property
    def capabilities(self) -> Capabilities:
        """Nothing."""
        return Capabilities()

    async def ingests(self) -> tuple[Ingest, ...]:
        """Unknown."""
        return ()

    async def present(self, digests: Collection[str]) -> frozenset[str]:
        """Unknown."""
        return frozenset()

    async def release(self, digests: Collection[str]) -> None:
        """Nothing to do."""

    async def pin(self, ref: str) -> None:
        """Not possible."""

    async def unpin(self, ref: str) -> None:
        """Nothing to do."""

    async def pinned(self) -> frozenset[str]:
        """None."""
        return frozenset()
