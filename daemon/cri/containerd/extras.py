"""Progress and pins on containerd, which serves its own API beside CRI on the same socket."""

import asyncio
import re
from collections.abc import Collection
from typing import Final, Literal

from daemon.cri.channel import Channel
from daemon.cri.client import CriClient
from daemon.cri.containerd.contents import ContentStore
from daemon.cri.containerd.holdings import holdings, snapshotter_of
from daemon.cri.containerd.labels import LabelPins
from daemon.cri.containerd.leases import LeasePins
from daemon.cri.errors import UnsupportedError
from daemon.cri.extras import Capabilities, ImageExtras, Ingest, PhasesOnly
from daemon.cri.types import Image

PinKind = Literal["label", "lease"]

_NAME: Final = "containerd"
_FIRST_WITH_LABEL: Final = (1, 7)
"""The release from which on CRI is expected to report the label; the first pin shows whether it does."""
_REPORTED_IN: Final = {"label": 2.0, "lease": 0.25}
"""Seconds for CRI to report a label, of which an event tells it, by what the version lets expect."""
_LOOK_EVERY: Final = 0.01


async def connect_extras(channel: Channel, runtime_name: str, runtime_version: str) -> ImageExtras:
    """Find out what the runtime behind *channel* can do beyond CRI. Raises CriError."""
    contents = ContentStore(channel)
    try:
        await contents.ingests()
    except UnsupportedError:
        return PhasesOnly()
    return ContainerdExtras(channel, contents, expected_pins(runtime_name, runtime_version))


def expected_pins(runtime_name: str, runtime_version: str) -> PinKind:
    """How this version of a runtime should pin. Versions look like "1.6.20~ds1", "v2.3.7", "1.7.11-k3s2"."""
    found = re.match(r"v?(\d+)\.(\d+)", runtime_version)
    if runtime_name != _NAME or found is None:
        return "lease"
    return "label" if (int(found[1]), int(found[2])) >= _FIRST_WITH_LABEL else "lease"


class ContainerdExtras:
    """The extras of one connection to containerd.

    Whether pins by label work is seen at the first pin, by asking CRI whether it reports the image as pinned.
    """

    def __init__(self, channel: Channel, contents: ContentStore, expected: PinKind) -> None:
        self._cri = CriClient(channel)
        self._contents = contents
        self._labels = LabelPins(channel)
        self._leases = LeasePins(channel)
        self._expected: PinKind = expected
        self._seen: PinKind | None = None

    @property
    def capabilities(self) -> Capabilities:
        """Bytes and pins; before the first pin, how pins work is told by the version."""
        return Capabilities(progress="bytes", pins=self._seen or self._expected)

    async def ingests(self) -> tuple[Ingest, ...]:
        """List the blobs being fetched now, by anybody."""
        return await self._contents.ingests()

    async def present(self, digests: Collection[str]) -> frozenset[str]:
        """Ask which of *digests* are whole in the content store."""
        return await self._contents.present(digests)

    async def release(self, digests: Collection[str]) -> None:
        """Drop half-fetched blobs. Leave out those that other running pulls want: theirs would fail."""
        await self._contents.abort(digests)

    async def pin(self, ref: str) -> None:
        """Protect the image that *ref* names now, and no other for it. Idempotent, also when it is gone."""
        image = await self._cri.image_status(ref)
        if image is None:
            return
        if self._seen != "lease" and await self._pin_by_label(ref, image):
            await self._leases.unpin(ref)  # Left by a containerd from before an upgrade.
        else:
            await self._pin_by_lease(ref, image)

    async def unpin(self, ref: str) -> None:
        """Undo our pin of *ref*, however it was made. Idempotent, also when the image is gone."""
        await self._labels.unpin(ref)
        # Nothing else would make containerd collect what only the lease kept.
        gone = await self._cri.image_status(ref) is None
        await self._leases.unpin(ref, collect=gone)

    async def pinned(self) -> frozenset[str]:
        """List the references that we pinned and have not unpinned."""
        labels, leases = await self._labels.pinned(), await self._leases.pinned()
        if (self._seen or self._expected) == "label":
            return labels | leases
        # A process that ended while it tried a label has left it behind, and it protects nothing.
        for ref in labels:
            await self._labels.unpin(ref)
        return leases

    async def _pin_by_label(self, ref: str, image: Image) -> bool:
        await self._labels.pin(ref, image)
        reported = await self._reported(image.id)
        if reported is None:
            return True  # It was removed meanwhile, its label with it.
        self._seen = "label" if reported else "lease"
        if not reported:
            await self._labels.unpin(ref)
        return reported

    async def _reported(self, image_id: str) -> bool | None:
        """Whether CRI comes to report the image as pinned; None when the image is gone."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _REPORTED_IN[self._seen or self._expected]
        while True:
            image = await self._cri.image_status(image_id)
            if image is None or image.pinned or loop.time() > deadline:
                return None if image is None else image.pinned
            await asyncio.sleep(_LOOK_EVERY)

    async def _pin_by_lease(self, ref: str, image: Image) -> None:
        target = await self._labels.target(image)
        if target is not None:  # Else it was removed meanwhile.
            snapshotter = snapshotter_of(await self._cri.image_fs_info())
            await self._leases.pin(ref, await holdings(self._contents, target, image.id, snapshotter))
