"""Reads from its registry what an image is made of, before a byte of it is pulled.

Hosts, their order and their TLS are those that the node's containerd uses. So is who may see a credential:
the hosts that the node's configuration names for a registry, and the token server that such a host names.
"""

import asyncio
import ssl
from collections.abc import Sequence
from time import monotonic

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
    UnusableProxyError,
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
    "UnusableProxyError",
]


_FRESH = 2.0
"""Seconds for which a registry's settings are not read again, so that many images of it share connections."""
_Places = list[tuple[Endpoint, ssl.SSLContext | None]]


class RegistryClient:
    """Asks registries in the way of the node's containerd.

    The session is the caller's: without cookies, and without ``trust_env``, which would read ~/.netrc.
    """

    def __init__(self, session: aiohttp.ClientSession, hosts: HostsConfig) -> None:
        self._session = session
        self._hosts = hosts
        self._read: dict[str, tuple[float, _Places]] = {}
        """Where registries are reached, and until when (monotonic seconds) that counts as known."""
        self._reading = asyncio.Lock()

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
        for endpoint, tls in await self._places(ref):
            visit = Visit(self._session, endpoint, tls, ref)
            try:
                return await visit.measure(credentials, platform)
            except RegistryError as error:
                problems.append(error)
        if not problems:
            raise UnreachableError(f"the node's configuration names no host to pull {ref.registry} from")
        # Of the most telling ones the last, as the registry itself comes after its mirrors.
        raise max(reversed(problems), key=_telling)

    async def _places(self, ref: ImageReference) -> _Places:
        """The hosts that may answer."""
        async with self._reading:  # Others that want to know the same get it from the first.
            until, places = self._read.get(ref.registry, (0.0, []))
            if monotonic() >= until:
                places = await asyncio.to_thread(self._read_places, ref.registry)
                now = monotonic()
                self._read = {name: known for name, known in self._read.items() if known[0] > now}
                self._read[ref.registry] = now + _FRESH, places
        return [(one, tls) for one, tls in places if ref.digest or "resolve" in one.capabilities]

    def _read_places(self, registry: str) -> _Places:
        """Blocks on small files."""
        try:
            endpoints = self._hosts.endpoints(registry)
            return [(one, one.tls.context()) for one in endpoints if "pull" in one.capabilities]
        except HostsError as error:
            raise UnreachableError(str(error)) from error


def _telling(problem: RegistryError) -> int:
    """How much a problem says of the image, rather than of the way to it."""
    if isinstance(problem, UnauthorisedError | NotFoundError):
        return 2
    return 1 if isinstance(problem, GarbageError) else 0
