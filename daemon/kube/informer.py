"""Keeps a copy of the objects of one kind, or a part of them, by following the API server's watch."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Generic, TypeVar

from daemon.engine.objects import ApiObject, Listener
from daemon.kube.cache import Cache, Difference, Indexer
from daemon.kube.client import ApiClient
from daemon.kube.following import Follower
from daemon.kube.packing import Packed
from daemon.kube.resources import Resource
from daemon.kube.selections import EVERYTHING, Selection
from daemon.metrics import Metrics
from daemon.objects.meta import Key

T = TypeVar("T", bound=ApiObject)
ChangeListener = Callable[[T | None, T | None], None]
"""Called with the object before and after; None where it was or is not there."""


class Informer(Generic[T]):
    """The objects of *selection* as last seen. ``run`` must be running (a feeder of ``run_parts``)."""

    def __init__(
        self,
        client: ApiClient,
        resource: Resource[T],
        metrics: Metrics,
        *,
        selection: Selection = EVERYTHING,
        indexes: Mapping[str, Indexer[T]] | None = None,
    ) -> None:
        self.resource = resource
        self._selection = selection
        self._cache: Cache[T] = Cache(indexes or {}, Packed(resource.type) if resource.packed else None)
        self._listeners: list[ChangeListener[T]] = []
        self._follower = Follower(client, resource, selection, _CacheSink(self), metrics)

    @property
    def selection(self) -> Selection:
        """Which objects are followed."""
        return self._selection

    async def run(self) -> None:
        """Follow the objects until cancelled; never ends otherwise, whatever the server does."""
        await self._follower.run()

    async def synced(self) -> None:
        """Return when all objects have been seen once. The caller sets the deadline."""
        await self._follower.synced.wait()

    @property
    def behind(self) -> float:
        """Seconds for which changes may have been missed, 0 while the watch brings them."""
        lost_at = self._follower.lost_at
        return 0.0 if lost_at is None else asyncio.get_running_loop().time() - lost_at

    @property
    def problem(self) -> str:
        """Why changes may have been missed, as the last failure has it; empty while the watch brings them."""
        return self._follower.problem

    @property
    def followed_since(self) -> float:
        """The loop's time since when no change was missed; 0 before the first time."""
        return self._follower.followed_since

    def get(self, key: Key) -> T | None:
        """The object as last seen."""
        return self._cache.get(key)

    def list(self) -> Sequence[T]:
        """All objects."""
        return self._cache.list()

    def indexed(self, index: str, value: str) -> Sequence[T]:
        """The objects that *index* files under *value*."""
        return self._cache.indexed(index, value)

    def subscribe(self, listener: Listener) -> None:
        """Have *listener* called on the loop with the key of each object that changes; it must not block."""
        self.on_change(lambda before, after: listener(_key(before, after)))

    def on_change(self, listener: ChangeListener[T]) -> None:
        """Have *listener* called with each object before and after its change; it must not block."""
        self._listeners.append(listener)

    def learn(self, obj: T) -> None:
        """Take in what a write of this process returned, unless something newer is known."""
        if self._selection.admits(obj):
            self._follower.expect(obj.metadata.resource_version)
            self.take(self._cache.put(obj))
        else:
            self.take(self._cache.drop(obj))

    def forget(self, obj: T) -> None:
        """Take in that this object (this UID) was removed by this process."""
        self.take(self._cache.bury(obj))

    @property
    def cache(self) -> Cache[T]:
        """The objects themselves."""
        return self._cache

    def take(self, difference: Difference[T] | None) -> None:
        """Tell the listeners what has changed, if anything has."""
        if difference is not None:
            for listener in self._listeners:
                listener(difference.before, difference.after)


class _CacheSink(Generic[T]):
    """Puts what the watch brings into the informer's cache."""

    def __init__(self, informer: Informer[T]) -> None:
        self._informer = informer

    def put(self, obj: T) -> None:
        self._informer.take(self._informer.cache.put(obj))

    def drop(self, obj: T) -> None:
        self._informer.take(self._informer.cache.drop(obj))

    def keep(self, seen: AbstractSet[Key], version: str) -> None:
        for difference in self._informer.cache.keep(seen, version):
            self._informer.take(difference)


def _key(before: ApiObject | None, after: ApiObject | None) -> Key:
    known = after if after is not None else before
    assert known is not None
    return known.metadata.key
