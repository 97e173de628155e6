"""What the conformance tests can ask for."""

from tests.charts.fixtures import kinds

__all__ = ["kinds"]
