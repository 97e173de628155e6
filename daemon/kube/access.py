"""Where the API server is, and what proves to it who we are."""

import asyncio
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet puts the token and the CA of a pod's service account."""
_REREAD = 60.0
"""Seconds after which the token is read again: the kubelet renews it long before it ends."""


class AccessError(Exception):
    """There is no way to the API server, and the message says what is missing."""


class Credentials(msgspec.Struct, frozen=True):
    """What one request needs to be let in."""

    authorization: str = ""
    """The value of the Authorization header, empty when a client certificate or nothing is used."""
    tls: ssl.SSLContext | None = None
    """How to check the server and, with a client certificate, how to be checked; None for plain HTTP."""
    proxy: str | None = None
    """URL of the proxy on the way, if there is one."""
    server_name: str | None = None
    """The name that the server's certificate must be for, if not the one in the URL."""

    def __repr__(self) -> str:
        return "Credentials(***)"


class Access(Protocol):
    """A way to the API server: ``InCluster``, ``daemon.kube.kubeconfig.Kubeconfig`` or ``Fixed``."""

    async def server(self) -> str:
        """The URL of the API server without a slash at its end. Raises AccessError."""
        ...

    async def credentials(self) -> Credentials:
        """What the next request is to carry; cheap when nothing has changed. Raises AccessError."""
        ...

    def reject(self) -> None:
        """Learn that the server did not accept the credentials, so that the next ones are fetched anew."""
        ...


class Fixed(msgspec.Struct, frozen=True):
    """A server and credentials that never change."""

    url: str
    given: Credentials = Credentials()

    async def server(self) -> str:
        """The URL as it was given."""
        return self.url.rstrip("/")

    async def credentials(self) -> Credentials:
        """The credentials as they were given."""
        return self.given

    def reject(self) -> None:
        """There are no others."""


class InCluster:
    """The service account of the pod that this process runs in; the token is read again as it is renewed.

    Between two looks at its files are at least *between* seconds, however often the server refuses.
    """

    def __init__(
        self, environ: Mapping[str, str], directory: Path = SERVICE_ACCOUNT, *, between: float = 1.0
    ) -> None:
        self._environ = environ
        self._directory = directory
        self._credentials: Credentials | None = None
        self._ca = b""
        self._between = between
        self._read_at = 0.0
        self._stale_at = 0.0

    @property
    def available(self) -> bool:
        """Whether this process runs in a pod that may speak to the API server."""
        return "KUBERNETES_SERVICE_HOST" in self._environ and (self._directory / "token").exists()

    async def server(self) -> str:
        """The address that the kubelet gave to the pod. Raises AccessError."""
        host = self._environ.get("KUBERNETES_SERVICE_HOST", "")
        if not host:
            raise AccessError("KUBERNETES_SERVICE_HOST is not set: this is no pod, name a kubeconfig")
        shown = f"[{host}]" if ":" in host else host
        return f"https://{shown}:{self._environ.get('KUBERNETES_SERVICE_PORT', '443')}"

    async def credentials(self) -> Credentials:
        """Token and CA, at most a minute old. Raises AccessError."""
        now = time.monotonic()
        if self._credentials is None or now >= self._stale_at:
            self._read_at = now
            self._stale_at = now + _REREAD  # before the wait: others go on with what there is
            self._credentials = await asyncio.to_thread(self._read)
        return self._credentials

    def reject(self) -> None:
        """Read token and CA again before the next request, but not at each of many refusals."""
        self._stale_at = min(self._stale_at, self._read_at + self._between)

    def _read(self) -> Credentials:
        try:
            token = (self._directory / "token").read_text().strip()
            ca = (self._directory / "ca.crt").read_bytes()
            known = self._credentials
            tls = known.tls if known is not None and ca == self._ca else _trusting(ca)
        except (OSError, ssl.SSLError) as error:
            self._stale_at = time.monotonic() + self._between
            raise AccessError(f"the service account in {self._directory} cannot be read: {error}") from error
        self._ca = ca
        if known is not None and tls is known.tls and known.authorization == f"Bearer {token}":
            return known
        return Credentials(f"Bearer {token}", tls)


def _trusting(ca: bytes) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=ca.decode("ascii", errors="replace"))
