"""How far a pull is: the layers that are wanted, and what was seen of them so far. Pure.

A pull is looked at now and then while it runs. Each look is a ``Sighting``: ``begin`` takes the first one,
before the runtime is asked to pull, ``observe`` each later one; ``finish`` says that the pull succeeded.
Bytes and percent never go backwards, and 100 % means that the pull has ended.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from daemon.cri.extras import Blob, Ingest

LayerState = Literal["waiting", "fetching", "fetched", "reused"]
Phase = Literal["Pulling", "Unpacking", "Ended"]

HALF_LIFE: Final = 2.0
"""Seconds after which what was seen counts half in the rate."""
_ALMOST: Final = 99
"""Percent of a pull of which all bytes are there: the runtime still has to unpack them."""
_SLOWEST: Final = 1.0
"""Bytes a second below which nobody can say when a pull ends."""


class Layer(msgspec.Struct, frozen=True):
    """One layer of a pull. Sizes are bytes; size is 0 while unknown."""

    digest: str
    size: int
    done: int = 0
    state: LayerState = "waiting"

    @property
    def whole(self) -> bool:
        """Whether there is nothing left to fetch of it."""
        return self.state in {"fetched", "reused"}


class Sighting(msgspec.Struct, frozen=True):
    """One look at the runtime. ``at`` is monotonic seconds."""

    at: float
    ingests: tuple[Ingest, ...] = ()
    present: frozenset[str] = frozenset()
    """Digests that are whole on the node; at least the answer to ``unsure``."""
    claimed: frozenset[str] = frozenset()
    """What other running pulls ``claim``. Only matters while the layers are unknown."""


class Progress(msgspec.Struct, frozen=True):
    """How far one pull is."""

    layers: tuple[Layer, ...]
    known: bool
    """Whether the layers are the image's own; else they are those seen being fetched for nobody else."""
    began: float
    at: float
    percent: int = 0
    ended: bool = False
    smoothed: float = 0.0
    """The rate before its correction for the time before the pull, in which nothing was fetched."""
    before: Mapping[str, int] = {}
    """Ingests that were there before the pull: somebody else's, or left over, unless they grow."""

    @property
    def total(self) -> int:
        """Bytes to fetch in this pull, without what is reused."""
        return sum(max(layer.size, layer.done) for layer in self.layers if layer.state != "reused")

    @property
    def done(self) -> int:
        """Bytes fetched so far, whoever fetched them."""
        return sum(layer.done for layer in self.layers if layer.state != "reused")

    @property
    def reused(self) -> int:
        """Bytes in layers that were on the node before."""
        return sum(layer.size for layer in self.layers if layer.state == "reused")

    @property
    def rate(self) -> float:
        """Bytes a second, smoothed."""
        weight = 1.0 - _faded(self.at - self.began)
        return self.smoothed / weight if weight > 0.0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Until all bytes are there; None when that cannot be said."""
        if not self.known or self.phase != "Pulling" or self.rate < _SLOWEST:
            return None
        return (self.total - self.done) / self.rate

    @property
    def phase(self) -> Phase:
        """Unpacking when all bytes are there and the pull goes on."""
        if self.ended:
            return "Ended"
        return "Unpacking" if self.known and all(layer.whole for layer in self.layers) else "Pulling"


def begin(layers: Sequence[Blob] | None, seen: Sighting) -> Progress:
    """The progress of a pull that is about to start; *layers* is None when they are not known."""
    before = {ingest.digest: ingest.done for ingest in seen.ingests}
    start = Progress((), known=False, began=seen.at, at=seen.at, before=before)
    return start if layers is None else learn(start, layers, seen)


def learn(progress: Progress, layers: Sequence[Blob], seen: Sighting) -> Progress:
    """The same pull, now that its layers are known. What is present but was not seen fetched is reused."""
    fetched = {layer.digest: layer for layer in progress.layers}
    sizes = {blob.digest: blob.size for blob in layers}
    known = tuple(_learned(fetched.get(digest), digest, size, seen) for digest, size in sizes.items())
    return _with_percent(replace(progress, layers=known, known=True))


def observe(progress: Progress, seen: Sighting) -> Progress:
    """The same pull at a later look."""
    if progress.ended:
        return progress
    ingests = {ingest.digest: ingest for ingest in seen.ingests}
    layers = tuple(_advanced(layer, ingests.get(layer.digest), seen.present) for layer in progress.layers)
    after = replace(progress, layers=(*layers, *_adopted(progress, seen)))
    return _with_percent(_timed(progress, after, seen.at))


def finish(progress: Progress) -> Progress:
    """The pull succeeded, so every layer is there."""
    layers = tuple(_fetched(layer) for layer in progress.layers)
    return replace(progress, layers=layers, percent=100, ended=True)


def unsure(progress: Progress, ingests: Iterable[Ingest]) -> frozenset[str]:
    """Digests that may be whole by now: fetched between two looks, or no longer being fetched."""
    waiting = {layer.digest for layer in progress.layers if not layer.whole}
    return frozenset(waiting - {ingest.digest for ingest in ingests})


def claims(progresses: Iterable[Progress]) -> frozenset[str]:
    """Digests that these pulls know to be theirs."""
    return frozenset(layer.digest for progress in progresses if progress.known for layer in progress.layers)


def _learned(known: Layer | None, digest: str, size: int, seen: Sighting) -> Layer:
    if known is not None and known.state != "waiting":
        return replace(known, size=size, done=size if known.whole else min(known.done, size))
    if digest in seen.present:
        return Layer(digest, size, state="reused")
    ingest = next((ingest for ingest in seen.ingests if ingest.digest == digest), None)
    return _advanced(Layer(digest, size), ingest, seen.present)


def _advanced(layer: Layer, ingest: Ingest | None, present: Collection[str]) -> Layer:
    if layer.whole:
        return layer
    if layer.digest in present:
        return _fetched(layer)
    if ingest is None:
        return layer
    size = layer.size or ingest.total
    done = max(layer.done, min(ingest.done, size) if size else ingest.done)
    return Layer(layer.digest, size, done, "fetching")


def _fetched(layer: Layer) -> Layer:
    if layer.whole:
        return layer
    size = max(layer.size, layer.done)
    return Layer(layer.digest, size, size, "fetched")


def _adopted(progress: Progress, seen: Sighting) -> Iterable[Layer]:
    """What is being fetched for nobody else, for as long as the pull's own layers are unknown."""
    if progress.known:
        return
    ours = {layer.digest for layer in progress.layers}
    for ingest in seen.ingests:
        grows = ingest.done > progress.before.get(ingest.digest, -1)
        if grows and ingest.digest not in ours and ingest.digest not in seen.claimed:
            ours.add(ingest.digest)
            yield _advanced(Layer(ingest.digest, ingest.total), ingest, seen.present)


def _timed(before: Progress, after: Progress, at: float) -> Progress:
    seconds = at - before.at
    if seconds <= 0.0:
        return after
    faded = _faded(seconds)
    gained = max(0, after.done - before.done)
    return replace(after, at=at, smoothed=before.smoothed * faded + gained / seconds * (1.0 - faded))


def _faded(seconds: float) -> float:
    return float(0.5 ** (seconds / HALF_LIFE))


def _with_percent(progress: Progress) -> Progress:
    if progress.phase == "Unpacking":
        return replace(progress, percent=_ALMOST)
    sized = [layer for layer in progress.layers if layer.size and layer.state != "reused"]
    done, total = sum(layer.done for layer in sized), sum(layer.size for layer in sized)
    percent = 100 * done // total if total else 0
    return replace(progress, percent=max(progress.percent, min(percent, _ALMOST)))
