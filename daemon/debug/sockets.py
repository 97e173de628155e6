"""The sockets that the debug server listens on, and why it cannot.

=====================  ==================================================================
AddressTakenError      another process listens there: choose another address or stop it
AddressUnusableError   the address is wrong, not this machine's, or not allowed to us
SocketTakenError       a live process listens on the unix socket: stop it or choose another
SocketUnusableError    the path cannot be used: its directory, its rights, a file in its place
=====================  ==================================================================
"""

import asyncio
import errno
import socket
import stat
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from daemon.debug.guards import split_address

_BACKLOG = 64
_PROBE_TIMEOUT = 1.0
"""Seconds to find out whether anybody answers at a unix socket."""


class ListenError(Exception):
    """The debug server cannot listen; the message names the setting and the remedy."""


class AddressTakenError(ListenError):
    """Another process listens there."""


class AddressUnusableError(ListenError):
    """The address is wrong, not this machine's, or not allowed to us."""


class SocketTakenError(ListenError):
    """A live process listens on the unix socket."""


class SocketUnusableError(ListenError):
    """The path of the unix socket cannot be used."""


async def listen_at(address: str) -> tuple[socket.socket, ...]:
    """Sockets bound to HOST:PORT, one for each address the host has. Raises ListenError."""
    try:
        host, port = split_address(address)
        found = await asyncio.get_running_loop().getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (ValueError, socket.gaierror) as error:
        raise AddressUnusableError(f"--listen {address}: {error}") from error
    bound: list[socket.socket] = []
    try:
        for family, target in dict.fromkeys((item[0], item[4]) for item in found):
            bound.append(_bind(family, target))
    except OSError as error:
        for each in bound:
            each.close()
        raise _address_error(address, error) from error
    return tuple(bound)


def _bind(family: int, target: object) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(target)  # type: ignore[arg-type]  # the address that getaddrinfo made for this family
        # Here, not later: two sockets may be bound to one port with SO_REUSEADDR, only one may listen.
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _address_error(address: str, error: OSError) -> ListenError:
    if error.errno == errno.EADDRINUSE:
        return AddressTakenError(
            f"--listen {address} (INPLACED_LISTEN): another process listens there already. Stop it "
            f"(ss -ltnp shows it), or give this agent another address, or none: --listen ''"
        )
    return AddressUnusableError(
        f"--listen {address} (INPLACED_LISTEN): {error.strerror}. Use an address of this machine and a port "
        "that this user may open, for example 127.0.0.1:10231"
    )


async def listen_on(path: Path, uids: Collection[int]) -> socket.socket:
    """A unix socket at *path* for the agent's user and group, or for everybody when *uids* are let in too.

    Who connects is checked by its credentials in any case. Raises ListenError.
    """
    try:
        if _is_socket(path):
            await _replace_dead(path)
        return _bind_unix(path, 0o666 if uids else 0o660)
    except OSError as error:
        raise SocketUnusableError(
            f"{_setting(path)}: {error.strerror or error}. Choose a path in a directory that this user may "
            "write, or none: --socket ''"
        ) from error


def remover(listening: socket.socket, path: Path) -> Callable[[], None]:
    """What closes a unix socket and removes its file, unless the file is another process's by then."""
    inode = path.stat().st_ino

    def remove() -> None:
        listening.close()
        with suppress(OSError):
            if path.stat().st_ino == inode:
                path.unlink()

    return remove


def _is_socket(path: Path) -> bool:
    """Tell whether a socket is at *path*, whose directory is made. Raises SocketUnusableError for a file."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(mode):
        raise SocketUnusableError(
            f"{_setting(path)}: a file that is no socket is in its place; remove it or choose another path"
        )
    return True


async def _replace_dead(path: Path) -> None:
    if await _is_answered(path):
        raise SocketTakenError(
            f"{_setting(path)}: another agent answers there. Stop it, or give this one another path"
        )
    _unlink(path)


async def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT):
                await asyncio.get_running_loop().sock_connect(probe, str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except (TimeoutError, BlockingIOError):
            return True  # A full queue of a process that is busy, but there.
    return True


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def _bind_unix(path: Path, mode: int) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(path))
        # Nobody can connect before listen(), so the mode is right from the first moment.
        path.chmod(mode)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _setting(path: Path) -> str:
    return f"--socket {path} (INPLACED_SOCKET)"
