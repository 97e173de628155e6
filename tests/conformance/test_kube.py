"""Client, informers, leases, elections and events, on the fake API server and on the real one."""

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from daemon.kube.access import Fixed
from daemon.kube.client import ApiClient
from daemon.kube.resources import IMAGE_PULL_JOBS, NODE_IMAGES, Resource
from daemon.metrics import Metrics
from tests.conformance.kube_contract import KubeContract
from tests.conformance.test_objects_kube import access_to
from tests.fakes.apiserver import FakeApiServer
from tests.testbed.api import Api


class TestFakeApiServer(KubeContract):
    """Every expectation, of the fake server with WatchList."""

    @pytest_asyncio.fixture
    async def client(self) -> AsyncIterator[ApiClient]:
        async with FakeApiServer() as server, ApiClient(Fixed(server.url), Metrics()) as client:
            yield client


class TestFakeApiServerWithoutStreaming(KubeContract):
    """Every expectation, of a server whose objects have to be listed."""

    @pytest_asyncio.fixture
    async def client(self) -> AsyncIterator[ApiClient]:
        async with FakeApiServer() as server, ApiClient(Fixed(server.url), Metrics()) as client:
            server.streams = False
            yield client


class TestApiServer(KubeContract):
    """Every expectation, of a real API server with the chart's kinds."""

    @pytest_asyncio.fixture
    async def client(self, kinds: Api) -> AsyncIterator[ApiClient]:
        async with ApiClient(access_to(kinds), Metrics()) as client:
            await empty(client)
            yield client
            await empty(client)


async def empty(client: ApiClient) -> None:
    """Remove what an earlier test left."""
    resources: tuple[Resource[Any], ...] = (IMAGE_PULL_JOBS, NODE_IMAGES)
    for resource in resources:
        for obj in (await client.list(resource)).objects:
            await client.delete(resource, obj.metadata.key)
