from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.debug import units

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024 * 1023.95, "1.0 MiB"),
        (412 * 2**20, "412.0 MiB"),
        (1.5 * 2**40, "1.5 TiB"),
        (5000 * 2**50, "5000.0 PiB"),
    ],
)
def test_sizes_have_the_unit_that_fits(count: float, text: str) -> None:
    assert units.size(count) == text


@given(st.floats(0, 2**60))
def test_a_size_never_has_more_digits_than_its_column(count: float) -> None:
    assert len(units.size(count)) <= len("1023.9 MiB")


def test_a_part_has_the_unit_of_the_whole() -> None:
    assert units.fraction(2**20, 2**30) == "0.0 / 1.0 GiB"
    assert units.fraction(5, 10) == "5 / 10 B"
    assert units.fraction(2**30, 0) == "1.0 / 0.0 GiB"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"),
        (0.4, "0s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (185, "3m05s"),
        (8040, "2h14m"),
        (86400 * 5 + 3 * 3600, "5d3h"),
    ],
)
def test_a_countdown_has_two_units_at_most(seconds: float, text: str) -> None:
    assert units.countdown(seconds) == text


def test_a_short_duration_has_tenths() -> None:
    assert units.duration(4.21) == "4.2s"
    assert units.duration(-1) == "0.0s"
    assert units.duration(9.97) == "10s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "just now"), (59, "just now"), (60, "1m ago"), (7199, "1h ago"), (172800, "2d ago")],
)
def test_the_past_is_told_in_one_unit(seconds: int, text: str) -> None:
    assert units.ago(NOW - timedelta(seconds=seconds), NOW) == text
