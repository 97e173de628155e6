"""JSON patch (RFC 6902), merge patch (RFC 7386) and Kubernetes' strategic one, for the fake API server."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

MERGE_KEYS = {
    **dict.fromkeys(("containers", "initContainers", "env"), "name"),
    "conditions": "type",
    "ownerReferences": "uid",
}
"""By which member the items of a list are known, in the kinds of Kubernetes' own."""


class PatchError(Exception):
    """The patch does not apply to the document."""


def merged(document: Any, patch: Any) -> Any:
    """*document* after a merge patch; neither is changed."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(document) if isinstance(document, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def strategically_merged(document: Any, patch: Any, field: str = "") -> Any:
    """*document* of a built-in kind after a strategic merge patch: lists of *field* go by their key."""
    if isinstance(patch, list) and field == "finalizers":
        return list(dict.fromkeys([*(document or []), *patch]))
    if isinstance(patch, list) and field in MERGE_KEYS:
        return _items_merged(document or [], patch, MERGE_KEYS[field])
    if not isinstance(patch, Mapping):
        return patch
    result = dict(document) if isinstance(document, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = strategically_merged(result.get(key), value, key)
    return result


def _items_merged(items: Sequence[Any], patch: Sequence[Any], key: str) -> list[Any]:
    found = {item[key]: item for item in items}
    for each in patch:
        if each.get("$patch") == "delete":
            found.pop(each[key], None)
        else:
            found[each[key]] = strategically_merged(found.get(each[key]), each)
    return list(found.values())


def operated(document: Any, operations: Sequence[Mapping[str, Any]]) -> Any:
    """*document* after the operations of a JSON patch. Raises PatchError."""
    result = copy.deepcopy(document)
    for operation in operations:
        *parents, last = [_unescaped(part) for part in operation["path"].split("/")[1:]]
        target = result
        for part in parents:
            target = _member(target, part)
        _operate(operation, target, last)
    return result


def _operate(operation: Mapping[str, Any], target: Any, last: str) -> None:
    match operation["op"]:
        case "test":
            if _member(target, last) != operation["value"]:
                raise PatchError(f"testing value {operation['path']} failed")
        case "add" if isinstance(target, list):
            target.insert(
                len(target) if last == "-" else _index(target, last, len(target)), operation["value"]
            )
        case "add" if isinstance(target, dict):
            target[last] = operation["value"]
        case "replace":
            _member(target, last)
            target[int(last) if isinstance(target, list) else last] = operation["value"]
        case "remove":
            _member(target, last)
            del target[int(last) if isinstance(target, list) else last]
        case _:
            raise PatchError(f"{operation['op']} {operation['path']} is not possible")


def _member(target: Any, part: str) -> Any:
    if isinstance(target, list):
        return target[_index(target, part, len(target) - 1)]
    if not isinstance(target, dict) or part not in target:
        raise PatchError(f"{part} is missing")
    return target[part]


def _index(target: Sequence[Any], part: str, highest: int) -> int:
    if not part.isdigit() or int(part) > highest:
        raise PatchError(f"{part} is no index of a list of {len(target)}")
    return int(part)


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")
