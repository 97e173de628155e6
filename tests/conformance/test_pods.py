"""Pods as updates in place change them, on the fake API server and on the real one."""

from collections.abc import AsyncIterator

import pytest_asyncio

from daemon.kube.access import Fixed
from daemon.kube.client import ApiClient
from daemon.metrics import Metrics
from tests.conformance.pod_contract import DOCUMENT, WEB, PodContract
from tests.conformance.test_objects_kube import access_to
from tests.fakes.apiserver import FakeApiServer
from tests.testbed.api import Api

PODS = f"/api/v1/namespaces/{WEB.namespace}/pods"


class TestFakeApiServer(PodContract):
    """Every expectation, of the fake server."""

    @pytest_asyncio.fixture
    async def client(self) -> AsyncIterator[ApiClient]:
        async with FakeApiServer() as server, ApiClient(Fixed(server.url), Metrics()) as client:
            server.store("pods", DOCUMENT)
            yield client


class TestApiServer(PodContract):
    """Every expectation, of a real API server; no kubelet looks at the pod."""

    @pytest_asyncio.fixture
    async def client(self, kinds: Api) -> AsyncIterator[ApiClient]:
        accounts = f"/api/v1/namespaces/{WEB.namespace}/serviceaccounts"
        await kinds.create_if_missing(accounts, {"metadata": {"name": "default"}})
        await kinds.request("POST", PODS, DOCUMENT)
        async with ApiClient(access_to(kinds), Metrics()) as client:
            yield client
        await kinds.request("DELETE", f"{PODS}/{WEB.name}", {"gracePeriodSeconds": 0})
