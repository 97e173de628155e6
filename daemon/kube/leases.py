"""Signs of life: an agent renews its Lease, the controller sees by its own clock who has stopped."""

from collections.abc import Callable

from daemon.kube.client import ApiClient
from daemon.kube.informer import Informer
from daemon.objects.leases import Lease
from daemon.objects.meta import Key


class Heartbeat:
    """Renews the Lease *key* every *interval* seconds; makes it when it is not there."""

    def __init__(
        self, client: ApiClient, key: Key, holder: str, *, interval: float = 15.0, duration: int = 45
    ) -> None:
        raise NotImplementedError

    async def run(self) -> None:
        """Renew until cancelled, whatever the server answers."""
        raise NotImplementedError

    @property
    def last(self) -> float:
        """Monotonic time of the last renewal that came through, 0 before the first."""
        raise NotImplementedError


class Pulses:
    """Who is alive: a Lease that was not seen to be renewed for its own duration has lapsed.

    Measured on this process's monotonic clock from when a renewal was *seen*, so skewed clocks do not matter.
    """

    def __init__(self, leases: Informer[Lease], *, patience: float = 50.0) -> None:
        raise NotImplementedError

    def alive(self, key: Key) -> bool:
        """Tell whether the holder has given a sign of life within *patience* seconds; False without a Lease."""
        raise NotImplementedError

    def on_change(self, listener: Callable[[Key, bool], None]) -> None:
        """Have *listener* called with the key of a Lease and whether its holder now lives."""
        raise NotImplementedError

    async def run(self) -> None:
        """Tell of the lapsed until cancelled; without it ``alive`` is right but nobody is told."""
        raise NotImplementedError
