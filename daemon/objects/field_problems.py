"""What is wrong with one field of an object: where it stands, what it holds, and what would be right."""

import json
from collections.abc import Iterable
from typing import Any

import msgspec

LONGEST_VALUE = 80
"""Characters of a value that are worth showing."""

Path = tuple[str | int, ...]
"""Where a field stands: keys of mappings and indexes of lists, from the document's top."""


class FieldProblem(msgspec.Struct, frozen=True):
    """One reason to refuse an object. *message* is a predicate: 'must be an integer'."""

    path: Path
    message: str
    value: str = ""
    allowed: str = ""

    @property
    def field(self) -> str:
        """The path as people write it: ``spec.images[2]``, ``metadata.labels[a/b]``."""
        return rendered(self.path)

    def __str__(self) -> str:
        value = f" {self.value}" if self.value else ""
        allowed = f"; allowed: {self.allowed}" if self.allowed else ""
        return f"{self.field}{value} {self.message}{allowed}"


def rendered(path: Path) -> str:
    """Write *path* with dots, and with brackets where a dot would be ambiguous."""
    text = ""
    for step in path:
        if isinstance(step, int) or not step.isidentifier():
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def shown(value: Any) -> str:
    """One short line that shows *value* as it would be written in JSON."""
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    printable = not isinstance(value, str) or value.isprintable()
    text = json.dumps(value, ensure_ascii=not printable)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def listed(values: Iterable[Any]) -> str:
    """The values as an alternative for a person: ``A, B or C``."""
    *most, last = map(str, values)
    return f"{', '.join(most)} or {last}" if most else last
