"""Which blobs and which snapshot of containerd an image consists of."""

from collections.abc import Iterable
from typing import Final

from daemon.cri.containerd.contents import ContentStore
from daemon.cri.containerd.leases import Resource, content, snapshot
from daemon.cri.errors import NotFoundError
from daemon.cri.manifests import Index, Manifest, ManifestError, chain_id, diff_ids
from daemon.cri.types import FsUsage

_DEEPEST: Final = 3
"""Indexes within indexes; the specification allows any number, nobody uses more than two."""
_SNAPSHOTTER: Final = "io.containerd.snapshotter.v1."
"""containerd names the folder of a snapshotter like its plugin."""


def snapshotter_of(usages: Iterable[FsUsage]) -> str | None:
    """The snapshotter that holds CRI's images; None when its folder does not tell."""
    for usage in usages:
        folder = usage.mountpoint.rpartition("/")[2]
        if folder.startswith(_SNAPSHOTTER):
            return folder.removeprefix(_SNAPSHOTTER)
    return None


async def holdings(
    store: ContentStore, target: str, image_id: str, snapshotter: str | None
) -> frozenset[Resource]:
    """Find what to keep of the image below *target*. *image_id* is its config's digest. Raises CriError.

    Always the target, whose labels lead containerd's garbage collection to what lies below it.
    """
    found = await _manifest(store, target, image_id, _DEEPEST)
    if found is None:
        return frozenset({content(target)})
    documents, manifest = found
    blobs = (*documents, manifest.config.digest, *(layer.digest for layer in manifest.layers))
    kept = {content(digest) for digest in blobs}
    chain = await _chain_id(store, manifest)
    return frozenset(kept | ({snapshot(snapshotter, chain)} if snapshotter and chain else set()))


async def _manifest(
    store: ContentStore, digest: str, image_id: str, depth: int
) -> tuple[tuple[str, ...], Manifest] | None:
    """The manifest with that configuration, and the digests that lead to it."""
    try:
        document = await store.parsed(digest)
    except (NotFoundError, ManifestError):
        return None  # That of another platform, or of something else than an image.
    if isinstance(document, Manifest):
        return ((digest,), document) if document.config.digest == image_id else None
    return await _manifest_in(store, digest, document, image_id, depth) if depth else None


async def _manifest_in(
    store: ContentStore, digest: str, index: Index, image_id: str, depth: int
) -> tuple[tuple[str, ...], Manifest] | None:
    for _, child in index.manifests:
        if found := await _manifest(store, child.digest, image_id, depth - 1):
            return (digest, *found[0]), found[1]
    return None


async def _chain_id(store: ContentStore, manifest: Manifest) -> str:
    """The name of the image's snapshot; empty when its configuration does not tell."""
    try:
        return chain_id(diff_ids(await store.read(manifest.config.digest)))
    except (NotFoundError, ManifestError):
        return ""
