"""Clusters as pytest fixtures: one for all tests that change nothing for others, and new ones to be broken.

Objects of the shared ones need names of their own, as tests run on the same API server one after another.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio

from tests.testbed.accounts import existing_api
from tests.testbed.api import Api
from tests.testbed.cluster import Cluster
from tests.testbed.containerd import Flavour
from tests.testbed.control_plane import ControlPlane
from tests.testbed.product import Installation, push_product
from tests.testbed.pushing import Image
from tests.testbed.session import DIRECTORY_VARIABLE, Session

KUBECONFIG_VARIABLE = "KUBECONFIG"


class MakeCluster(Protocol):
    """Starts a cluster that is stopped and removed after the test."""

    def __call__(
        self, flavour: Flavour = "1.6", *, kubelet_settings: Mapping[str, Any] | None = None
    ) -> Awaitable[Cluster]: ...


class MakeControlPlane(Protocol):
    """Starts a control plane that is stopped and removed after the test. Flags are with _ for -."""

    def __call__(self, **flags: str) -> Awaitable[ControlPlane]: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = {"control_plane", "make_control_plane", "cluster", "make_cluster", "installed"}
    for item in items:
        if ours.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.integration)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def control_plane(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    """An administrator's access to a real API server without a node, which all tests share.

    Outside of the test bed's namespaces it is the cluster of $KUBECONFIG, when that is set.
    """
    if DIRECTORY_VARIABLE not in os.environ and os.environ.get(KUBECONFIG_VARIABLE):
        yield await existing_api(tmp_path_factory.mktemp("kubeconfig"))
        return
    testbed: Session = request.getfixturevalue("testbed")
    async for started in _control_plane(ControlPlane(testbed.new_directory("k"))):
        yield started.api


@pytest_asyncio.fixture
async def make_control_plane(testbed: Session) -> AsyncIterator[MakeControlPlane]:
    """Starts control planes for this test alone, to be stopped, restarted or set up otherwise."""
    made: list[ControlPlane] = []

    async def make(**flags: str) -> ControlPlane:
        named = {name.replace("_", "-"): value for name, value in flags.items()}
        made.append(new := ControlPlane(testbed.new_directory("k"), flags=named))
        await new.start()
        return new

    try:
        yield make
    finally:
        for started in made:
            await started.stop()
            started.remove()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster(testbed: Session) -> AsyncIterator[Cluster]:
    """A whole cluster of one node, which tests share: do not stop anything of it."""
    started = Cluster(testbed.new_directory("k"))
    try:
        await started.start()
        yield started
    finally:
        await started.stop()
        started.remove()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def product_image(cluster: Cluster) -> Image:
    """The project's image in the registry of the shared cluster, built of the checkout."""
    return await push_product(cluster)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def installed(testbed: Session) -> AsyncIterator[Installation]:
    """The project in a cluster, as its image and its Helm chart are in the checkout.

    Not in the shared cluster: tests there play agents and controllers, or need that there is none.
    """
    async with installation(testbed) as release:
        yield release


@asynccontextmanager
async def installation(
    testbed: Session, *, kubelet_settings: Mapping[str, Any] | None = None
) -> AsyncIterator[Installation]:
    """The project in a cluster of one's own."""
    cluster = Cluster(testbed.new_directory("k"), kubelet_settings=kubelet_settings or {})
    try:
        await cluster.start()
        release = Installation(cluster, await push_product(cluster))
        await release.install()
        yield release
    finally:
        await cluster.stop()
        cluster.remove()


@pytest_asyncio.fixture
async def make_cluster(testbed: Session) -> AsyncIterator[MakeCluster]:
    """Starts clusters for this test alone, to be broken."""
    made: list[Cluster] = []

    async def make(flavour: Flavour = "1.6", *, kubelet_settings: Mapping[str, Any] | None = None) -> Cluster:
        made.append(new := Cluster(testbed.new_directory("k"), flavour, kubelet_settings or {}))
        await new.start()
        return new

    try:
        yield make
    finally:
        for started in made:
            await started.stop()
            started.remove()


@pytest.fixture
def kubeconfig(control_plane: Api) -> Path:
    """The administrator's, for programs."""
    return control_plane.kubeconfig


async def _control_plane(control_plane: ControlPlane) -> AsyncIterator[ControlPlane]:
    await control_plane.start()
    try:
        yield control_plane
    finally:
        await control_plane.stop()
        control_plane.remove()
