"""The hashes of containers are the kubelet's and OpenKruise's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.objects.container_hashes import environment_hash, fingerprint, plain_hash

variables = st.dictionaries(st.text(max_size=5), st.text(max_size=8), max_size=4)


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [("test_container", "foo/image:v1", 0x8E45CBD0), ("app", "nginx:1.25", 3810829014)],
)
def test_the_plain_hash_is_the_kubelets(name: str, image: str, expected: int) -> None:
    """The first pair is in the kubelet's own tests; all of them were computed by its code."""
    assert plain_hash(name, image) == expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 86995377),
        ({"e2": "bar"}, 539240142),
        ({"B": "", "A": "<x&y>"}, 359676465),
    ],
)
def test_the_environment_hash_is_openkruises(environment: dict[str, str], expected: int) -> None:
    assert environment_hash(environment) == expected


def test_no_variables_have_no_fingerprint() -> None:
    assert fingerprint({}) == ""


@given(variables, variables)
def test_fingerprints_are_equal_for_equal_variables_alone(one: dict[str, str], other: dict[str, str]) -> None:
    assert (fingerprint(one) == fingerprint(dict(reversed(other.items())))) == (one == other)


@given(variables)
def test_every_hash_fits_in_32_bits(environment: dict[str, str]) -> None:
    assert 0 <= environment_hash(environment) < 2**32
