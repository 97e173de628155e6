"""Writes YAML as people do: block style, and plain what is plainly text. Pure.

Made for state files, which are written at each step of each pull: general emitters take many times as long.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

_PLAIN: Final = re.compile(r"[A-Za-z/](?:[A-Za-z0-9_./@+()-]|:(?=[A-Za-z0-9/])| (?=[A-Za-z0-9/(]))*")
"""A part of what may stand without quotes: no reader takes it for anything but text, but for these words."""
_WORDS: Final = frozenset(["null", "true", "false", "yes", "no", "on", "off", "y", "n"])
_ESCAPES: Final = str.maketrans({'"': '\\"', "\\": "\\\\"})
_DEEP: Final = 3
"""Levels down from which parts are kept in their final form: of a long object little differs each time."""
_LONGEST_KEY: Final = 1000
"""Characters with quotes. YAML finds the end of a key without a mark before it within 1024."""


def emitted(value: Mapping[str, Any]) -> str:
    """The document of *value*: mappings, lists, text, integers, booleans and None at any depth."""
    lines: list[str] = []
    _put_mapping(lines, value, "", "", _DEEP)
    lines.append("")
    return "\n".join(lines) if value else "{}\n"


def _put_mapping(lines: list[str], value: Mapping[str, Any], first: str, indent: str, deep: int = 0) -> None:
    """Add *value*; *first* stands before its first line in place of *indent*.

    What is *deep* levels below is taken from what is kept of earlier texts, with 0 nothing is.
    """
    start = first
    for key, item in value.items():
        name = _key(key)
        head = f"{start}{name}:" if len(name) <= _LONGEST_KEY else f"{start}? {name}\n{indent}:"
        if isinstance(item, Mapping) and item:
            lines.append(head)
            if deep == 1:
                lines.append(_kept(msgspec.json.encode(item), f"{indent}  "))
            else:
                _put_mapping(lines, item, f"{indent}  ", f"{indent}  ", max(deep - 1, 0))
        elif isinstance(item, list | tuple) and item:
            lines.append(head)
            _put_list(lines, item, indent)
        else:
            lines.append(f"{head} {_scalar(item)}")
        start = indent


@lru_cache(maxsize=128)
def _kept(encoded: bytes, indent: str) -> str:
    lines: list[str] = []
    _put_mapping(lines, msgspec.json.decode(encoded), indent, indent)
    return "\n".join(lines)


def _put_list(lines: list[str], items: Sequence[Any], indent: str) -> None:
    for item in items:
        if isinstance(item, Mapping) and item:
            _put_mapping(lines, item, f"{indent}- ", f"{indent}  ")
        elif isinstance(item, list | tuple) and item:
            lines.append(f"{indent}-")
            _put_list(lines, item, f"{indent}  ")
        else:
            lines.append(f"{indent}- {_scalar(item)}")


def _scalar(item: Any) -> str:
    # What is no text, or is empty, looks in YAML as in JSON.
    return _text(item) if isinstance(item, str) else json.dumps(item)


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return f'"{text.translate(_ESCAPES)}"' if text.isprintable() else f'"{"".join(map(_escaped, text))}"'


_key = lru_cache(maxsize=256)(_text)
"""Names of fields come again and again."""


def _escaped(character: str) -> str:
    if character.isprintable():
        return character.translate(_ESCAPES)
    return f"\\U{ord(character):08x}"
