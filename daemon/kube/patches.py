"""The difference between two objects as a patch that changes nothing else. Pure.

It goes through structs field by field, so that fields which our structs do not know survive. JSON patches can
also be bound to one object; a merge patch of a status cannot: the API server does not look at the UID in it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from daemon.engine.objects import ApiObject
from daemon.kube.decoding import without_nulls

Path = tuple[str, ...]
Operation = Mapping[str, Any]

_IDENTITIES = ("uid", "tag", "name", "type", "key")
"""Fields by which an item of a list is known to be the same one, changed."""
_TAGS = ("labels", "annotations", "owner_references", "finalizers")
"""What of the metadata an author may change."""


class Patch(msgspec.Struct, frozen=True):
    """A change of one object, as it is sent."""

    content_type: str
    body: bytes

    def __repr__(self) -> str:
        return f"Patch({self.content_type}, {len(self.body)} bytes)"


def json_patch(operations: Sequence[Operation]) -> Patch:
    """Operations of RFC 6902, done in turn or not at all."""
    return Patch("application/json-patch+json", msgspec.json.encode(operations))


def merge_patch(document: Mapping[str, Any]) -> Patch:
    """RFC 7386: members replace, null removes."""
    return Patch("application/merge-patch+json", msgspec.json.encode(document))


def strategic_merge_patch(document: Mapping[str, Any]) -> Patch:
    """For kinds of Kubernetes' own: as a merge patch, but lists with a merge key are merged by that key."""
    return Patch("application/strategic-merge-patch+json", msgspec.json.encode(document))


def same_object(obj: ApiObject) -> list[Operation]:
    """Operations that fail when by now there is another object of that name."""
    return [_test("uid", obj.metadata.uid)]


def same_spec(obj: ApiObject) -> list[Operation]:
    """Operations that fail when by now there is another object or another spec.

    The generation moves only with the spec, so that a status written meanwhile is no conflict. Kinds that
    have no generation, such as Secret, are bound to the version of the whole.
    """
    metadata = obj.metadata
    same = (
        _test("generation", metadata.generation)
        if metadata.generation
        else _test("resourceVersion", metadata.resource_version)
    )
    return [*same_object(obj), same]


def changes(old: ApiObject, new: ApiObject) -> list[Operation]:
    """What makes the stored *old* into *new*: content, labels, annotations, owners; never the status."""
    found: list[Operation] = []
    for name in _TAGS:
        path = ("metadata", _encoded(old.metadata, name))
        found += _difference(path, getattr(old.metadata, name), getattr(new.metadata, name))
    for name, encoded in _fields(old):
        if name not in {"metadata", "status", "api_version", "kind"}:
            found += _difference((encoded,), getattr(old, name), getattr(new, name))
    return found


def rooted(operations: Sequence[Operation], document: Mapping[str, Any]) -> list[Operation]:
    """*operations* that also make the members that they need and *document* lacks."""
    made: set[Path] = set()
    result: list[Operation] = []
    for operation in operations:
        path = _parsed(operation["path"])
        if operation["op"] == "remove" and not _has(document, path):
            continue
        for end in range(1, len(path)):
            if path[:end] not in made and not _has(document, path[:end]):
                made.add(path[:end])
                result.append({"op": "add", "path": _pointer(path[:end]), "value": {}})
        result.append(operation)
    return result


def status_changes(old: Any, new: Any) -> list[Operation]:
    """What makes the stored status *old* into *new*, and survives that *old* is not what is stored.

    Lists are replaced as a whole: a place in a list means nothing when somebody else has changed the list. A
    status in which nothing stands yet is sent as a whole: counts may be required even when they are 0.
    """
    if old == new:
        return []
    if old == type(old)():
        return [_added(("status",), new)]
    return list(_plain_difference(("status",), plain(old), plain(new)))


def at_version(version: str) -> list[Operation]:
    """Operations that make the API server answer with a conflict when another version is stored."""
    return [_added(("metadata", "resourceVersion"), version)] if version else []


