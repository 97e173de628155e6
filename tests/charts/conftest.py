"""What the tests of the chart can ask for."""

from tests.charts.fixtures import kinds

__all__ = ["kinds"]
