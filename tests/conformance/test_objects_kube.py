"""Objects on an API server meet the contract of ``Objects``: on the fake one, and on the real one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest_asyncio

from daemon.kube.access import Fixed
from daemon.kube.client import ApiClient
from daemon.kube.informer import Informer
from daemon.kube.objects import KubeObjects
from daemon.kube.resources import IMAGE_PULL_JOBS
from daemon.metrics import Metrics
from daemon.objects.images import ImagePullJob
from tests.conformance.objects_contract import DEADLINE, Jobs, ObjectsContract
from tests.fakes.apiserver import FakeApiServer


@asynccontextmanager
async def jobs_on(client: ApiClient) -> AsyncIterator[KubeObjects[ImagePullJob]]:
    """The ImagePullJobs behind *client*, followed."""
    informer = Informer(client, IMAGE_PULL_JOBS, Metrics())
    following = asyncio.create_task(informer.run())
    try:
        async with asyncio.timeout(DEADLINE):
            await informer.synced()
        yield KubeObjects(client, informer)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


class TestFakeApiServer(ObjectsContract):
    """Every expectation, of the fake server with WatchList."""

    @pytest_asyncio.fixture
    async def jobs(self) -> AsyncIterator[Jobs]:
        async with (
            FakeApiServer() as server,
            ApiClient(Fixed(server.url), Metrics()) as client,
            jobs_on(client) as jobs,
        ):
            yield jobs


class TestFakeApiServerWithoutStreaming(ObjectsContract):
    """Every expectation, of a server whose objects have to be listed."""

    @pytest_asyncio.fixture
    async def jobs(self) -> AsyncIterator[Jobs]:
        async with FakeApiServer() as server, ApiClient(Fixed(server.url), Metrics()) as client:
            server.streams = False
            async with jobs_on(client) as jobs:
                yield jobs
