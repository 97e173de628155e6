"""What the debug server asks of the process around it. Implemented by the composition roots."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from daemon.debug.views import NodeView


class Following(Protocol):
    """A copy of objects on the API server."""

    @property
    def behind(self) -> float:
        """Seconds for which the copy has been known to be out of date, 0 while it follows."""
        ...

    @property
    def problem(self) -> str:
        """Why it is; empty while it follows, and before the first failure."""
        ...


class Check(Struct, frozen=True):
    """One line of ``/readyz?verbose``."""

    name: str
    ok: bool
    message: str = ""


def followed(name: str, *copies: Following) -> Check:
    """Whether all the copies follow; if not, for how long and why."""
    worst = max(copies, key=lambda each: each.behind)
    why = f": {worst.problem}" if worst.problem else ""
    message = f"the API server has not been followed for {worst.behind:.0f} s{why}" if worst.behind else ""
    return Check(name, ok=not worst.behind, message=message)


class PullRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What ``inplaced pull`` asks for. Sent over the unix socket only."""

    images: tuple[str, ...]
    docker_config: str = ""
    """Text of a docker config.json, empty for none. A secret."""
    image_pull_policy: str = "IfNotPresent"
    priority: int = 0
    timeout_seconds: int = 600
    backoff_limit: int = 3
    active_deadline_seconds: int | None = None
    ttl_seconds_after_finished: int | None = None

    def __repr__(self) -> str:
        return f"PullRequest({', '.join(self.images)})"


class PullAnswer(Struct, frozen=True, kw_only=True, rename="camel"):
    """The jobs that were made, as namespace/name in the order of the images."""

    jobs: tuple[str, ...]


class RefusedError(Exception):
    """The request is wrong; the message names the field, the value and what is allowed. Becomes HTTP 400."""


class Sources(Protocol):
    """Everything that can be seen. All calls are cheap and do not wait."""

    def view(self) -> NodeView:
        """The node now."""
        ...

    def live(self) -> Sequence[Check]:
        """Reasons to be restarted: only what a restart can mend."""
        ...

    def ready(self) -> Sequence[Check]:
        """Whether work can be done: runtime connected, manifests read."""
        ...

    def flags(self) -> Mapping[str, Any]:
        """Every setting with its value, secrets replaced."""
        ...

    def metrics(self) -> bytes:
        """The Prometheus text exposition."""
        ...

    async def changed(self, seen: int) -> int:
        """Wait until the view's number is above *seen*, and return it. Cancellable."""
        ...


class Asks(Protocol):
    """What may be asked over the unix socket."""

    async def pull(self, request: PullRequest) -> PullAnswer:
        """Make one job an image. Raises RefusedError."""
        ...
