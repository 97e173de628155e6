"""What an image consists of, read from its own documents: indexes, manifests, configurations. Pure.

Formats: OCI image specification 1.1 and Docker's image manifest version 2, schema 2, alike in what we read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from daemon.cri.extras import Blob

Digest = Annotated[str, Meta(pattern=r"^(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})\Z")]

LARGEST: Final = 8 * 2**20
"""Bytes. containerd itself refuses larger manifests."""


_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises: also for text that is not UTF-8, and for lists within lists within lists."""


class ManifestError(ValueError):
    """Not a document of an image that we can read. Do not retry: the content does not change."""


@dataclass(frozen=True, slots=True)
class Index:
    """The manifests of one image for several platforms."""

    manifests: tuple[Blob, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image for one platform."""

    config: Blob
    layers: tuple[Blob, ...]


class _Descriptor(msgspec.Struct):
    digest: Digest
    size: Annotated[int, Meta(ge=0, le=2**63 - 1)]

    @property
    def blob(self) -> Blob:
        return Blob(self.digest, self.size)


class _Document(msgspec.Struct):
    config: _Descriptor | None = None
    layers: tuple[_Descriptor, ...] | None = None
    manifests: tuple[_Descriptor, ...] | None = None


class _RootFs(msgspec.Struct):
    diff_ids: tuple[Digest, ...]


class _Config(msgspec.Struct):
    rootfs: _RootFs


def parse(document: bytes) -> Index | Manifest:
    """Read an index or a manifest. Raises ManifestError."""
    try:
        found = msgspec.json.decode(document, type=_Document)
    except _UNREADABLE as error:
        raise ManifestError(f"neither an index nor a manifest: {error}") from error
    if found.config is not None and found.layers is not None:
        return Manifest(found.config.blob, tuple(layer.blob for layer in found.layers))
    if found.manifests is not None:
        return Index(tuple(manifest.blob for manifest in found.manifests))
    raise ManifestError("neither an index nor a manifest: it has no layers and no manifests")


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
