"""Makes container images: deterministic, of any size, never wholly in memory, with layers to share or to run.

The same seed and size always give the same digest. The bytes are incompressible, as those of real models and
archives are, so that sizes on the wire are what was asked for.
"""

import hashlib
import io
import itertools
import json
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from tests.testbed.session import TestbedError

CHUNK: Final = 1 << 20
BUSYBOX: Final = Path("/bin/busybox")
CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"
DOCKER_TYPES: Final = {
    CONFIG_TYPE: "application/vnd.docker.container.image.v1+json",
    LAYER_TYPE: "application/vnd.docker.image.rootfs.diff.tar.gzip",
    MANIFEST_TYPE: "application/vnd.docker.distribution.manifest.v2+json",
    INDEX_TYPE: "application/vnd.docker.distribution.manifest.list.v2+json",
}
Source = Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Platform:
    """For which machines an image is."""

    architecture: str = "amd64"
    os: str = "linux"


HERE: Final = Platform()


@dataclass(frozen=True, slots=True)
class Blob:
    """Something that a registry stores by its digest. Size is bytes."""

    digest: str
    size: int
    media_type: str
    source: Source = field(repr=False, compare=False)

    @property
    def descriptor(self) -> dict[str, Any]:
        """As it stands in a manifest."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True)
class Layer:
    """A compressed layer, and the digest of it uncompressed."""

    blob: Blob
    diff_id: str

    @property
    def digest(self) -> str:
        """Of the compressed layer."""
        return self.blob.digest

    @property
    def size(self) -> int:
        """Compressed, in bytes."""
        return self.blob.size


@dataclass(frozen=True, slots=True)
class Build:
    """A manifest, or an index of manifests, with all that it points at. It lies in no registry yet."""

    manifest: Blob
    config: Blob | None
    """None for an index."""
    layers: tuple[Layer, ...] = ()
    parts: tuple["Build", ...] = ()
    """The builds that an index points at."""
    platform: Platform = HERE

    @property
    def digest(self) -> str:
        """Of the manifest or index."""
        return self.manifest.digest

    def blobs(self) -> Iterator[Blob]:
        """Config and layers, those of the parts included."""
        if self.config is not None:
            yield self.config
        yield from (layer.blob for layer in self.layers)
        for part in self.parts:
            yield from part.blobs()

    def manifests(self) -> Iterator[Blob]:
        """Parts first, as a registry wants them."""
        for part in self.parts:
            yield from part.manifests()
        yield self.manifest


def random_layer(seed: str, size: int) -> Layer:
    """A layer with one file of *size* incompressible bytes, which *seed* alone decides."""
    return _random_layer(seed, size)


@lru_cache(maxsize=1024)
def _random_layer(seed: str, size: int) -> Layer:
    name = f"data/{hashlib.sha256(seed.encode()).hexdigest()[:12]}.bin"
    return _layer(lambda: _tar_of_one_file(name, size, random_bytes(seed, size)), level=0)


def random_bytes(seed: str, size: int) -> Iterator[bytes]:
    """*size* bytes that look random."""
    for number in itertools.count():
        if size <= 0:
            return
        yield hashlib.shake_128(f"{seed}/{number}".encode()).digest(min(CHUNK, size))
        size -= CHUNK


def files_layer(files: Mapping[str, bytes]) -> Layer:
    """A layer with these text files, by path without leading slash."""
    entries = [(_file(name, len(content)), content) for name, content in sorted(files.items())]
    content = _tar(entries)
    return _layer(lambda: iter((content,)), level=6)


@lru_cache(maxsize=1)
def busybox_layer() -> Layer:
    """A layer with a shell and the usual commands in /bin, all static."""
    if not BUSYBOX.exists():
        raise TestbedError(f"{BUSYBOX} is missing: install the package busybox-static")
    binary = BUSYBOX.read_bytes()
    links = (
        "sh",
        "sleep",
        "echo",
        "cat",
        "env",
        "ls",
        "true",
        "false",
        "wget",
        "httpd",
        "test",
        "touch",
        "kill",
    )
    entries = [(_file("bin/busybox", len(binary), mode=0o755), binary)]
    entries += [(_link(f"bin/{name}", "busybox"), b"") for name in sorted(links)]
    entries += [(_directory(name), b"") for name in ("dev", "etc", "proc", "sys", "tmp")]
    content = _tar(entries)
    return _layer(lambda: iter((content,)), level=6)


def stored_layer(tar: Source, archive: Path) -> Layer:
    """A layer of a tar that takes long to make: compressed in *archive*, with its digests beside it, once."""
    notes = archive.with_suffix(".json")
    if not notes.exists():
        draft = archive.with_suffix(".draft")
        layer = _layer(tar, level=6, copy=draft)
        draft.rename(archive)
        notes.write_text(json.dumps([layer.digest, layer.size, layer.diff_id]))
    digest, size, diff_id = json.loads(notes.read_text())
    return Layer(Blob(digest, size, LAYER_TYPE, lambda: _chunks(archive)), diff_id)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def build(
    layers: Sequence[Layer],
    *,
    command: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    platform: Platform = HERE,
    docker: bool = False,
) -> Build:
    """Put *layers* under a config and a manifest, in OCI's format or in Docker's."""
    variables = [f"{key}={value}" for key, value in {"PATH": "/bin", **(env or {})}.items()]
    return configured(layers, {"Cmd": list(command), "Env": variables}, platform=platform, docker=docker)


def configured(
    layers: Sequence[Layer], settings: Mapping[str, Any], *, platform: Platform = HERE, docker: bool = False
) -> Build:
    """Put *layers* under a config with these *settings*, named as OCI names them, and under a manifest."""
    config: dict[str, Any] = {
        "architecture": platform.architecture,
        "os": platform.os,
        "config": dict(settings),
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }
    config_blob = _json_blob(config, _type(CONFIG_TYPE, docker))
    typed = tuple(_retyped(layer, _type(LAYER_TYPE, docker)) for layer in layers)
    manifest = {
        "schemaVersion": 2,
        "mediaType": _type(MANIFEST_TYPE, docker),
        "config": config_blob.descriptor,
        "layers": [layer.blob.descriptor for layer in typed],
    }
    return Build(_json_blob(manifest, _type(MANIFEST_TYPE, docker)), config_blob, typed, platform=platform)


def build_index(parts: Sequence[Build], *, docker: bool = False) -> Build:
    """Put *parts*, each for its own platform, under one index."""
    entries = [
        part.manifest.descriptor
        | {"platform": {"architecture": part.platform.architecture, "os": part.platform.os}}
        for part in parts
    ]
    index = {"schemaVersion": 2, "mediaType": _type(INDEX_TYPE, docker), "manifests": entries}
    return Build(_json_blob(index, _type(INDEX_TYPE, docker)), None, parts=tuple(parts))


def digest_of(content: bytes) -> str:
    """As registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _type(name: str, docker: bool) -> str:
    return DOCKER_TYPES[name] if docker else name


