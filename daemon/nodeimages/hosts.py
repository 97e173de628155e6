"""Where a registry is reached from this node: containerd's own ``certs.d`` directory, read the same way.

The format is containerd's hosts.toml (its docs/hosts.md). Nothing is kept: the next pull sees a change,
as in containerd.
"""

import posixpath
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import msgspec
import structlog

from daemon.objects.references import DEFAULT_REGISTRY

log = structlog.get_logger()

_CAPABILITIES = frozenset({"pull", "resolve", "push"})
_API = "/v2"


class HostsError(Exception):
    """A hosts.toml or certificate cannot be used. Its message names the file and what is wrong with it."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path


class Tls(msgspec.Struct, frozen=True):
    """How HTTPS differs from the system's defaults."""

    authorities: tuple[Path, ...] = ()
    clients: tuple[tuple[Path, Path | None], ...] = ()
    """Certificate and key files; no key file where one file holds both."""
    skip_verify: bool | None = None

    def context(self) -> ssl.SSLContext | None:
        """Read the files; None where the system's defaults do. Blocks. Raises HostsError."""
        if self == Tls():
            return None
        context = ssl.create_default_context()
        if self.skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        for authority in self.authorities:
            try:
                context.load_verify_locations(authority)
            except (OSError, ssl.SSLError) as error:
                raise HostsError(
                    authority, f"not a file of PEM certificates ({type(error).__name__})"
                ) from error
        for certificate, key in self.clients:
            try:
                context.load_cert_chain(certificate, key)
            except (OSError, ssl.SSLError) as error:
                raise HostsError(
                    certificate, f"no PEM certificate with its key ({type(error).__name__})"
                ) from error
        return context


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place that may serve a registry's API."""

    scheme: str
    host: str
    path: str = _API
    """Root of the API."""
    capabilities: frozenset[str] = _CAPABILITIES
    tls: Tls = field(default_factory=Tls)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """For this host alone. May hold secrets."""
    mirrored: str = ""
    """The registry that this host serves for another name; sent along as containerd does."""

    @property
    def url(self) -> str:
        """The root of the API."""
        return f"{self.scheme}://{self.host}{self.path}"


class _Settings(msgspec.Struct, frozen=True):
    capabilities: tuple[str, ...] = ()
    ca: str | tuple[str, ...] = ()
    client: str | tuple[str | tuple[str, str], ...] = ()
    skip_verify: bool | None = None
    header: Mapping[str, str | tuple[str, ...]] = {}
    override_path: bool = False


class _File(_Settings, frozen=True):
    server: str = ""
    host: Mapping[str, _Settings] = {}


class HostsConfig:
    """The node's directories of registry settings."""

    def __init__(self, roots: Sequence[Path], host_root: Path = Path("/")) -> None:
        self._roots = tuple(roots)
        self._host_root = host_root

    def endpoints(self, registry: str) -> tuple[Endpoint, ...]:
        """Where *registry* is reached, in the order in which containerd tries. Blocks on small files.

        A malformed file is logged and left out, as in containerd. Raises HostsError when one is unreadable.
        """
        directory = self._directory(registry)
        if directory is None:
            return default_endpoints(registry)
        try:
            return self._read(directory, registry)
        except OSError as error:
            raise HostsError(directory, f"cannot be read ({error.strerror})") from error

    def _directory(self, registry: str) -> Path | None:
        host, colon, port = registry.rpartition(":")
        # A colon is no good in a file name everywhere, so containerd looks for host_port_ first.
        names = ([f"{host}_{port}_"] if colon else []) + [registry, "_default"]
        candidates = (root / name for root in self._roots for name in names)
        return next((candidate for candidate in candidates if candidate.is_dir()), None)

    def _read(self, directory: Path, registry: str) -> tuple[Endpoint, ...]:
        path = directory / "hosts.toml"
        text = path.read_bytes() if path.exists() else b""
        if text.strip():
            try:
                return parse_hosts(text, registry, path, self._host_root)
            except HostsError as error:
                log.warning("hosts.toml is not used", registry=registry, error=str(error))
        tls = _docker_certificates(directory)
        return tuple(replace(endpoint, tls=tls or endpoint.tls) for endpoint in default_endpoints(registry))


