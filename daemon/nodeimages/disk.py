"""Room for images: what a pull needs, and whether it may start. Pure, but for one look at the file system."""

import math
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from daemon.cri.extras import Blob

KUBELET_RESERVE_PERCENT = 15.0
"""The kubelet evicts pods when imagefs.available falls below this (its default hard threshold)."""
DEFAULT_FACTOR = 2.5
"""Disk that an image takes, compressed and unpacked layers together, as a multiple of its compressed size."""
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes of a file system."""

    free: int
    """What may be written without privileges, as the kubelet counts it."""
    capacity: int


@dataclass(frozen=True, slots=True)
class NoSpace:
    """Why a pull may not start. Sizes are bytes."""

    needed: int
    available: int
    """Free space above the reserve, never negative."""
    remedy: str


def needed_bytes(layers: Iterable[Blob], present: Collection[str], factor: float = DEFAULT_FACTOR) -> int:
    """Bytes of disk that those of *layers* take which are not *present*; a layer listed twice counts once."""
    missing = {layer.digest: layer.size for layer in layers if layer.digest not in present}
    return math.ceil(sum(missing.values()) * factor)


def reserve(capacity: int, percent: float = KUBELET_RESERVE_PERCENT) -> int:
    """Bytes that pulls leave free."""
    return math.ceil(capacity * percent / 100)


def check(space: Space, reserved: int, needed: int) -> NoSpace | None:
    """Say what is missing when *needed* does not fit above the reserve, None when it fits.

    A pull that needs nothing always fits: refusing it would free no byte.
    """
    available = max(0, space.free - reserved)
    if needed <= available:
        return None
    remedy = (
        f"needs {_readable(needed)}, {_readable(available)} available: free at least "
        f"{_readable(needed + reserved - space.free)} on the image file system, or lower the disk reserve "
        f"(now {_readable(reserved)})"
    )
    return NoSpace(needed, available, remedy)


def read_space(path: Path) -> Space:
    """Look at the file system that holds *path*. Raises OSError."""
    stats = os.statvfs(path)
    return Space(free=stats.f_bavail * stats.f_frsize, capacity=stats.f_blocks * stats.f_frsize)


def _readable(size: int) -> str:
    index = max(0, min(len(_UNITS) - 1, (size.bit_length() - 1) // 10))
    return f"{size / 1024**index:.{0 if index == 0 else 1}f} {_UNITS[index]}"
