"""What all tests can ask for."""

import asyncio

import pytest

pytest_plugins = ["tests.testbed.fixtures", "tests.testbed.cluster_fixtures"]


def pytest_configure(config: pytest.Config) -> None:
    """Give pytest-asyncio and looptime a current event loop to find between tests.

    Asking for it when there is none makes one that nobody closes (pytest-asyncio #724), and its warning would
    fail whichever test runs when it is collected.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    config.add_cleanup(loop.close)