def default_endpoints(registry: str) -> tuple[Endpoint, ...]:
    """Where *registry* is reached when nothing is said: HTTPS, and on this very machine plain HTTP too."""
    if registry == DEFAULT_REGISTRY:
        return (Endpoint("https", "registry-1.docker.io"),)
    host, port = _split(registry)
    if not _is_local(host):
        return (Endpoint("https", registry),)
    # containerd verifies no certificate of localhost, and takes HTTPS and HTTP alike unless the port tells.
    plain, tls = Endpoint("http", registry), Endpoint("https", registry, tls=Tls(skip_verify=True))
    return {"80": (plain,), "443": (tls,)}.get(port, (plain, tls))


def parse_hosts(text: bytes, registry: str, path: Path, host_root: Path = Path("/")) -> tuple[Endpoint, ...]:
    """Read a hosts.toml that lies at *path*: its hosts in order, then its server. Raises HostsError.

    Absolute paths in it are seen from *host_root*.
    """
    import tomllib  # only who has such a file pays for it

    try:
        parsed = msgspec.convert(tomllib.loads(text.decode()), _File)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise HostsError(path, f"not a hosts.toml: {error}") from error
    reader = _Reader(registry, path, host_root)
    named = [
        endpoint for url, settings in parsed.host.items() for endpoint in reader.endpoints(url, settings)
    ]
    return (*named, *reader.endpoints(parsed.server, parsed))


class _Reader(msgspec.Struct, frozen=True):
    registry: str
    path: Path
    host_root: Path

    def endpoints(self, url: str, settings: _Settings) -> Iterator[Endpoint]:
        tls = self._tls(settings)
        for place in (self._endpoint(url, settings),) if url else default_endpoints(self.registry):
            found = replace(
                place,
                capabilities=self._capabilities(settings) if url else _CAPABILITIES,
                tls=place.tls if tls == Tls() else tls,
                headers=tuple(_headers(settings)),
            )
            if url and found.scheme == "http" and tls != Tls() and _split(found.host)[1] != "80":
                yield replace(found, scheme="https")  # TLS settings for plain HTTP: containerd tries both.
            yield found

    def _endpoint(self, url: str, settings: _Settings) -> Endpoint:
        parts = _parts(url if url.startswith("http") else f"https://{url}")
        if parts is None:
            raise HostsError(
                self.path, "a host must be a host name, optionally with http(s)://, :port and /path"
            )
        path = posixpath.normpath(parts.path).rstrip("/") if parts.path else ""
        if not settings.override_path and not path.endswith(_API):
            path += _API
        host = parts.netloc.rpartition("@")[2]
        return Endpoint(
            parts.scheme, host, path, mirrored="" if host in _own_hosts(self.registry) else self.registry
        )

    def _capabilities(self, settings: _Settings) -> frozenset[str]:
        named = frozenset(one.lower() for one in settings.capabilities)
        if unknown := named - _CAPABILITIES:
            raise HostsError(self.path, f"capabilities {sorted(unknown)} must be of {sorted(_CAPABILITIES)}")
        return named or _CAPABILITIES

    def _tls(self, settings: _Settings) -> Tls:
        authorities = (settings.ca,) if isinstance(settings.ca, str) else settings.ca
        clients = (settings.client,) if isinstance(settings.client, str) else settings.client
        pairs = [(one, None) if isinstance(one, str) else one for one in clients]
        return Tls(
            tuple(self._file(authority) for authority in authorities),
            tuple((self._file(certificate), self._file(key) if key else None) for certificate, key in pairs),
            settings.skip_verify,
        )

    def _file(self, name: str) -> Path:
        return self.host_root / name.lstrip("/") if name.startswith("/") else self.path.parent / name


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if valid else None


def _headers(settings: _Settings) -> Iterator[tuple[str, str]]:
    for name, values in settings.header.items():
        for value in (values,) if isinstance(values, str) else values:
            yield name, value


def _docker_certificates(directory: Path) -> Tls | None:
    """Docker's layout, read where there is no hosts.toml: .crt authorities, pairs of .cert and .key."""
    authorities = tuple(sorted(directory.glob("*.crt")))
    clients = tuple((one, one.with_suffix(".key")) for one in sorted(directory.glob("*.cert")))
    return Tls(authorities, clients) if authorities or clients else None


def _own_hosts(registry: str) -> tuple[str, ...]:
    return (registry, *(endpoint.host for endpoint in default_endpoints(registry)))


def _split(registry: str) -> tuple[str, str]:
    parts = urlsplit(f"//{registry}")
    return parts.hostname or "", registry.rpartition(":")[2] if parts.port is not None else ""


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
