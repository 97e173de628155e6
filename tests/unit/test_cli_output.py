"""Sizes, ages, tables and references as a person reads them."""

from contextlib import nullcontext
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from daemon.cli.arguments import seconds_of
from daemon.cli.bars import COLUMNS, LEAST_BAR, elide, layout
from daemon.cli.errors import UsageError
from daemon.cli.output import age, age_of, clean, share, size, table, took


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (432_328_704, "412.3 MiB"),
        (1024**2 - 1, "1.0 MiB"),
        (1024**3, "1.0 GiB"),
        (3 * 1024**6, "3072.0 PiB"),
    ],
)
def test_a_size_is_in_iec_units(count: int, text: str) -> None:
    assert size(count) == text


def test_a_share_has_one_unit() -> None:
    assert share(43_201_331, 432_328_704) == "41.2/412.3 MiB"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (119.9, "119s"),
        (120, "2m"),
        (192, "3m12s"),
        (599, "9m59s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (16_200, "4h30m"),
        (28_800, "8h"),
        (172_799, "47h"),
        (172_800, "2d"),
        (180_000, "2d2h"),
        (691_200, "8d"),
        (63_072_000, "2y"),
        (63_158_400, "2y1d"),
        (300_000_000, "9y"),
    ],
)
def test_an_age_is_as_kubectl_shows_it(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_an_age_of_nothing_is_unknown() -> None:
    assert age_of(None, datetime.now(UTC)) == "<unknown>"


def test_a_short_wait_has_tenths() -> None:
    assert [took(0.04), took(59.94), took(3661)] == ["0.0s", "59.9s", "61m"]


def test_a_table_is_aligned_by_what_is_seen_and_has_no_blanks_at_its_ends() -> None:
    lines = table(("A", "LONG"), [("\x1b[31mred\x1b[0m", "1"), ("x", "")])

    assert lines == ["A     LONG", "\x1b[31mred\x1b[0m   1", "x"]


@given(st.text())
def test_cleaned_text_is_one_printable_line(text: str) -> None:
    assert clean(text).isprintable()


@given(st.text(min_size=1), st.integers(3, 60))
def test_an_elided_name_fits_and_keeps_its_ends(name: str, width: int) -> None:
    short = elide(name, width)

    assert len(short) == min(len(name), width)
    assert (short[0], short[-1]) == (name[0], name[-1])


@given(st.integers(43, 400), st.integers(1, 300))
def test_the_columns_of_bars_fit_and_leave_room_for_the_bar(width: int, longest: int) -> None:
    kept, name, bar = layout(width, longest)

    assert name + bar + sum(column.width + 1 for column in kept) + 2 <= width
    assert bar >= LEAST_BAR
    assert name >= min(longest, 9)
    assert kept == COLUMNS[: len(kept)]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), (" 5m ", 300), ("1h30m", 5400), ("1h1m1s", 3661), ("2h", 7200)],
)
def test_a_duration_is_read(text: str, seconds: int) -> None:
    assert seconds_of("--ttl", text) == seconds


@given(st.text())
def test_a_bad_duration_is_refused_with_the_option_and_what_is_allowed(text: str) -> None:
    assume(text.strip().strip("hms0123456789") != "")

    with pytest.raises(UsageError, match=r"(?s)--ttl .* is no duration; allowed: seconds as in 90"):
        seconds_of("--ttl", text)


@given(st.integers(-(2**40), 2**40))
def test_a_number_of_seconds_is_read_or_out_of_range(seconds: int) -> None:
    inside = 1 <= seconds < 2**31

    with nullcontext() if inside else pytest.raises(UsageError, match=r"--ttl .*; allowed: "):
        assert seconds_of("--ttl", str(seconds)) == seconds
