"""What an image consists of, read from its own documents: indexes, manifests, configurations. Pure.

Formats: OCI image specification 1.1 and Docker's image manifest version 2, schema 2, alike in what we read.
Registries serve them and runtimes keep them.
"""

from collections.abc import Sequence
from hashlib import sha256, sha384, sha512
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from daemon.cri.extras import Blob

MEDIA_TYPES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
"""What registries are asked for. Schema 1 is not: it tells no sizes, and runtimes no longer take it."""
LARGEST: Final = 8 * 2**20
"""Bytes. containerd itself refuses larger manifests."""

_Digest = Annotated[str, Meta(pattern=r"^(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})\Z")]
_HASHES: Final = {"sha256": sha256, "sha384": sha384, "sha512": sha512}
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises: also for text that is not UTF-8, and for lists within lists within lists."""


class ManifestError(ValueError):
    """Not a document of an image that we can read. Do not retry: the content does not change."""


class Platform(NamedTuple):
    """What an image runs on, in Go's words."""

    os: str
    arch: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


class Index(msgspec.Struct, frozen=True):
    """Manifests of one image; the platform is None where the index does not tell."""

    manifests: tuple[tuple[Platform | None, Blob], ...]


class Manifest(msgspec.Struct, frozen=True):
    """One image for one platform."""

    config: Blob
    layers: tuple[Blob, ...]


class _Platform(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""


class _Descriptor(msgspec.Struct):
    digest: _Digest
    size: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    platform: _Platform | None = None

    @property
    def blob(self) -> Blob:
        return Blob(self.digest, self.size)

    @property
    def offered(self) -> tuple[Platform | None, Blob]:
        """Itself with the platform it is for."""
        if self.platform is None:
            return None, self.blob
        return Platform(self.platform.os, self.platform.architecture, self.platform.variant), self.blob


class _Version(msgspec.Struct):
    schema_version: int = msgspec.field(default=0, name="schemaVersion")


class _Document(msgspec.Struct):
    config: _Descriptor | None = None
    layers: tuple[_Descriptor, ...] | None = None
    manifests: tuple[_Descriptor, ...] | None = None


class _RootFs(msgspec.Struct):
    diff_ids: tuple[_Digest, ...]


class _Config(msgspec.Struct):
    rootfs: _RootFs


def parse(document: bytes) -> Index | Manifest:
    """Read an index or a manifest by its content, as media types are often wrong. Raises ManifestError."""
    try:
        if msgspec.json.decode(document, type=_Version).schema_version == 1:
            raise ManifestError("a manifest of schema 1: rebuild the image with a tool of this decade")
        found = msgspec.json.decode(document, type=_Document)
    except _UNREADABLE as error:
        raise ManifestError(f"neither an index nor a manifest: {error}") from error
    return _told(found)


def _told(found: _Document) -> Index | Manifest:
    if found.manifests is not None and found.layers is not None:
        # CVE-2021-41190: each reader could take it for another image. containerd refuses it as well.
        raise ManifestError("an index and a manifest at once")
    if found.manifests is not None:
        return Index(tuple(manifest.offered for manifest in found.manifests))
    if found.config is None or found.layers is None:
        raise ManifestError("neither an index nor a manifest: it has no manifests, or no config and layers")
    return Manifest(found.config.blob, tuple(layer.blob for layer in found.layers))


def digest_of(document: bytes, algorithm: str = "sha256") -> str:
    """The digest by which *document* is addressed."""
    return f"{algorithm}:{_HASHES[algorithm](document).hexdigest()}"


def diff_ids(config: bytes) -> tuple[str, ...]:
    """The digests of the unpacked layers, the lowest first, from an image's config. Raises ManifestError."""
    try:
        return msgspec.json.decode(config, type=_Config).rootfs.diff_ids
    except _UNREADABLE as error:
        raise ManifestError(f"not the configuration of an image: {error}") from error


def chain_id(layers: Sequence[str]) -> str:
    """The name of the snapshot in which *layers* (diff ids, the lowest first) lie above each other.

    See "Layer ChainID" in the OCI image specification. Empty for no layers.
    """
    chain = ""
    for layer in layers:
        chain = f"sha256:{sha256(f'{chain} {layer}'.encode()).hexdigest()}" if chain else layer
    return chain
