"""The directory store meets the contract of ``Objects``."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from daemon.engine.clock import SystemClock
from daemon.objects.images import ImagePullJob
from daemon.store.directory import DirectoryStore
from tests.conformance.objects_contract import Jobs, ObjectsContract


class TestDirectoryStore(ObjectsContract):
    """Every expectation, of a state directory on the disk."""

    @pytest_asyncio.fixture
    async def jobs(self, tmp_path: Path) -> AsyncIterator[Jobs]:
        async with DirectoryStore(None, tmp_path, SystemClock()) as store:
            yield store.objects(ImagePullJob)
