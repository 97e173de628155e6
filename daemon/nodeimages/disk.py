"""Room for images: what a pull needs, and whether it may start. Pure, but for one look at the file system."""

import math
import os
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from daemon.cri.extras import Blob

KUBELET_RESERVE_PERCENT = 15.0
"""The kubelet evicts pods when imagefs.available falls below this (its default hard threshold)."""
DEFAULT_FACTOR = 2.5
"""Disk that an image takes, compressed and unpacked layers together, as a multiple of its compressed size."""


class Space(msgspec.Struct, frozen=True):
    """Bytes of a file system."""

    free: int
    """What may be written without privileges, as the kubelet counts it."""
    capacity: int


def needed_bytes(layers: Iterable[Blob], present: Collection[str], factor: float = DEFAULT_FACTOR) -> int:
    """Bytes of disk that those of *layers* take which are not *present*; a layer listed twice counts once."""
    missing = {layer.digest: layer.size for layer in layers if layer.digest not in present}
    return math.ceil(sum(missing.values()) * factor)


def reserve(capacity: int, percent: float = KUBELET_RESERVE_PERCENT) -> int:
    """Bytes that pulls leave free."""
    return math.ceil(capacity * percent / 100)


def read_space(path: Path) -> Space:
    """Look at the file system that holds *path*. Raises OSError."""
    stats = os.statvfs(path)
    return Space(free=stats.f_bavail * stats.f_frsize, capacity=stats.f_blocks * stats.f_frsize)