def _retyped(layer: Layer, media_type: str) -> Layer:
    blob = layer.blob
    return Layer(Blob(blob.digest, blob.size, media_type, blob.source), layer.diff_id)


def _json_blob(value: Mapping[str, Any], media_type: str) -> Blob:
    content = json.dumps(value, separators=(",", ":")).encode()
    return Blob(digest_of(content), len(content), media_type, lambda: iter((content,)))


def _layer(plain: Source, level: int, copy: Path | None = None) -> Layer:
    """Read it once to learn both digests; without a *copy* it is made anew whenever it is sent."""
    inner, outer, size = hashlib.sha256(), hashlib.sha256(), 0

    def seen() -> Iterator[bytes]:
        for chunk in plain():
            inner.update(chunk)
            yield chunk

    with copy.open("wb") if copy else nullcontext() as file:
        for chunk in _gzip(seen(), level):
            outer.update(chunk)
            size += len(chunk)
            if file is not None:
                file.write(chunk)
    blob = Blob(f"sha256:{outer.hexdigest()}", size, LAYER_TYPE, lambda: _gzip(plain(), level))
    return Layer(blob, f"sha256:{inner.hexdigest()}")


def _gzip(chunks: Iterator[bytes], level: int) -> Iterator[bytes]:
    """Compress without name and time, so that the result depends on the content alone."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, wbits=31)
    for chunk in chunks:
        if packed := compressor.compress(chunk):
            yield packed
    yield compressor.flush()


def _tar_of_one_file(name: str, size: int, content: Iterator[bytes]) -> Iterator[bytes]:
    yield _file(name, size).tobuf(tarfile.USTAR_FORMAT)
    yield from content
    yield bytes(-size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)


def _tar(entries: Sequence[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _file(name: str, size: int, mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, mode
    return info


def _link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
    return info


def _directory(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    return info
