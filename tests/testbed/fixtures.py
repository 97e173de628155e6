"""The test bed as pytest fixtures: a thin layer, so that demo and bench use the same classes without pytest.

Servers of the session are shared and each test has image names of its own; what a test kills or fills it has
for itself (``own_containerd``, ``make_containerd``). Tests that use any of these are marked ``integration``.
"""

import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Generator
from typing import Final, Protocol

import pytest
import pytest_asyncio

from tests.testbed.agent import Agent
from tests.testbed.certificates import Certificates, make_certificates
from tests.testbed.containerd import FLAVOURS, Containerd, Flavour
from tests.testbed.faulty import FaultyRegistry
from tests.testbed.pods import Pods
from tests.testbed.pushing import ImageMaker
from tests.testbed.registry import Registry
from tests.testbed.session import HOST_NAME, Session, TestbedError, current_session
from tests.testbed.witness import Witness

USERNAME: Final = "tester"
PASSWORD: Final = "correct horse"

QUICK: Final = {
    "pull_backoff": "0.05",
    "pull_backoff_max": "0.2",
    "space_retry": "0.2",
    "progress_interval": "0.1",
    "status_interval": "0.5",
}
"""Settings under which failures repeat within a test's patience."""

_numbers = itertools.count(1)
_running: dict[Containerd, int] = {}
"""Containerds that a failing test shows the log of, from which byte on."""


class MakeContainerd(Protocol):
    """Starts a containerd that is stopped and removed after the test."""

    def __call__(self, flavour: Flavour, *, disk_size: int | None = None) -> Awaitable[Containerd]: ...


class MakeAgent(Protocol):
    """Starts an agent, quick to retry, that is stopped after the test. Settings are flags with _ for -."""

    def __call__(self, *containerds: Containerd, **settings: str) -> Awaitable[Agent]: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "testbed" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.integration)


def pytest_runtest_setup() -> None:
    for containerd in _running:
        _running[containerd] = containerd.log.stat().st_size


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for containerd, offset in _running.items():
            title = f"log of containerd {containerd.flavour}"
            report.sections.append((title, containerd.log_since(offset)))
    return report


