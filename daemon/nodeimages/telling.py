"""Says as events what became of pulls: on the node's NodeImage, and failures on the jobs that asked."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Literal

import msgspec

from daemon.nodeimages.pulling import remedy_for
from daemon.nodeimages.statuses import ended, moves
from daemon.objects.images import ImageTagStatus, NodeImage, NodeImageStatus
from daemon.objects.meta import OwnerReference
from daemon.objects.references import join

GATHER = 1.0
"""Seconds in which ends are gathered into one event."""
_LONGEST_GATHER = 10.0
"""The same while more ends may follow soon: of a node that pulls twenty images, the event can wait."""
_SHOWN = 5
"""Images that one event names."""
_LONGEST = 400
"""Characters of one failure's message."""
_NOTE = 1024
"""Bytes that the API server takes as a note."""


class Saying(msgspec.Struct, frozen=True):
    """One event to be recorded. *about* is None for the NodeImage itself."""

    about: OwnerReference | None
    type: Literal["Normal", "Warning"]
    reason: Literal["Pulled", "PullFailed"]
    note: str


class _Heap(msgspec.Struct):
    """What ended and was not said yet."""

    pulled: list[str] = []
    failed: list[tuple[str, Sequence[OwnerReference]]] = []


class Telling:
    """Gathers what ended and has it said. ``run`` must be running."""

    def __init__(self, say: Callable[[NodeImage, Saying], None]) -> None:
        self._say = say
        self._heap = _Heap()
        self._node_image: NodeImage | None = None
        self._some = asyncio.Event()
        self._ripe = asyncio.Event()
        """Set when nothing may follow soon, or something failed."""

    def on_told(self, stored: NodeImage, before: NodeImageStatus) -> None:
        """Learn of a status that was written, and of the one before."""
        for name, tag in ended(before, stored.status):
            if tag.phase == "Succeeded":
                self._heap.pulled.append(_pulled(name, tag))
            else:
                self._heap.failed.append((_failed(name, tag), _owners(stored, name, tag.tag)))
            self._node_image = stored
            self._some.set()
        if self._heap.failed or not moves(stored.status):
            self._ripe.set()
        else:
            self._ripe.clear()

    async def run(self) -> None:
        """Say it, some time after the first of several ends, until cancelled."""
        while True:
            await self._some.wait()
            await asyncio.sleep(GATHER)  # an event for each of many pulls would be many writes
            with suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_GATHER - GATHER):
                    await self._ripe.wait()
            self._some.clear()
            heap, self._heap = self._heap, _Heap()
            assert self._node_image is not None
            for saying in sayings(heap.pulled, heap.failed):
                self._say(self._node_image, saying)


def sayings(
    pulled: Sequence[str], failed: Sequence[tuple[str, Sequence[OwnerReference]]]
) -> Iterable[Saying]:
    """As few events as say it all."""
    if pulled:
        yield Saying(None, "Normal", "Pulled", f"Pulled {_listed(pulled)}")
    if failed:
        yield Saying(None, "Warning", "PullFailed", _listed([note for note, _ in failed], "; "))
    for owner, notes in _by_owner(failed).items():
        yield Saying(owner, "Warning", "PullFailed", _listed(notes, "; "))


def _by_owner(
    failed: Iterable[tuple[str, Sequence[OwnerReference]]],
) -> Mapping[OwnerReference, Sequence[str]]:
    notes: dict[OwnerReference, list[str]] = {}
    for note, owners in failed:
        for owner in owners:
            notes.setdefault(owner, []).append(note)
    return notes


def _owners(stored: NodeImage, name: str, tag: str) -> Sequence[OwnerReference]:
    entry = stored.spec.images.get(name)
    return next((each.owner_references for each in entry.tags if each.tag == tag), ()) if entry else ()


def _pulled(name: str, tag: ImageTagStatus) -> str:
    if tag.start_time is None or tag.completion_time is None:
        return f"{join(name, tag.tag)} (was present)"
    return f"{join(name, tag.tag)} (in {(tag.completion_time - tag.start_time).total_seconds():.0f} s)"


def _failed(name: str, tag: ImageTagStatus) -> str:
    said = ": ".join(part for part in (tag.reason, tag.message[:_LONGEST]) if part)
    attempts = f" after {tag.failures} attempts" if tag.failures > 1 else ""
    remedy = f". {remedy_for(tag.reason)}" if remedy_for(tag.reason) else ""
    return f"{join(name, tag.tag)}: {said}{attempts}{remedy}"


def _listed(items: Sequence[str], between: str = ", ") -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    room = _NOTE - len("Pulled ") - len(more)
    text = between.join(items[:_SHOWN]).encode()
    return (text if len(text) <= room else text[: room - 3] + b"...").decode(errors="ignore") + more
