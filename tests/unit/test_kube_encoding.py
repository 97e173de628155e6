"""JSON as Go writes it."""

import json

import pytest

from daemon.kube.encoding import encoded


def test_what_go_escapes_is_escaped() -> None:
    assert encoded({"command": "a > b && c < d"}) == b'{"command":"a \\u003e b \\u0026\\u0026 c \\u003c d"}'


@pytest.mark.parametrize("text", ["<>&", "line\u2028break\u2029", "plain é ✓", "back\\slash\n"])
def test_it_means_the_same(text: str) -> None:
    assert json.loads(encoded({text: [text]})) == {text: [text]}