def plain(value: Any) -> Any:
    """*value* as it is sent, without nulls: a field that may not be null must not be sent as one."""
    return without_nulls(msgspec.to_builtins(value))


def _plain_difference(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Operation]:
    for key in old.keys() - new.keys():
        yield {"op": "remove", "path": _pointer((*path, key))}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            yield from _plain_difference((*path, key), before, value)
        elif value != before:
            yield _added((*path, key), value)


def _difference(path: Path, old: Any, new: Any) -> Iterator[Operation]:
    if old == new:
        return
    if isinstance(old, msgspec.Struct) and type(old) is type(new):
        for name, encoded in _fields(old):
            yield from _difference((*path, encoded), getattr(old, name), getattr(new, name))
    elif isinstance(old, Mapping) and isinstance(new, Mapping) and old and new:
        yield from _members(path, old, new)
    elif isinstance(old, tuple) and isinstance(new, tuple) and old and new:
        yield from _items(path, old, new)
    elif _is_nothing(new):
        yield {"op": "remove", "path": _pointer(path)}
    else:
        yield _added(path, new)


def _members(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Operation]:
    for key in old:
        if key not in new:
            yield {"op": "remove", "path": _pointer((*path, key))}
    for key, value in new.items():
        if key in old:
            yield from _within(_difference((*path, key), old[key], value), (*path, key), value)
        else:
            yield _added((*path, key), value)


def _items(path: Path, old: tuple[Any, ...], new: tuple[Any, ...]) -> Iterator[Operation]:
    """Change the items that stay, then take out and put in where the two lists differ, from the end on."""
    places = {_identity(item): at for at, item in enumerate(old)}
    wanted = {_identity(item): item for item in new}
    order = [places[each] for each in wanted if each in places]
    if len(places) != len(old) or len(wanted) != len(new) or not order or order != sorted(order):
        # Twins, or nothing in common, or another order: there is no telling which item became which.
        yield _added(path, new)
        return
    for each, item in wanted.items():
        if each in places:
            place = (*path, str(places[each]))
            yield from _within(_difference(place, old[places[each]], item), place, item)
    for each in reversed(places):
        if each not in wanted:
            yield {"op": "remove", "path": _pointer((*path, str(places[each])))}
    for at, (each, item) in enumerate(wanted.items()):
        if each not in places:
            yield _added((*path, str(at)), item)


def _within(operations: Iterator[Operation], at: Path, value: Any) -> Iterator[Operation]:
    """*operations*, of which one that would remove a member or an item sets it to *value* instead.

    A member of a mapping or an item of a list that is empty is not the same as one that is not there.
    """
    for operation in operations:
        if operation["op"] == "remove" and operation["path"] == _pointer(at):
            yield _added(at, value)
        else:
            yield operation


def _added(path: Path, value: Any) -> Operation:
    return {"op": "add", "path": _pointer(path), "value": plain(value)}


def _fields(struct: Any) -> Iterator[tuple[str, str]]:
    """The names of the fields, here and outside."""
    return zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True)


def _encoded(struct: Any, name: str) -> str:
    return dict(_fields(struct))[name]


def _identity(item: Any) -> Any:
    if isinstance(item, msgspec.Struct):
        found = (getattr(item, name, None) for name in _IDENTITIES)
        return next((each for each in found if each), item)
    return item


def _is_nothing(value: Any) -> bool:
    """Whether *value* is what stands for an absent field."""
    return value is None or value == "" or (isinstance(value, Mapping | tuple) and not value)


def _test(field: str, value: Any) -> Operation:
    return {"op": "test", "path": f"/metadata/{field}", "value": value}


def _pointer(path: Path) -> str:
    """RFC 6901."""
    return "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in path)


def _parsed(pointer: str) -> Path:
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


def _has(document: Any, path: Path) -> bool:
    for part in path:
        if isinstance(document, list) and part.isdigit() and int(part) < len(document):
            document = document[int(part)]
        elif isinstance(document, Mapping) and part in document:
            document = document[part]
        else:
            return False
    return document is not None
