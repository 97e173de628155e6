"""Credentials for registries: reads docker configurations, and finds those that fit an image. Pure.

Keys match as in the kubelet, so that what pulls for a pod pulls here too. No value gets into a text.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from daemon.objects.images import Secret
from daemon.objects.references import DEFAULT_REGISTRY, ImageReference

_SECRET_KEYS = {
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
    "kubernetes.io/dockercfg": ".dockercfg",
}
_HUB_ALIASES = {"index.docker.io": DEFAULT_REGISTRY, "registry-1.docker.io": DEFAULT_REGISTRY}
_HELPERS = ("credsStore", "credHelpers")
_NOT_REGISTRIES = {"auths", "HttpHeaders", "proxies", "detachKeys", "plugins", *_HELPERS}
_KEY = re.compile(
    r"(?:https?://)?(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._*-]+)(?::(?P<port>[0-9]{1,5}))?(?P<path>/[^\s@?#\\]*)?"
)
_KEY_ALLOWED = "host[:port][/path], optionally after https:// or http://; '*' within a part of the host only"


class CredentialError(Exception):
    """A credential cannot be read. Do not retry before its source changes; other sources still count."""

    def __init__(self, source: str, field: str, allowed: str) -> None:
        super().__init__(f"{source}: {field} must be {allowed}" if field else f"{source} must be {allowed}")
        self.source = source
        self.field = field
        self.allowed = allowed


class PluginError(Exception):
    """A credential provider is set up wrongly, or failed. Its message names the file or the plugin."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What to show a registry. Its text tells where it is from and nothing else."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    """An OAuth2 refresh token. With one and without a password, there is no username either."""
    registry_token: str = field(default="", repr=False)
    """A bearer token, used as it is."""
    server_address: str = ""
    """The key it was found under. Not for the runtime, which would compare it with the host it asks."""
    source: str = ""

    @property
    def secrets(self) -> tuple[str, str, str, str]:
        """All that makes it another credential."""
        return (self.username, self.password, self.identity_token, self.registry_token)


class Pattern(msgspec.Struct, frozen=True):
    """The images that a key of a docker configuration, or an entry of matchImages, is for."""

    host: tuple[str, ...]
    port: str
    path: str
    key: str
    """Normalised: without scheme, API version and Docker Hub's aliases."""

    def matches(self, ref: ImageReference) -> bool:
        """Tell whether *ref* is meant: every part of the host, the port, and the start of the path."""
        parts, port = _host_parts(ref.registry)
        if self.port != port or len(self.host) != len(parts):
            return False
        # A prefix of characters, not of whole parts: the kubelet's rule, which users' secrets rely on.
        return f"/{ref.repository}".startswith(self.path) and all(map(_part_matches, self.host, parts))


class DockerConfig(msgspec.Struct, frozen=True):
    """The credentials of one source, and what in it is not used."""

    entries: tuple[tuple[Pattern, Credential], ...] = ()
    warnings: tuple[str, ...] = ()


class Keyring:
    """All credentials that are at hand for a pull."""

    def __init__(self, configs: Iterable[DockerConfig]) -> None:
        entries = [entry for config in configs for entry in config.entries]
        # Reversed by text, as in the kubelet: longer paths before shorter ones, wildcards after names.
        self._entries = sorted(entries, key=lambda entry: entry[0].key, reverse=True)

    def lookup(self, ref: ImageReference) -> tuple[Credential, ...]:
        """Every credential for *ref* once, the most specific first."""
        unique: dict[tuple[str, ...], Credential] = {}
        for pattern, credential in self._entries:
            if pattern.matches(ref):
                unique.setdefault(credential.secrets, credential)
        return tuple(unique.values())


def pattern_of(key: str) -> Pattern | None:
    """Read the key of a docker configuration; None when it is malformed."""
    found = _KEY.fullmatch(key)
    if found is None:
        return None
    host, port = _HUB_ALIASES.get(found["host"], found["host"]), found["port"] or ""
    path = found["path"] or ""
    if path.startswith(("/v1/", "/v2/")):
        path = path[3:]
    path = "" if path == "/" else path
    name = f"{host}:{port}" if port else host
    return Pattern(_host_parts(name)[0], port, path, name + path)


