"""Objects on an API server meet the contract of ``Objects``: on the fake one, and on the real one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from daemon.kube.access import Credentials, Fixed
from daemon.kube.client import ApiClient
from daemon.kube.informer import Informer
from daemon.kube.objects import KubeObjects
from daemon.kube.resources import IMAGE_PULL_JOBS
from daemon.metrics import Metrics
from daemon.objects.images import ImagePullJob
from tests.conformance.objects_contract import DEADLINE, Jobs, ObjectsContract
from tests.fakes.apiserver import FakeApiServer
from tests.testbed.api import Api

NO_COLLECTOR = "kube-controller-manager removes what has lost its owners, and a control plane has none"


def access_to(api: Api) -> Fixed:
    """Access as that user has it."""
    authorization = f"Bearer {api.token}" if api.token else ""
    return Fixed(api.url, Credentials(authorization, api.ssl_context()))


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


class TestApiServer(ObjectsContract):
    """Every expectation, of a real API server with the chart's kinds."""

    @pytest_asyncio.fixture
    async def jobs(self, kinds: Api) -> AsyncIterator[Jobs]:
        async with ApiClient(access_to(kinds), Metrics()) as client, jobs_on(client) as jobs:
            await empty(jobs)
            yield jobs
            await empty(jobs)

    async def test_what_an_object_controls_goes_with_it(self, jobs: Jobs) -> None:
        pytest.skip(NO_COLLECTOR)

    async def test_what_exists_for_several_objects_goes_with_the_last_of_them(self, jobs: Jobs) -> None:
        pytest.skip(NO_COLLECTOR)


async def empty(jobs: Jobs) -> None:
    """Remove what an earlier test left."""
    for job in jobs.list():
        await jobs.delete(job)
