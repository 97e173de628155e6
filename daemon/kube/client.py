"""The one that speaks HTTP to the API server: requests with deadlines in, typed objects or errors out."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from daemon.engine.objects import ApiObject
from daemon.kube.access import Access
from daemon.kube.resources import Resource
from daemon.kube.selections import EVERYTHING, Selection
from daemon.metrics import Metrics
from daemon.objects.meta import Key

T = TypeVar("T", bound=ApiObject)


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """All objects of one selection, at one version of the cluster's state."""

    objects: tuple[T, ...]
    resource_version: str


class ApiClient:
    """Requests to one API server. Use it as a context manager, or call ``close`` in the end.

    Every call has a deadline (seconds), is counted by verb, resource and code, and may be cancelled. Answers of
    429 and 5xx that say when to come back are tried again within the deadline. Raises ApiError's kinds.
    """

    def __init__(
        self, access: Access, metrics: Metrics, *, user_agent: str = "inplaced", deadline: float = 15.0
    ) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""

    async def get(self, resource: Resource[T], key: Key) -> T:
        """Read one object as it is stored now. Raises MissingError."""
        raise NotImplementedError

    async def list(self, resource: Resource[T], selection: Selection = EVERYTHING) -> Listed[T]:
        """Read all objects of *selection*, page by page."""
        raise NotImplementedError

    async def create(self, resource: Resource[T], obj: T) -> T:
        """Store a new object. Raises TakenError."""
        raise NotImplementedError

    async def delete(self, resource: Resource[T], key: Key, *, uid: str = "") -> T | None:
        """Remove the object, what it owns in the background.

        Returns it when finalizers still hold it. Raises MissingError, or ChangedError for another *uid*.
        """
        raise NotImplementedError

    async def served(self, resource: Resource[T], versions: tuple[str, ...]) -> Resource[T]:
        """*resource* in the first of *versions* that the server serves. Raises MissingError."""
        raise NotImplementedError
