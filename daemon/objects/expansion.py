"""``$(NAME)`` in values, commands and arguments, replaced as the kubelet does. Pure.

The rules are those of ``k8s.io/kubernetes/third_party/forked/golang/expansion``: ``$$`` stands for one ``$``,
a name that is not defined stays as it stands, what was inserted is not looked at again.
"""

import re
from collections.abc import Callable, Iterator

_MARK = re.compile(r"\$(?:\$|\(([^)]*)\))")


def expanded(text: str, value_of: Callable[[str], str | None]) -> str:
    """*text* with its references replaced; *value_of* answers None for a name that is not defined."""

    def replacement(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return "$"
        value = value_of(name)
        return found[0] if value is None else value

    return _MARK.sub(replacement, text) if "$" in text else text


def references(text: str) -> Iterator[str]:
    """The names that *text* refers to."""
    if "$" in text:
        yield from (found[1] for found in _MARK.finditer(text) if found[1] is not None)
