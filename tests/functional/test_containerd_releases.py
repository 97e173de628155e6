"""Half-fetched blobs are dropped, also while their last writer is closing, against a fake containerd."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from daemon.cri.channel import Channel
from daemon.cri.containerd.contents import ContentStore
from daemon.cri.errors import CallFailedError
from tests.fakes.containerd import Served, serving_containerd
from tests.fakes.holdings import digest_of

LAYER = digest_of("layer")
STILL_WRITTEN = "unlinkat /var/lib/containerd/ingest/1f0: directory not empty"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """Has one blob that is half-fetched."""
    async with serving_containerd(tmp_path / "cri.sock") as started:
        started.containerd.fetch(f"layer-{LAYER}", 30, 100)
        yield started


@pytest.fixture
async def store(served: Served) -> AsyncIterator[ContentStore]:
    async with Channel(str(served.runtime.path)) as channel:
        yield ContentStore(channel)


def refuse(served: Served, times: Iterator[int], text: str) -> None:
    """Let aborts fail with *text* as often as there is something in *times*."""

    def answer() -> None:
        if next(times, None) is not None:
            raise GRPCError(Status.UNKNOWN, text)

    served.containerd.before["Content.Abort"] = answer


async def test_a_blob_whose_writer_is_still_closing_is_dropped_a_moment_later(
    served: Served, store: ContentStore
) -> None:
    refuse(served, iter(range(3)), STILL_WRITTEN)

    await store.abort([LAYER])

    assert served.containerd.calls.count("Content.Abort") == 4
    assert served.containerd.ingests == {}


async def test_a_blob_whose_writer_never_closes_is_an_error_in_the_end(
    served: Served, store: ContentStore
) -> None:
    refuse(served, itertools.count(), STILL_WRITTEN)

    async with asyncio.timeout(10.0):
        with pytest.raises(CallFailedError, match="directory not empty"):
            await store.abort([LAYER])

    assert served.containerd.calls.count("Content.Abort") > 2


async def test_another_failure_is_an_error_at_once(served: Served, store: ContentStore) -> None:
    refuse(served, itertools.count(), "unlinkat /var/lib/containerd: read-only file system")

    with pytest.raises(CallFailedError, match="read-only"):
        await store.abort([LAYER])

    assert served.containerd.calls.count("Content.Abort") == 1
