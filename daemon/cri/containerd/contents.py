"""containerd's content store: blobs that are being fetched, and blobs that are there."""

import asyncio
import re
from collections.abc import Collection, Iterable
from typing import Final

from daemon.cri.channel import Channel
from daemon.cri.containerd.calls import METADATA, TIMEOUT, ask
from daemon.cri.containerd.v1 import content_pb2 as pb
from daemon.cri.containerd.v1.content_grpc import ContentStub
from daemon.cri.errors import CallFailedError, NotFoundError
from daemon.cri.extras import Ingest
from daemon.cri.manifests import LARGEST, Index, Manifest, ManifestError, parse
from daemon.engine.together import together

_DIGEST: Final = re.compile(r"sha(?:256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})(?![0-9a-f])")
_STILL_WRITTEN: Final = "directory not empty"
"""What containerd answers to an abort that meets the end of the writer: ENOTEMPTY, see unlink(2)."""
_CLOSED_IN: Final = 2.0
"""Seconds for a writer to close whose pull has been cancelled."""
_AGAIN_IN: Final = 0.02


def digest_in(ref: str) -> str:
    """The digest of the blob that an ingest's name speaks of; empty when it names none.

    containerd names an ingest ``<kind>-<digest>``, or ``<kind>-<name>@<digest>`` where a descriptor has one,
    with kinds that differ between versions; other writers call theirs as they like.
    """
    found = _DIGEST.findall(ref)
    return found[-1] if found else ""


def ingests_of(statuses: Iterable[pb.Status]) -> tuple[Ingest, ...]:
    """What is being fetched, one entry a blob, the one that is furthest."""
    furthest: dict[str, Ingest] = {}
    for status in statuses:
        digest = digest_in(status.ref)
        done = furthest[digest].done if digest in furthest else -1
        if digest and status.offset > done:
            furthest[digest] = Ingest(digest, status.offset, max(0, status.total))
    return tuple(furthest.values())


class ContentStore:
    """The blobs in containerd's namespace of CRI. All methods raise CriError."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._stub: ContentStub = channel.stub(ContentStub)

    async def ingests(self) -> tuple[Ingest, ...]:
        """List what is being fetched."""
        return ingests_of(await self._statuses())

    async def present(self, digests: Collection[str]) -> frozenset[str]:
        """Ask which of *digests* are whole."""
        # One by one, side by side: a list with filters makes containerd walk the whole store.
        found = await together(self._has(digest) for digest in digests)
        return frozenset(digest for digest, has in zip(digests, found, strict=True) if has)

    async def abort(self, digests: Collection[str]) -> None:
        """Drop what is being fetched of *digests*, whoever fetches it."""
        for status in await self._statuses():
            if digest_in(status.ref) in digests:
                await self._abort(status.ref)

    async def read(self, digest: str) -> bytes:
        """Read a whole small blob. Raises ManifestError when it is not small."""
        if await self._size(digest) > LARGEST:
            raise ManifestError(f"{digest} is larger than {LARGEST} bytes")
        request = pb.ReadContentRequest(digest=digest)
        replies = await self._channel.collect(self._stub.Read, request, timeout=TIMEOUT, metadata=METADATA)
        return b"".join(reply.data for reply in sorted(replies, key=lambda reply: reply.offset))

    async def parsed(self, digest: str) -> Index | Manifest:
        """Read an index or a manifest. Raises ManifestError."""
        return parse(await self.read(digest))

    async def _statuses(self) -> Iterable[pb.Status]:
        request = pb.ListStatusesRequest()
        return (await ask(self._channel, self._stub.ListStatuses, request)).statuses

    async def _abort(self, ref: str) -> None:
        """Drop one ingest, also while its last writer is closing, which puts files where we remove them."""
        loop = asyncio.get_running_loop()
        request, deadline = pb.AbortRequest(ref=ref), loop.time() + _CLOSED_IN
        while True:
            try:
                await ask(self._channel, self._stub.Abort, request)
            except NotFoundError:
                return  # It ended meanwhile.
            except CallFailedError as error:
                if _STILL_WRITTEN not in error.text or loop.time() > deadline:
                    raise
            else:
                return
            await asyncio.sleep(_AGAIN_IN)

    async def _has(self, digest: str) -> bool:
        try:
            await self._size(digest)
        except NotFoundError:
            return False
        return True

    async def _size(self, digest: str) -> int:
        request = pb.InfoRequest(digest=digest)
        reply = await ask(self._channel, self._stub.Info, request)
        return reply.info.size
