"""Who may ask: pages of other sites may not, other users of the machine may not.

A browser on the node can be made to send requests to loopback by any page it shows. Such a request carries
the Host that the page's author chose (DNS rebinding) or the Origin and Sec-Fetch-Site of another site.
"""

import ipaddress
import os
import socket
import struct
from collections.abc import Collection, Mapping

import msgspec

HEADERS: Mapping[str, str] = {
    "Server": "inplaced",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""On every answer; the page has a wider Content-Security-Policy of its own."""

_PEER = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


class HostGuard(msgspec.Struct, frozen=True):
    """Lets in requests that name this machine and come from no other site.

    *host* is the one listened on. When that is all of the machine's addresses, any address may be named, but
    no name except localhost: an attacker can make a name point here, not an address.
    """

    host: str

    def refusal(self, headers: Mapping[str, str]) -> str | None:
        """Say why a request with these headers is refused, None when it may pass."""
        asked = headers.get("Host", "")
        if not self._is_own(_host_of(asked)):
            return f"Host {asked!r} is not this machine: use localhost or {self.host or 'its address'}"
        origin = headers.get("Origin")
        if origin is not None and origin.lower() != f"http://{asked}".lower():
            return f"Origin {origin!r} is another site"
        if headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"} and not _is_opened(headers):
            return "the request was made by a page of another site"
        return None

    def _is_own(self, host: str) -> bool:
        if host in {"localhost", self.host.lower()} and host:
            return True
        address = _address(host)
        if address is None:
            return False
        listened = _address(self.host)
        return address.is_loopback or (listened is not None and listened.is_unspecified)


class PeerGuard(msgspec.Struct, frozen=True):
    """Lets in root, the agent's own user and *uids*."""

    uids: Collection[int] = ()

    def refusal(self, peer: socket.socket) -> str | None:
        """Say why the process at the other end is refused, None when it may pass."""
        uid = peer_uid(peer)
        if uid in {0, os.geteuid(), *self.uids}:
            return None
        return (
            f"user id {uid} may not talk to the agent: use root, the agent's own user, or one that it allows"
        )


def peer_uid(peer: socket.socket) -> int:
    """The user id of the process that connected, as the kernel saw it then."""
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    _, uid, _ = _PEER.unpack(raw)
    return int(uid)


def split_address(address: str) -> tuple[str, int]:
    """Host and port of HOST:PORT or [IPV6]:PORT. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{address!r} is not HOST:PORT, for example 127.0.0.1:10231")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"{address!r}: an IPv6 address stands in brackets, for example [::1]:10231")
    return host.strip("[]"), int(port)


def _is_opened(headers: Mapping[str, str]) -> bool:
    """Tell whether somebody followed a link to us: they see the answer, the site that linked does not."""
    return headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"


def _host_of(authority: str) -> str:
    host = authority.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
