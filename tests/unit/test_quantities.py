"""Quantities of Kubernetes as numbers."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.objects import quantities
from daemon.objects.quantities import QuantityError


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0.5", "500m"),
        ("1Gi", "1024Mi"),
        ("1e3", "1k"),
        ("1.", "1"),
        (".5", "500m"),
        ("+2", "2"),
        ("1E", "1e18"),
    ],
)
def test_the_same_amount_is_the_same_however_it_is_written(one: str, other: str) -> None:
    assert quantities.parse(one) == quantities.parse(other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "abc",
        "--1",
        "1mi",
        "1KI",
        "0x10",
        "1e",
        "1e1.5",
        "٣",
        "1e999999999",
        "9" * 65,
        "NaN",
        "inf",
    ],
)
def test_what_is_no_quantity_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(QuantityError, match=r"is no quantity; allowed: a quantity such as 500m"):
        quantities.parse(text)


@given(st.text(max_size=80))
def test_no_text_does_anything_but_be_read_or_refused(text: str) -> None:
    try:
        number = quantities.parse(text)
    except QuantityError:
        return
    assert isinstance(number, Fraction)


def test_fractions_of_what_is_counted_are_rounded_up() -> None:
    assert quantities.milli("0.0001") == 1
    assert quantities.whole("100m") == 1


@given(st.integers(0, 10**6))
def test_millicores_are_written_so_that_they_read_the_same(count: int) -> None:
    assert quantities.milli(quantities.cpu(count)) == count


@given(st.integers(0, 2**62))
def test_bytes_are_written_so_that_they_read_the_same(count: int) -> None:
    assert quantities.whole(quantities.memory(count)) == count


def test_memory_is_shown_to_people_in_four_digits() -> None:
    assert quantities.readable("memory", 1_234_567_890) == "1.15Gi"
    assert quantities.readable("memory", 512) == "512"
    assert quantities.readable("cpu", 1500) == "1500m"


@pytest.mark.parametrize(
    ("given_", "go"),
    [
        ("1000m", "1"),
        ("0.5", "500m"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.1Gi", "107374182400m"),
        ("1e3", "1e3"),
        ("1E3", "1E3"),
        ("1E", "1E"),
        ("0", "0"),
        ("0Mi", "0"),
        ("1000Mi", "1000Mi"),
        ("2000", "2k"),
        ("2048", "2048"),
        ("0.5Ki", "512"),
        ("1.1Mi", "1153433600m"),
        ("1500k", "1500k"),
        ("100n", "100n"),
        ("-1500m", "-1500m"),
        ("128974848", "128974848"),
        (".5", "500m"),
    ],
)
def test_a_quantity_has_the_one_spelling_that_go_writes(given_: str, go: str) -> None:
    assert quantities.canonical(given_) == go