@pytest.fixture(scope="session")
def testbed() -> Session:
    """The namespaces; fails the test outside of them rather than touch the machine."""
    try:
        return current_session()
    except TestbedError as error:
        reason = str(error)
    pytest.fail(reason, pytrace=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def registry(testbed: Session) -> AsyncIterator[Registry]:
    """Plain HTTP, open to everybody."""
    async for started in _registry(Registry(testbed.new_directory("r"))):
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def private_registry(testbed: Session) -> AsyncIterator[Registry]:
    """Plain HTTP, basic auth with USERNAME and PASSWORD."""
    settings = Registry(testbed.new_directory("r"), username=USERNAME, password=PASSWORD)
    async for started in _registry(settings):
        yield started


@pytest.fixture(scope="session")
def certificates(testbed: Session) -> Certificates:
    """Good ones, for every name of the test bed."""
    return make_certificates(testbed.new_directory("t"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def tls_registry(testbed: Session, certificates: Certificates) -> AsyncIterator[Registry]:
    """TLS by an authority that containerd is told of."""
    settings = Registry(testbed.new_directory("r"), HOST_NAME, certificates=certificates)
    async for started in _registry(settings):
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sandbox_image(registry: Registry) -> str:
    """What pod sandboxes run."""
    return (await ImageMaker(registry, "testbed").make_runnable("pause")).ref


@pytest.fixture(scope="session", params=FLAVOURS, ids=[f"containerd-{flavour}" for flavour in FLAVOURS])
def flavour(request: pytest.FixtureRequest) -> Flavour:
    """Which containerd: each test that uses one runs on both."""
    chosen: Flavour = request.param
    return chosen


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def containerd(testbed: Session, flavour: Flavour, sandbox_image: str) -> AsyncIterator[Containerd]:
    """A containerd that tests share: use image names of your own, and do not stop it."""
    started = Containerd(flavour, testbed.new_directory("c"), sandbox_image)
    async for each in _containerd(started):
        yield each


@pytest_asyncio.fixture
async def make_containerd(testbed: Session, sandbox_image: str) -> AsyncIterator[MakeContainerd]:
    """Starts containerds for this test alone."""
    made: list[Containerd] = []

    async def make(flavour: Flavour, *, disk_size: int | None = None) -> Containerd:
        new = Containerd(flavour, testbed.new_directory("c"), sandbox_image, disk_size)
        made.append(new)
        _running[new] = 0
        await new.start()
        return new

    try:
        yield make
    finally:
        for containerd in made:
            await _end(containerd)


@pytest_asyncio.fixture
async def own_containerd(make_containerd: MakeContainerd, flavour: Flavour) -> Containerd:
    """A fresh containerd, to be killed, frozen or restarted."""
    return await make_containerd(flavour)


@pytest_asyncio.fixture
async def make_agent(testbed: Session) -> AsyncIterator[MakeAgent]:
    """Starts agents for this test alone."""
    made: list[Agent] = []

    async def make(*containerds: Containerd, **settings: str) -> Agent:
        flags = {name.replace("_", "-"): value for name, value in (QUICK | settings).items()}
        sockets = [containerd.socket for containerd in containerds]
        made.append(agent := Agent(testbed.new_directory("a"), sockets, testbed.certificates, flags))
        await agent.start()
        return agent

    try:
        yield make
    finally:
        for agent in made:
            await agent.stop()


@pytest_asyncio.fixture
async def agent(make_agent: MakeAgent, containerd: Containerd) -> Agent:
    """An agent on the shared containerd."""
    return await make_agent(containerd)


@pytest.fixture
def witness(containerd: Containerd) -> Witness:
    """What the shared containerd itself says."""
    return Witness(containerd)


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A repository prefix that no other test has; short enough for the value of a label."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:48].strip("-")
    return f"{words}-{next(_numbers)}"


@pytest.fixture
def image_maker(registry: Registry, prefix: str) -> ImageMaker:
    """Makes images in the open registry."""
    return ImageMaker(registry, prefix)


@pytest.fixture
def private_image_maker(private_registry: Registry, prefix: str) -> ImageMaker:
    """Makes images in the registry that wants a password."""
    return ImageMaker(private_registry, prefix)


@pytest_asyncio.fixture
async def faulty_registry(testbed: Session) -> AsyncIterator[FaultyRegistry]:
    """A registry of this test alone, in which all is well until the test says otherwise."""
    async for started in _faulty(FaultyRegistry()):
        yield started


@pytest_asyncio.fixture
async def faulty_tls_registry(testbed: Session, certificates: Certificates) -> AsyncIterator[FaultyRegistry]:
    """The same over TLS, under a name for which containerd checks certificates."""
    async for started in _faulty(FaultyRegistry(HOST_NAME, certificates=certificates)):
        yield started


@pytest.fixture
def faulty_image_maker(faulty_registry: FaultyRegistry, prefix: str) -> ImageMaker:
    """Makes images in the faulty registry."""
    return ImageMaker(faulty_registry, prefix)


@pytest_asyncio.fixture
async def pods(containerd: Containerd) -> AsyncIterator[Pods]:
    """Runs containers in the shared containerd; they are gone after the test."""
    async with Pods(containerd) as started:
        try:
            yield started
        finally:
            await started.remove_all()


async def _faulty(registry: FaultyRegistry) -> AsyncIterator[FaultyRegistry]:
    await registry.start()
    try:
        yield registry
    finally:
        await registry.stop()


async def _registry(registry: Registry) -> AsyncIterator[Registry]:
    await registry.start()
    try:
        yield registry
    finally:
        await registry.stop()
        registry.remove()


async def _containerd(containerd: Containerd) -> AsyncIterator[Containerd]:
    _running[containerd] = 0
    try:
        await containerd.start()
        yield containerd
    finally:
        await _end(containerd)


async def _end(containerd: Containerd) -> None:
    _running.pop(containerd, None)
    await containerd.stop()
    containerd.remove()
