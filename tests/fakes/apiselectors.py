"""Label and field selectors as they stand in a query, for the fake API server."""

import re
from collections.abc import Callable, Mapping
from typing import Any

Judge = Callable[[Mapping[str, Any]], bool]

_SET = re.compile(r"^(\S+) (in|notin) \(([^)]*)\)$")
_PARTS = re.compile(r",(?![^(]*\))")


def judge_of(query: Mapping[str, str], namespace: str) -> Judge:
    """Tells whether a document is asked for."""
    labels = [part.strip() for part in _PARTS.split(query.get("labelSelector", "")) if part]
    fields = [part.split("=", 1) for part in query.get("fieldSelector", "").split(",") if part]

    def judge(document: Mapping[str, Any]) -> bool:
        metadata = document["metadata"]
        return (
            (not namespace or metadata.get("namespace") == namespace)
            and all(_labelled(part, metadata.get("labels") or {}) for part in labels)
            and all(_field(document, path) == value for path, value in fields)
        )

    return judge


def _labelled(part: str, labels: Mapping[str, str]) -> bool:
    if match := _SET.match(part):
        key, operator, values = match.groups()
        inside = labels.get(key) in values.split(",")
        return inside if operator == "in" else not inside
    if part.startswith("!"):
        return part[1:] not in labels
    key, equals, value = part.partition("=")
    return labels.get(key) == value if equals else key in labels


def _field(document: Any, path: str) -> Any:
    for part in path.split("."):
        document = document.get(part) if isinstance(document, Mapping) else None
    return document
