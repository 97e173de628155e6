"""HTML that is escaped by construction: a plain string is text, only ``Html`` is markup."""

from collections.abc import Iterable
from functools import cache
from html import escape
from typing import TypeAlias

_VOID = frozenset({"meta", "link", "br", "col", "input"})


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Child: TypeAlias = "str | int | Iterable[Child] | None"
"""What an element may hold. None is nothing; a string that is not Html is escaped."""
Attribute: TypeAlias = "str | float | bool | None"
"""False and None leave the attribute out, True writes its name alone."""


def element(name: str, /, *children: Child, **attributes: Attribute) -> Html:
    """One element. ``class_`` writes class, ``aria_label`` writes aria-label."""
    opening = name
    for key, value in attributes.items():
        if value is True:
            opening += f" {_name(key)}"
        elif value is not None and value is not False:
            opening += f' {_name(key)}="{escape(str(value))}"'
    return Html(f"<{opening}>" if name in _VOID else f"<{opening}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Html:
    """Children one after the other, those that are text escaped."""
    return Html("".join([_text(child) for child in children]))


@cache
def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _text(child: Child) -> str:
    if isinstance(child, Html):
        return child
    if child is None:
        return ""
    if isinstance(child, str | int):
        return escape(str(child))
    return join(child)
