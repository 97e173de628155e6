"""The proxy on the way to a registry, from the environment as containerd reads it. Pure.

The rules are those of Go: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in large letters rather than in small ones;
this machine itself is never reached through a proxy.
"""

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from yarl import URL

_SCHEMES: Final = frozenset({"http", "https"})
"""Of proxies that we can go through."""

Address = IPv4Address | IPv6Address


class ProxyError(ValueError):
    """The environment names a proxy that we cannot go through; the message holds no credentials."""


def proxy_for(url: URL, environ: Mapping[str, str]) -> URL | None:
    """The proxy for *url*, its credentials included; None where there is to be none. Raises ProxyError.

    Past a proxy that cannot be used nothing is asked: who sets one may want nothing to go another way.
    """
    name = f"{url.scheme}_proxy"
    text = _either(environ, name)
    if not text or url.host is None or _is_spared(url.host.rstrip("."), url.port, environ):
        return None
    try:
        proxy = URL(text if "://" in text else f"http://{text}")
    except ValueError:
        proxy = URL()
    if not proxy.host:
        raise ProxyError(f"{name.upper()} is no address of a proxy; allowed: http://host:port or https://…")
    if proxy.scheme not in _SCHEMES:
        words = f"{name.upper()} is {proxy.scheme}://{proxy.host}; allowed for what we ask: http, https"
        raise ProxyError(words)
    return proxy


def _either(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name.upper()) or environ.get(name, "")


def _is_spared(host: str, port: int | None, environ: Mapping[str, str]) -> bool:
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(entry, host, address, port) for entry in _entries(environ))


def _entries(environ: Mapping[str, str]) -> Iterator[str]:
    for entry in _either(environ, "no_proxy").split(","):
        if stripped := entry.strip().lower():
            yield stripped


def _matches(entry: str, host: str, address: Address | None, port: int | None) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        return address is not None and _is_within(address, entry)
    name, number = _split(entry)
    if number and number != str(port):
        return False
    if (spared := _address(name)) is not None:
        return address == spared
    if name.startswith(("*.", ".")):
        return host.lower().endswith(name.removeprefix("*"))
    return host.lower() == name or host.lower().endswith(f".{name}")


def _split(entry: str) -> tuple[str, str]:
    """Host and port of an entry; an address of IPv6 has colons of its own."""
    if _address(entry) is not None:
        return entry, ""
    name, colon, port = entry.rpartition(":")
    return (name.strip("[]"), port) if colon and port.isdecimal() else (entry.strip("[]"), "")


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _is_within(address: Address, network: str) -> bool:
    try:
        return address in ip_network(network, strict=False)
    except ValueError:
        return False
