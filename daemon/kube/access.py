"""Where the API server is, and what proves to it who we are."""

import ssl
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one request needs to be let in."""

    authorization: str = ""
    """The value of the Authorization header, empty when a client certificate or nothing is used."""
    tls: ssl.SSLContext | None = None
    """How to check the server and, with a client certificate, how to be checked; None for plain HTTP."""

    def __repr__(self) -> str:
        return "Credentials(***)"


class Access(Protocol):
    """A way to the API server. ``InCluster``, ``daemon.kube.kubeconfig.Kubeconfig`` and ``Fixed`` are ways."""

    async def server(self) -> str:
        """The URL of the API server without a slash at its end. Raises AccessError."""
        ...

    async def credentials(self) -> Credentials:
        """What the next request is to carry; cheap when nothing has changed. Raises AccessError."""
        ...

    def reject(self) -> None:
        """Learn that the server did not accept the credentials, so that the next ones are fetched anew."""
        ...
