"""Names of images: what they may be, what they default to, and how their parts are joined.

The grammar and the defaults are those of the distribution project's references, as used by containerd and
the kubelet.
"""

import re
from ipaddress import AddressValueError, IPv6Address

import msgspec

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"
_LEGACY_REGISTRY = "index.docker.io"
_OFFICIAL = "library/"
_REPOSITORY_LIMIT = 255
_SHOWN_LIMIT = 80

_HOST = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*"
)
_REPOSITORY = re.compile(
    r"(?:[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_IMAGE_ID = re.compile(r"[0-9a-f]{64}")
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")

_REGISTRY_ALLOWED = (
    "a host name, an IPv4 address or a bracketed IPv6 address, then optionally :port (1-65535)"
)
_REPOSITORY_ALLOWED = (
    f"at most {_REPOSITORY_LIMIT} characters: lower-case letters and digits, separated by one '.', '_', '__' "
    "or any number of '-', in parts separated by '/'"
)
_TAG_ALLOWED = (
    "1-128 characters of A-Z a-z 0-9 _ . -, not starting with '.' or '-' (a digest follows '@', not ':')"
)
_DIGEST_ALLOWED = "sha256: and 64, or sha512: and 128 lower-case hexadecimal digits"


class InvalidReferenceError(ValueError):
    """A malformed image reference: its message names the part, the value, what is allowed. Do not retry."""

    def __init__(self, part: str, value: str, allowed: str) -> None:
        shown = value if len(value) <= _SHOWN_LIMIT else f"{value[:_SHOWN_LIMIT]}…"
        super().__init__(f"invalid {part} {shown!r}: allowed is {allowed}")
        self.part = part
        self.value = value
        self.allowed = allowed


class ImageReference(msgspec.Struct, frozen=True):
    """One image, by registry and repository and, where given, tag and digest."""

    registry: str
    """Host and, where given, :port; docker.io when the text named none."""
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """Registry and repository in full."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar_name(self) -> str:
        """The shortest name that means the same, which is the key of an image in a NodeImage."""
        if self.registry != DEFAULT_REGISTRY:
            return self.name
        rest = self.repository.removeprefix(_OFFICIAL)
        short = self.repository if "/" in rest else rest
        # docker.io/my.org/app is not my.org/app, which names a registry; nor may a name look like an id.
        ambiguous = _names_registry(short) or _IMAGE_ID.fullmatch(short)
        return self.name if ambiguous or _in_full(short) != self.repository else short

    @property
    def version(self) -> str:
        """What stands in the tag position of a NodeImage: the digest, else the tag, else latest."""
        return self.digest or self.tag or DEFAULT_TAG

    @property
    def canonical(self) -> str:
        """The full reference as CRI is given it; beside a digest the tag says nothing and is dropped."""
        return join(self.name, self.version)

    @property
    def repository_url_host(self) -> str:
        """Where the registry's API answers, which differs from its name for docker.io alone."""
        return "registry-1.docker.io" if self.registry == DEFAULT_REGISTRY else self.registry

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}{f'@{self.digest}' if self.digest else ''}"


def join(name: str, tag: str) -> str:
    """The reference to pull for an entry of a NodeImage and its tag position, which may hold a digest."""
    return f"{name}@{tag}" if ":" in tag else f"{name}:{tag}"


def parse(text: str) -> ImageReference:
    """Read *text* as a runtime would. Raises InvalidReferenceError."""
    if scheme := _SCHEME.match(text):
        raise InvalidReferenceError("registry", scheme.group(), "a reference without a scheme")
    if _IMAGE_ID.fullmatch(text):
        raise InvalidReferenceError("repository", text, "a name, not the id of an image")
    named, at, digest = text.partition("@")
    if at:
        _require(_DIGEST.fullmatch(digest), "digest", digest, _DIGEST_ALLOWED)
    registry, rest = _split_registry(named)
    repository, colon, tag = rest.partition(":")
    if colon:
        _require(_TAG.fullmatch(tag), "tag", tag, _TAG_ALLOWED)
    full = _in_full(repository) if registry == DEFAULT_REGISTRY else repository
    valid = len(full) <= _REPOSITORY_LIMIT and _REPOSITORY.fullmatch(repository)
    _require(valid, "repository", repository, _REPOSITORY_ALLOWED)
    return ImageReference(registry, full, tag or None, digest or None)


def _split_registry(named: str) -> tuple[str, str]:
    if not _names_registry(named):
        return DEFAULT_REGISTRY, named
    registry, _, rest = named.partition("/")
    _require(_is_registry(registry), "registry", registry, _REGISTRY_ALLOWED)
    return DEFAULT_REGISTRY if registry == _LEGACY_REGISTRY else registry, rest


def _names_registry(named: str) -> bool:
    first, slash, _ = named.partition("/")
    # An upper-case first part can only be a host, as no repository may have one.
    hostlike = any(mark in first for mark in ".:") or first == "localhost" or first != first.lower()
    return bool(slash) and hostlike


def _is_registry(text: str) -> bool:
    host, port = _split_port(text)
    if port is not None and not (
        port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= 65535
    ):
        return False
    if host.startswith("[") and host.endswith("]"):
        return _is_ipv6(host[1:-1])
    return _HOST.fullmatch(host) is not None


def _split_port(text: str) -> tuple[str, str | None]:
    if text.endswith("]"):
        return text, None
    host, colon, port = text.rpartition(":")
    return (host, port) if colon else (text, None)


def _is_ipv6(text: str) -> bool:
    try:
        return IPv6Address(text).scope_id is None
    except AddressValueError:
        return False


def _in_full(repository: str) -> str:
    return repository if "/" in repository else _OFFICIAL + repository


def _require(valid: object, part: str, value: str, allowed: str) -> None:
    if not valid:
        raise InvalidReferenceError(part, value, allowed)
