"""Looks before a pull: is the image present, how large is it, how much room is there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from daemon.cri.extras import Blob
from daemon.cri.runtimes import Runtime
from daemon.nodeimages.access import Access
from daemon.nodeimages.credentials import Credential
from daemon.nodeimages.disk import Space, needed_bytes, read_space
from daemon.nodeimages.plans import (
    Facts,
    Wanted,
)
from daemon.nodeimages.registry import ImageSize, RegistryError, UnusableProxyError
from daemon.objects.references import ImageReference, parse

log = structlog.get_logger()


class Measured(msgspec.Struct, frozen=True):
    """One look at an image. ``blobs``, its config first, is None where the registry did not tell them."""

    facts: Facts
    blobs: tuple[Blob, ...] | None = None
    present: frozenset[str] = frozenset()
    """Digests of those blobs that are on the node already."""


class Sizes(Protocol):
    """Tells what an image is made of."""

    async def measure(
        self, ref: ImageReference, credentials: Sequence[Credential], *, timeout: float
    ) -> ImageSize:
        """Read it from the registry. Raises RegistryError."""
        ...


class Measuring:
    """Looks at images for one node."""

    def __init__(
        self, access: Access, sizes: Sizes | None, *, timeout: float, factor: float, floor: int
    ) -> None:
        self._access = access
        self._sizes = sizes
        self._timeout = timeout
        self._factor = factor
        self._floor = floor
        self._proxies_told: set[str] = set()

    async def look(self, wanted: Wanted, runtime: Runtime, known: tuple[Blob, ...] | None = None) -> Measured:
        """Find out what a pull of *wanted* would do now. Raises CriError when the runtime fails.

        *known* is what an earlier look found the image to be made of: its registry is not asked again then.
        """
        if wanted.rule == "IfNotPresent":
            image = await runtime.client.image_status(wanted.ref)
            if image is not None:
                return Measured(Facts(image_id=image.id))
        blobs = known or await self._blobs(wanted)
        if blobs is None:
            return Measured(Facts(needed=self._floor))
        # The configuration is small, and not there without the image: it is not worth a question.
        present = await runtime.extras.present([blob.digest for blob in blobs[1:]])
        return Measured(Facts(needed=needed_bytes(blobs[1:], present, self._factor)), blobs, present)

    async def _blobs(self, wanted: Wanted) -> tuple[Blob, ...] | None:
        size = await self._size(wanted)
        return None if size is None else (size.config, *size.layers)

    async def _size(self, wanted: Wanted) -> ImageSize | None:
        if self._sizes is None:
            return None
        try:
            credentials = await self._access.credentials(wanted)
            return await self._sizes.measure(parse(wanted.ref), credentials, timeout=self._timeout)
        except UnusableProxyError as error:
            self._tell_proxy(str(error))
            return None
        except RegistryError as error:
            # Only an estimate is lost: the runtime may reach the registry in ways that we do not.
            log.info("image size unknown", image=wanted.ref, error=str(error))
            return None

    def _tell_proxy(self, problem: str) -> None:
        """It is the same for every image until the agent is started in another environment."""
        if problem not in self._proxies_told:
            self._proxies_told.add(problem)
            log.warning(
                "image sizes unknown: the way to registries is a proxy of another kind", error=problem
            )


class DiskError(Exception):
    """Where the images lie cannot be told or read; the message names the place."""


class ImageDisk:
    """The file system that holds the images of a runtime."""

    def __init__(self, host_root: Path) -> None:
        self._host_root = host_root
        self._mountpoints: dict[str, str] = {}

    async def space(self, runtime: Runtime) -> tuple[str, Space]:
        """Its mount point and room. Raises CriError or DiskError."""
        mountpoint = self._mountpoints.get(runtime.socket) or await self._find(runtime)
        path = self._host_root / mountpoint.lstrip("/")
        try:
            return mountpoint, read_space(path)
        except OSError as error:
            self._mountpoints.pop(runtime.socket, None)
            problem = f"the file system of the images cannot be read: {path}: {error.strerror}"
            raise DiskError(problem) from error

    async def _find(self, runtime: Runtime) -> str:
        usage = await runtime.client.image_fs_info()
        if not usage:
            raise DiskError("the runtime does not say on which file system its images lie")
        return self._mountpoints.setdefault(runtime.socket, usage[0].mountpoint)