def decode_config(text: str | bytes, source: str) -> DockerConfig:
    """Read a docker ``config.json`` or a legacy ``dockercfg``; *source* is named in errors.

    Raises CredentialError, which names the field and never its value.
    """
    config = _json_object(text, source)
    if not _NOT_REGISTRIES.isdisjoint(config):
        auths = _mapping(config.get("auths"), source, "auths")
        prefix = "auths"
    else:
        auths, prefix = config, ""
    warnings = list(_helper_warnings(config, source))
    entries: list[tuple[Pattern, Credential]] = []
    for key, value in auths.items():
        pattern = pattern_of(key)
        if pattern is None:
            warnings.append(
                f"{source}: {prefix or 'it'} has a key that is not used, as it is not {_KEY_ALLOWED}"
            )
            continue
        credential = _credential(value, source, f"{prefix}[{pattern.key!r}]", pattern.key)
        if any(credential.secrets):
            entries.append((pattern, credential))
    return DockerConfig(tuple(entries), tuple(warnings))


def config_of_secret(secret: Secret) -> DockerConfig:
    """Read a Secret of one of the two docker types. Raises CredentialError."""
    source = f"secret {secret.metadata.key}"
    key = _SECRET_KEYS.get(secret.type)
    if key is None:
        raise CredentialError(source, "type", " or ".join(_SECRET_KEYS))
    if key in secret.string_data:
        return decode_config(secret.string_data[key], source)
    if key not in secret.data:
        raise CredentialError(source, f"data[{key!r}]", "present")
    decoded = _base64(secret.data[key])
    if decoded is None:
        raise CredentialError(source, f"data[{key!r}]", "base64")
    return decode_config(decoded, source)


def _credential(entry: object, source: str, where: str, server: str) -> Credential:
    # As everywhere where docker configurations are read by Go, the case of field names does not matter.
    folded = {name.lower(): value for name, value in _mapping(entry, source, where).items()}

    def text(name: str) -> str:
        value = folded.get(name)
        if value is not None and not isinstance(value, str):
            raise CredentialError(source, f"{where}.{name}", "a string")
        return value or ""

    username, password, identity = text("username"), text("password"), text("identitytoken")
    if auth := text("auth"):
        username, password = _user_and_password(auth, source, f"{where}.auth")
    if identity and not password:
        username = (
            ""  # Registries that give out identity tokens put a placeholder there; runtimes would use it.
        )
    return Credential(username, password, identity, text("registrytoken"), server, source)


def _user_and_password(auth: str, source: str, where: str) -> tuple[str, str]:
    decoded = _base64(auth)
    username, colon, password = (decoded or b"").partition(b":")
    try:
        pair = username.decode(), password.decode()
    except UnicodeDecodeError:
        colon = b""
        pair = ("", "")
    if not colon:
        raise CredentialError(source, where, "base64 of user:password in UTF-8")
    return pair


def _base64(text: str) -> bytes | None:
    """Decode with or without padding and line breaks, as is found in the wild; None when it is no base64."""
    packed = "".join(text.split()).rstrip("=")
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _json_object(text: str | bytes, source: str) -> Mapping[str, object]:
    try:
        config = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        config = None
    # Raised out here, so that the decoder's own error, which may hold the text, is not chained.
    if not isinstance(config, dict):
        raise CredentialError(source, "", "a JSON object: docker's config.json or a dockercfg")
    return config


def _mapping(value: object, source: str, where: str) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise CredentialError(source, where, "an object")
    return value


def _helper_warnings(config: Mapping[str, object], source: str) -> Iterator[str]:
    for name in _HELPERS:
        if config.get(name):
            yield (
                f"{source}: {name} is not used, as no credential helper is run here: put the credential "
                "into auths, or configure a kubelet credential provider"
            )


def _host_parts(registry: str) -> tuple[tuple[str, ...], str]:
    host, colon, port = registry.rpartition(":")
    if not colon or registry.endswith("]"):
        host, port = registry, ""
    return (host,) if host.startswith("[") else tuple(host.split(".")), port


def _part_matches(pattern: str, part: str) -> bool:
    if "*" not in pattern:
        return pattern == part
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), part) is not None
