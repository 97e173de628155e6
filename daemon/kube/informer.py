"""Keeps a copy of the objects of one kind, or a part of them, by following the API server's watch."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from daemon.engine.objects import ApiObject, Listener
from daemon.kube.client import ApiClient
from daemon.kube.resources import Resource
from daemon.kube.selections import EVERYTHING, Selection
from daemon.metrics import Metrics
from daemon.objects.meta import Key

T = TypeVar("T", bound=ApiObject)
Indexer = Callable[[T], Iterable[str]]
"""The values under which an object is found in an index."""
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
        raise NotImplementedError

    async def run(self) -> None:
        """Follow the objects until cancelled; never ends otherwise, whatever the server does."""
        raise NotImplementedError

    async def synced(self) -> None:
        """Return when all objects have been seen once. The caller sets the deadline."""
        raise NotImplementedError

    @property
    def behind(self) -> float:
        """Seconds for which the copy has been known to be out of date, 0 while it follows."""
        raise NotImplementedError

    def get(self, key: Key) -> T | None:
        """The object as last seen."""
        raise NotImplementedError

    def list(self) -> Sequence[T]:
        """All objects."""
        raise NotImplementedError

    def indexed(self, index: str, value: str) -> Sequence[T]:
        """The objects that *index* files under *value*."""
        raise NotImplementedError

    def subscribe(self, listener: Listener) -> None:
        """Have *listener* called on the loop with the key of each object that changes; it must not block."""
        raise NotImplementedError

    def on_change(self, listener: ChangeListener[T]) -> None:
        """Have *listener* called with each object before and after its change; it must not block."""
        raise NotImplementedError

    def learn(self, obj: T) -> None:
        """Take in what a write of this process returned, unless something newer is known."""
        raise NotImplementedError

    def forget(self, obj: T) -> None:
        """Take in that this object (this UID) was removed by this process."""
        raise NotImplementedError
