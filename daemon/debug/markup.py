"""HTML that is escaped by construction: a plain string is text, only ``Html`` is markup."""

from collections.abc import Iterable
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
    opening = "".join([name, *(_attribute(key, value) for key, value in attributes.items())])
    if name in _VOID:
        return Html(f"<{opening}>")
    return Html(f"<{opening}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Html:
    """Children one after the other, those that are text escaped."""
    return Html("".join(map(_text, children)))


def _text(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, str | int):
        return escape(str(child))
    return join(child)


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
