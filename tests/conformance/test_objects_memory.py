"""The objects in memory that tests use meet the contract of ``Objects``, so that they teach nothing wrong."""

import pytest

from daemon.objects.images import ImagePullJob
from tests.conformance.objects_contract import Jobs, ObjectsContract
from tests.fakes.clock import FakeClock
from tests.fakes.objects import MemoryStore


class TestMemoryStore(ObjectsContract):
    """Every expectation, of objects in memory."""

    @pytest.fixture
    async def jobs(self) -> Jobs:
        return MemoryStore(FakeClock()).objects(ImagePullJob)
