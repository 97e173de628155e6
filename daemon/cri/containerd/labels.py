"""Pins by label: what containerd's CRI plugin reports as pinned, and so the kubelet leaves alone."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from google.protobuf.field_mask_pb2 import FieldMask

from daemon import names
from daemon.cri.channel import Channel
from daemon.cri.containerd.calls import ask
from daemon.cri.containerd.owners import Owners, owners_in
from daemon.cri.containerd.v1 import images_pb2 as pb
from daemon.cri.containerd.v1.images_grpc import ImagesStub
from daemon.cri.errors import NotFoundError
from daemon.cri.types import Image

_OURS: Final = f'labels."{names.PIN_OWNER_LABEL}"'
"""A filter that matches the records with our label, whatever its value."""


class LabelPins:
    """Our labels on containerd's image records. All methods raise CriError.

    An image has one record a name: each tag, each repository digest, and its id. CRI pins an image when one
    of them has the label. The id's is the one to use: a pull of the same tag replaces the labels of the tag's
    record, and may point it at another image.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._stub: ImagesStub = channel.stub(ImagesStub)
        self._writing = asyncio.Lock()  # Owners are read, changed and written back.

    async def pin(self, ref: str, image: Image) -> None:
        """Pin *image* for *ref*, and nothing else for it. An image that is gone is no error."""
        async with self._writing:
            record = await self._record(image)
            kept = record.name if record is not None else ""
            await self._leave(ref, (each for each in await self._ours() if each.name != kept))
            if record is not None:
                await self._join(ref, record)

    async def unpin(self, ref: str) -> None:
        """Undo the pin for *ref*. Idempotent."""
        async with self._writing:
            await self._leave(ref, await self._ours())

    async def pinned(self) -> frozenset[str]:
        """The references with a pin of ours."""
        return frozenset().union(*(_owners(record).refs for record in await self._ours()))

    async def target(self, image: Image) -> str | None:
        """Find the digest of the index or manifest of *image*; None when the image is gone."""
        record = await self._record(image)
        return record.target.digest if record is not None else None

    async def _record(self, image: Image) -> pb.Image | None:
        # Only images that another tool brought have no record by id, and those only for a moment.
        for name in (image.id, *image.repo_tags, *image.repo_digests):
            try:
                request = pb.GetImageRequest(name=name)
                reply = await ask(self._channel, self._stub.Get, request)
            except NotFoundError:
                continue
            return reply.image
        return None

    async def _ours(self) -> Iterable[pb.Image]:
        request = pb.ListImagesRequest(filters=[_OURS])
        reply = await ask(self._channel, self._stub.List, request)
        return reply.images

    async def _join(self, ref: str, record: pb.Image) -> None:
        owners = _owners(record)
        pinned = record.labels.get(names.PINNED_LABEL) == names.PINNED_VALUE
        if ref in owners.refs and pinned:
            return
        joined = owners.joined_by(ref) if owners.refs else Owners(frozenset({ref}), shared=pinned)
        labels = {names.PIN_OWNER_LABEL: str(joined), names.PINNED_LABEL: names.PINNED_VALUE}
        await self._label(record, labels)

    async def _leave(self, ref: str, records: Iterable[pb.Image]) -> None:
        for record in records:
            owners = _owners(record)
            if ref not in owners.refs:
                continue
            left = owners.left_by(ref)
            labels = {names.PIN_OWNER_LABEL: str(left)}
            if not left.refs and not owners.shared:
                labels[names.PINNED_LABEL] = ""
            await self._label(record, labels)

    async def _label(self, record: pb.Image, labels: Mapping[str, str]) -> None:
        """Set *labels* in one step and leave all others; an empty value removes one."""
        mask = FieldMask(paths=[f"labels.{key}" for key in labels])
        # The mask keeps the target as it is, but containerd 2.3 panics, as a whole, on a request without one.
        image = pb.Image(name=record.name, labels=labels, target=record.target)
        request = pb.UpdateImageRequest(image=image, update_mask=mask)
        try:
            await ask(self._channel, self._stub.Update, request)
        except NotFoundError:
            return  # The image was removed meanwhile, its labels with it.


def _owners(record: pb.Image) -> Owners:
    return owners_in(record.labels.get(names.PIN_OWNER_LABEL, ""))
