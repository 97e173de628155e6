"""One of several candidates leads, by holding a Lease."""

from collections.abc import Awaitable, Callable

from daemon.kube.client import ApiClient
from daemon.objects.meta import Key


class Election:
    """A candidate for the Lease *key*.

    It leads at most *renew_deadline* seconds beyond the start of its last renewal that came through; others
    take over only *lease_seconds* after they saw that renewal, by their own monotonic clocks.
    """

    def __init__(
        self,
        client: ApiClient,
        key: Key,
        identity: str,
        *,
        lease_seconds: int = 10,
        renew_deadline: float = 6.0,
        retry: float = 2.0,
    ) -> None:
        raise NotImplementedError

    @property
    def leading(self) -> bool:
        """Whether this candidate leads now."""
        raise NotImplementedError

    @property
    def leader(self) -> str:
        """The identity of the leader as last seen, empty when there is none."""
        raise NotImplementedError

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Stand until cancelled; run *lead* while leading, cancel it when leadership is lost, stand again.

        Returns when *lead* returns by itself. The Lease is given up at the end, so that another takes it at once.
        """
        raise NotImplementedError
