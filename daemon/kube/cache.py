"""The objects of one kind in memory: what is newer wins, whoever brings it. Pure but for being changed.

Versions are compared as numbers: they are etcd's revisions, and from 1.35 on documented to be comparable.
"""

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Generic, NamedTuple, TypeVar

from daemon.engine.objects import ApiObject
from daemon.objects.meta import Key

T = TypeVar("T", bound=ApiObject)
Indexer = Callable[[T], Iterable[str]]
"""The values under which an object is found in an index."""

_BURIED = 2048
"""Objects that are remembered as gone, so that a late answer does not bring them back."""


class Difference(NamedTuple, Generic[T]):
    """An object before and after; None where it was or is not there."""

    before: T | None
    after: T | None


class Cache(Generic[T]):
    """Objects by key, and by what indexes say of them."""

    def __init__(
        self, indexes: Mapping[str, Indexer[T]], objects: MutableMapping[Key, T] | None = None
    ) -> None:
        """*objects* is where they lie: by default a dict, else an empty mapping that may make them anew."""
        self._objects: MutableMapping[Key, T] = {} if objects is None else objects
        self._indexers = indexes
        self._indexes: dict[str, dict[str, dict[Key, None]]] = {name: {} for name in indexes}
        self._buried: OrderedDict[str, int] = OrderedDict()
        """By UID, the version up to which news of an object come too late."""

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, key: Key) -> T | None:
        """The object of that key."""
        return self._objects.get(key)

    def list(self) -> Sequence[T]:
        """All objects."""
        return tuple(self._objects.values())

    def indexed(self, index: str, value: str) -> Sequence[T]:
        """The objects that *index* files under *value*."""
        return tuple(self._objects[key] for key in self._indexes[index].get(value, ()))

    def put(self, obj: T) -> Difference[T] | None:
        """Take *obj* in unless something at least as new is known."""
        before = self._objects.get(obj.metadata.key)
        known = _version(before) if before is not None else -1
        if number(obj.metadata.resource_version) <= max(known, self._buried.get(obj.metadata.uid, -1)):
            return None
        self._set(before, obj)
        return Difference(before, obj)

    def drop(self, obj: T) -> Difference[T] | None:
        """Learn that at the version of *obj* the object was gone, or was none of ours any more."""
        metadata = obj.metadata
        version = number(metadata.resource_version)
        before = self._objects.get(metadata.key)
        if before is None or before.metadata.uid != metadata.uid:
            self._bury(metadata.uid, version)
            return None
        return self._remove(before, version) if _version(before) <= version else None

    def bury(self, obj: T) -> Difference[T] | None:
        """Learn that the object with this UID is gone for good: no late news brings it back."""
        self._bury(obj.metadata.uid, sys.maxsize)
        before = self._objects.get(obj.metadata.key)
        same = before is not None and before.metadata.uid == obj.metadata.uid
        return self._remove(before, sys.maxsize) if same and before is not None else None

    def keep(self, seen: AbstractSet[Key], version: str) -> Sequence[Difference[T]]:
        """Remove what is not among the *seen*, all that there was at *version*; what is newer stays."""
        limit = number(version)
        gone = [obj for key, obj in self._objects.items() if key not in seen and _version(obj) <= limit]
        return [self._remove(obj, limit) for obj in gone]

    def _remove(self, obj: T, version: int) -> Difference[T]:
        self._bury(obj.metadata.uid, version)
        self._set(obj, None)
        return Difference(obj, None)

    def _set(self, before: T | None, after: T | None) -> None:
        if before is not None:
            self._file(before, put=False)
            del self._objects[before.metadata.key]
        if after is not None:
            self._objects[after.metadata.key] = after
            self._file(after, put=True)

    def _file(self, obj: T, *, put: bool) -> None:
        key = obj.metadata.key
        for name, indexer in self._indexers.items():
            index = self._indexes[name]
            for value in indexer(obj):
                if put:
                    index.setdefault(value, {})[key] = None
                elif value in index:
                    index[value].pop(key, None)
                    if not index[value]:
                        del index[value]

    def _bury(self, uid: str, version: int) -> None:
        self._buried[uid] = max(version, self._buried.get(uid, 0))
        if len(self._buried) > _BURIED:
            self._buried.popitem(last=False)


def number(version: str) -> int:
    """A resource version as a number, 0 for none."""
    return int(version) if version.isdecimal() else 0


def _version(obj: ApiObject) -> int:
    return number(obj.metadata.resource_version)
