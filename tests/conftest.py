"""What all tests can ask for."""

import asyncio
import signal
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

# Time limits of single examples fail on a loaded machine and say nothing about the product.
settings.register_profile("no-clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no-clock")

pytest_plugins = [
    "tests.testbed.fixtures",
    "tests.testbed.cluster_fixtures",
    "tests.testbed.restart_fixtures",
]


def pytest_configure(config: pytest.Config) -> None:
    """Give pytest-asyncio and looptime a current event loop to find between tests.

    Asking for it when there is none makes one that nobody closes (pytest-asyncio #724), and its warning would
    fail whichever test runs when it is collected.
    """
    # A shell starts what it runs in the background with Ctrl-C ignored, and programs under test inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    config.add_cleanup(loop.close)


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Undo how a program that ran within the test logs: the next test may listen for what that left out."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
