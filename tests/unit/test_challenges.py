"""WWW-Authenticate headers of registries, well-formed and otherwise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.nodeimages.challenges import Challenge, parse_challenges, preferred

BEARER = 'Bearer realm="https://a.io/token",service="r.io",scope="repository:a/b:pull,push"'
READ = Challenge(
    "bearer", {"realm": "https://a.io/token", "service": "r.io", "scope": "repository:a/b:pull,push"}
)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (BEARER, [READ]),
        (BEARER.replace("Bearer", "BEARER").replace("realm", "Realm").replace('",', '" , '), [READ]),
        ('Basic realm="a \\"quoted\\" realm"', [Challenge("basic", {"realm": 'a "quoted" realm'})]),
        ("Basic", [Challenge("basic", {})]),
        ("Basic realm=plain", [Challenge("basic", {"realm": "plain"})]),
        (f'Basic realm="x", {BEARER}', [Challenge("basic", {"realm": "x"}), READ]),
        (f"Negotiate, {BEARER}", [Challenge("negotiate", {}), READ]),
        ('Bearer realm="one",realm="two"', [Challenge("bearer", {"realm": "one"})]),
        ('Bearer realm="open', [Challenge("bearer", {})]),
        ('Bearer realm=""', [Challenge("bearer", {"realm": ""})]),
        ("", []),
        (" , ,", []),
        ("=", []),
    ],
)
def test_challenges_are_read_in_order(header: str, expected: list[Challenge]) -> None:
    assert list(parse_challenges([header])) == expected


def test_a_token_is_preferred_to_a_password() -> None:
    found = parse_challenges(['Basic realm="x"', BEARER])

    assert preferred(found) == READ
    assert preferred(found[:1]) == Challenge("basic", {"realm": "x"})
    assert preferred(parse_challenges(["Negotiate"])) is None
    assert preferred([]) is None


@given(st.lists(st.text(st.sampled_from('Bearer Basic="\\,=abc '), max_size=60), max_size=3))
def test_any_header_is_read_without_an_error(headers: list[str]) -> None:
    for challenge in parse_challenges(headers):
        assert challenge.scheme == challenge.scheme.lower()
