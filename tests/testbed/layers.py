"""Makes image layers of directories, as an overlay file system keeps them."""

import os
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from tests.testbed.images import CHUNK, Layer, stored_layer

OPAQUE: Final = "trusted.overlay.opaque"
"""Marks a directory below which nothing of lower layers is seen (the kernel's overlayfs.rst)."""


def directory_layer(files: Path) -> Layer:
    """The layer of what is in *files*; it is kept beside it."""
    return stored_layer(lambda: _tar(files), files.with_name("layer.tar.gz"))


def _tar(files: Path) -> Iterator[bytes]:
    with tempfile.TemporaryFile(dir=files.parent) as draft:
        with tarfile.open(fileobj=draft, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(files.rglob("*")):
                _add(archive, path, str(path.relative_to(files)))
        yield from _chunks(draft)


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    """Add one entry; what a layer takes away is an empty file, as OCI's image specification says."""
    status = path.lstat()
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
        archive.addfile(tarfile.TarInfo(_beside(name, f".wh.{path.name}")))
        return
    member = archive.gettarinfo(path, name)
    member.uname = member.gname = ""
    if member.isreg():
        with path.open("rb") as content:
            archive.addfile(member, content)
        return
    archive.addfile(member)
    if member.isdir() and _is_opaque(path):
        archive.addfile(tarfile.TarInfo(f"{name}/.wh..wh..opq"))


def _beside(name: str, other: str) -> str:
    return str(Path(name).with_name(other))


def _is_opaque(directory: Path) -> bool:
    return OPAQUE in os.listxattr(directory) and os.getxattr(directory, OPAQUE) == b"y"


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(CHUNK):
        yield chunk
