"""Reads from its registry what an image is made of, before a byte of it is pulled.

Hosts, their order and their TLS are those that the node's containerd uses. So is who may see a credential:
the hosts that the node's configuration names for a registry, and the token server that such a host names.
"""

import asyncio
import ssl
from collections.abc import Sequence

import aiohttp

from daemon.cri.manifests import Platform
from daemon.nodeimages.credentials import Credential
from daemon.nodeimages.hosts import Endpoint, HostsConfig, HostsError
from daemon.nodeimages.platforms import host_platform
from daemon.nodeimages.registry_errors import (
    GarbageError,
    NotFoundError,
    RegistryError,
    UnauthorisedError,
    UnreachableError,
)
from daemon.nodeimages.visits import ImageSize, Visit
from daemon.objects.references import ImageReference

__all__ = [
    "GarbageError",
    "ImageSize",
    "NotFoundError",
    "RegistryClient",
    "RegistryError",
    "UnauthorisedError",
    "UnreachableError",
]


class RegistryClient:
    """Asks registries in the way of the node's containerd.

    The session is the caller's: without cookies, and with ``trust_env`` where containerd has a proxy.
    """

    def __init__(self, session: aiohttp.ClientSession, hosts: HostsConfig) -> None:
        self._session = session
        self._hosts = hosts

    async def measure(
        self,
        ref: ImageReference,
        credentials: Sequence[Credential],
        *,
        timeout: float,
        platform: Platform | tuple[str, str, str] | None = None,
    ) -> ImageSize:
        """Read the manifest of *ref* for *platform* (this machine's, if None) within *timeout* seconds.

        Credentials are tried in order, then none at all. Raises RegistryError.
        """
        wanted = host_platform() if platform is None else Platform(*platform)
        try:
            async with asyncio.timeout(timeout):
                return await self._measure(ref, credentials, wanted)
        except TimeoutError as error:
            raise UnreachableError(f"{ref.registry} did not answer within {timeout:g} s") from error

    async def _measure(
        self, ref: ImageReference, credentials: Sequence[Credential], platform: Platform
    ) -> ImageSize:
        problems: list[RegistryError] = []
        for endpoint, tls in await asyncio.to_thread(self._places, ref):
            visit = Visit(self._session, endpoint, tls, ref)
            try:
                return await visit.measure(credentials, platform)
            except RegistryError as error:
                problems.append(error)
        if not problems:
            raise UnreachableError(f"the node's configuration names no host to pull {ref.registry} from")
        # Of the most telling ones the last, as the registry itself comes after its mirrors.
        raise max(reversed(problems), key=_telling)

    def _places(self, ref: ImageReference) -> list[tuple[Endpoint, ssl.SSLContext | None]]:
        """The hosts that may answer. Blocks on small files."""
        needed = {"pull"} if ref.digest else {"pull", "resolve"}
        try:
            endpoints = self._hosts.endpoints(ref.registry)
            return [(one, one.tls.context()) for one in endpoints if needed <= one.capabilities]
        except HostsError as error:
            raise UnreachableError(str(error)) from error


def _telling(problem: RegistryError) -> int:
    """How much a problem says of the image, rather than of the way to it."""
    if isinstance(problem, UnauthorisedError | NotFoundError):
        return 2
    return 1 if isinstance(problem, GarbageError) else 0
