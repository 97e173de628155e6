"""Manifests and indexes as registries serve them, and the choice of a platform. Pure.

Formats: OCI image specification 1.1, and Docker's image manifest version 2, schema 2 with its manifest list.
"""

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256, sha512
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from daemon.cri.extras import Blob
from daemon.nodeimages.registry_errors import GarbageError, NotFoundError

MEDIA_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
"""What is asked for. Schema 1 is not: it tells no sizes, and runtimes no longer take it."""

_Digest = Annotated[str, Meta(pattern=r"^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$")]
_Size = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_HASHES = {"sha256": sha256, "sha512": sha512}
_MACHINES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armv8l": ("arm", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
    "loongarch64": ("loong64", ""),
}
_ALIASES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "i386": "386",
    "aarch64": "arm64",
    "armhf": "arm",
    "armel": "arm",
}
_DEFAULT_VARIANTS = {"amd64": "v1", "arm64": "v8", "arm": "v7"}
_ARM_VARIANTS = ("v8", "v7", "v6", "v5")


class Platform(NamedTuple):
    """What an image runs on, in Go's words."""

    os: str
    arch: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image for one platform."""

    config: Blob
    layers: tuple[Blob, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """Manifests of one image; the platform is None where the index does not tell."""

    manifests: tuple[tuple[Platform | None, Blob], ...]


class _Platform(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""


class _Descriptor(msgspec.Struct):
    digest: _Digest
    size: _Size
    platform: _Platform | None = None

    @property
    def blob(self) -> Blob:
        return Blob(self.digest, self.size)


class _Document(msgspec.Struct):
    schema_version: int = msgspec.field(default=0, name="schemaVersion")
    config: _Descriptor | None = None
    layers: tuple[_Descriptor, ...] | None = None
    manifests: tuple[_Descriptor, ...] | None = None


class _Version(msgspec.Struct):
    schema_version: int = msgspec.field(default=0, name="schemaVersion")


def decode(body: bytes) -> Manifest | Index:
    """Read a manifest or an index by its content, as media types are often wrong. Raises GarbageError."""
    try:
        if msgspec.json.decode(body, type=_Version).schema_version == 1:
            raise GarbageError("a manifest of schema 1: rebuild the image with a tool of this decade")
        document = msgspec.json.decode(body, type=_Document)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise GarbageError(f"not a manifest: {error}") from error
    if document.manifests is not None:
        return Index(tuple((_platform_of(one), one.blob) for one in document.manifests))
    if document.config is None or document.layers is None:
        raise GarbageError("not a manifest: it has neither manifests nor config and layers")
    return Manifest(document.config.blob, tuple(layer.blob for layer in document.layers))


def digest_of(body: bytes, algorithm: str = "sha256") -> str:
    """The digest by which *body* is addressed."""
    return f"{algorithm}:{_HASHES[algorithm](body).hexdigest()}"


def choose(index: Index, wanted: Platform) -> Blob:
    """The manifest that containerd would take on *wanted*. Raises NotFoundError, listing what there is."""
    told = [(_normalised(offered), blob) for offered, blob in index.manifests if offered is not None]
    # What is told wins over what is not, as a manifest without a platform may be for any.
    fitting = [blob for candidate in _candidates(wanted) for offered, blob in told if offered == candidate]
    fitting += [blob for offered, blob in index.manifests if offered is None]
    if fitting:
        return fitting[0]
    there = sorted({str(offered) for offered, _ in told})
    raise NotFoundError(f"no image for {wanted}; there is one for {', '.join(there[:20]) or 'no platform'}")


def host_platform() -> Platform:
    """The platform of this machine."""
    machine = platform.machine()
    arch, variant = _MACHINES.get(machine, (machine, ""))
    return Platform("linux", arch, variant)


def _platform_of(descriptor: _Descriptor) -> Platform | None:
    found = descriptor.platform
    return Platform(found.os, found.architecture, found.variant) if found is not None else None


def _normalised(given: Platform) -> Platform:
    arch = _ALIASES.get(given.arch.lower(), given.arch.lower())
    variant = given.variant.lower() or _DEFAULT_VARIANTS.get(arch, "")
    if variant.isdigit():
        variant = f"v{variant}"
    return Platform(given.os.lower() or "linux", arch, variant)


def _candidates(wanted: Platform) -> Iterator[Platform]:
    """What runs on *wanted*, the best first: containerd's order."""
    best = _normalised(wanted)
    yield best
    if best.arch == "amd64":
        yield from (
            Platform(best.os, "amd64", variant) for variant in _lower(best.variant, ("v3", "v2", "v1"))
        )
        yield Platform(best.os, "386")
    if best.arch == "arm64":
        yield Platform(best.os, "arm64", "v8")
        yield from (Platform(best.os, "arm", variant) for variant in _ARM_VARIANTS)
    if best.arch == "arm":
        yield from (Platform(best.os, "arm", variant) for variant in _lower(best.variant, _ARM_VARIANTS))


def _lower(variant: str, variants: Sequence[str]) -> Sequence[str]:
    return [one for one in variants if one < variant]
