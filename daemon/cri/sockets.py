"""Where container runtimes listen on a node."""

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

_USUAL: Final = (
    ("containerd", "run/containerd/containerd.sock"),
    ("cri-o", "run/crio/crio.sock"),
    ("cri-dockerd", "run/cri-dockerd.sock"),
    ("k3s", "run/k3s/containerd/containerd.sock"),  # RKE2 too
    ("k0s", "run/k0s/containerd.sock"),
    ("microk8s", "var/snap/microk8s/common/run/containerd.sock"),
)
_SCHEME: Final = "unix://"
_LONGEST: Final = 107
"""Bytes of a socket's path, see unix(7)."""


class Candidate(msgspec.Struct, frozen=True):
    """A place where a runtime may listen."""

    path: Path
    origin: str
    """Who listens there by default, or ``settings``. The runtime itself says what it is."""


def candidates(settings: Sequence[str] = (), root: Path = Path("/")) -> tuple[Candidate, ...]:
    """The places to look at, the most likely first. Explicit *settings* win over the usual places.

    *root* is where the host's root directory is seen; explicit paths are taken as they are.
    Raises ValueError for a setting that is no path of a unix socket.
    """
    if settings:
        return tuple(Candidate(path, "settings") for path in dict.fromkeys(map(socket_path, settings)))
    return tuple(Candidate(root / path, origin) for origin, path in _USUAL)


def socket_path(endpoint: str) -> Path:
    """The path of a CRI endpoint: ``/run/x.sock`` or ``unix:///run/x.sock``. Raises ValueError."""
    path = endpoint.removeprefix(_SCHEME)
    if not path.startswith("/"):
        raise ValueError(f"{endpoint!r} is not the absolute path of a unix socket")
    if len(os.fsencode(path)) > _LONGEST:
        raise ValueError(f"{endpoint!r} is longer than the {_LONGEST} bytes of a unix socket's path")
    return Path(path)


def present(places: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Those of *places* at which there is a socket now; one that is reached by two paths counts once."""
    found: dict[tuple[int, int], Candidate] = {}
    for place in places:
        identity = _identity(place.path)
        if identity is not None:
            found.setdefault(identity, place)
    return tuple(found.values())


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of the socket at *path*, symlinks followed; None when there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # Not there, not reachable, or a name that cannot exist.
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISSOCK(status.st_mode) else None
