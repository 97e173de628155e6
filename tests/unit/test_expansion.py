"""``$(NAME)`` is replaced as the kubelet replaces it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.objects.expansion import expanded, references

VALUES = {"A": "alpha", "B": "$(A)", "EMPTY": "", "a.b-c": "dotted", "SP ACE": "wide"}


def value_of(name: str) -> str | None:
    return VALUES.get(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("$(A)", "alpha"),
        ("<$(A)$(A)>", "<alphaalpha>"),
        ("$(NONE)", "$(NONE)"),
        ("$(B)", "$(A)"),  # what was inserted is not looked at again
        ("x$(EMPTY)y", "xy"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$alpha"),
        ("$$$$(A)", "$$(A)"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(", "$("),
        ("$(A", "$(A"),
        ("$($$", "$($"),
        ("$($(A)", "$($(A)"),  # the name is "$(A", which is not defined
        ("$()", "$()"),
        ("$(a.b-c)", "dotted"),
        ("$(SP ACE)", "wide"),
        ("ü$(A)\n$(A)", "üalpha\nalpha"),
        ("{{ .Values.x }} `id` ${IFS} %s", "{{ .Values.x }} `id` ${IFS} %s"),
    ],
)
def test_references_are_replaced(text: str, expected: str) -> None:
    assert expanded(text, value_of) == expected


@given(st.text(alphabet="$()AB x", max_size=12))
def test_what_refers_to_nothing_known_only_loses_its_escapes(text: str) -> None:
    found = expanded(text, lambda _name: None)

    assert found.replace("$", "") == text.replace("$", "")


@given(st.text(alphabet="$()AB x", max_size=12))
def test_only_names_that_are_referred_to_matter(text: str) -> None:
    asked: list[str] = []

    def value_of(name: str) -> str:
        asked.append(name)
        return "-"

    expanded(text, value_of)

    assert asked == list(references(text))
