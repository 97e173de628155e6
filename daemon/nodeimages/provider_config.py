"""Reads the kubelet's CredentialProviderConfig: which plugins there are, and which images they are for."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import structlog
import yaml

from daemon.nodeimages.credentials import Pattern, PluginError, pattern_of
from daemon.objects.references import ImageReference

log = structlog.get_logger()

CONFIG_VERSIONS = tuple(f"kubelet.config.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
PLUGIN_VERSIONS = tuple(
    f"credentialprovider.kubelet.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1")
)
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)"
_DURATION = re.compile(rf"[+-]?(?:0|(?:{_PART})+)")


@dataclass(frozen=True, slots=True)
class Provider:
    """One plugin, checked."""

    name: str
    path: Path
    patterns: tuple[Pattern, ...]
    api_version: str
    cache_seconds: float
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def serves(self, ref: ImageReference) -> bool:
        """Tell whether the plugin is to be asked for *ref*."""
        return any(pattern.matches(ref) for pattern in self.patterns)


class _Variable(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    value: str


class _Entry(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    name: str = ""
    match_images: tuple[str, ...] = ()
    default_cache_duration: str = ""
    api_version: str = ""
    args: tuple[str, ...] | None = None
    env: tuple[_Variable, ...] | None = None
    token_attributes: Mapping[str, object] | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    api_version: str = ""
    kind: str = ""
    providers: tuple[object, ...] = ()


def duration_seconds(text: str) -> float | None:
    """Read a duration of Go's form, such as 5m0s; None when it is malformed."""
    if not _DURATION.fullmatch(text):
        return None
    size = sum(float(number) * _SECONDS[unit] for number, unit in re.findall(_PART, text))
    return -size if text.startswith("-") else size


def read_providers(config: Path, bin_dir: Path) -> tuple[Provider, ...]:
    """Read *config*, a file or a directory of files, whose plugins lie in *bin_dir*.

    Blocks. Raises PluginError, which names the file, the provider and the field.
    """
    providers: dict[str, Provider] = {}
    for path in _files(config):
        for provider in _providers(path, bin_dir):
            if provider.name in providers:
                raise PluginError(f"{path}: provider {provider.name!r} is there twice: names must be unique")
            providers[provider.name] = provider
    return tuple(providers.values())


def _files(config: Path) -> list[Path]:
    if not config.is_dir():
        return [config]
    found = sorted(
        path for path in config.iterdir() if path.suffix in {".json", ".yaml", ".yml"} and path.is_file()
    )
    if not found:
        raise PluginError(f"{config}: has no .json, .yaml or .yml file")
    return found


def _providers(path: Path, bin_dir: Path) -> Iterator[Provider]:
    parsed = _parsed(path)
    if parsed.kind != "CredentialProviderConfig" or parsed.api_version not in CONFIG_VERSIONS:
        raise PluginError(f"{path}: must be a CredentialProviderConfig of {' or '.join(CONFIG_VERSIONS)}")
    if not parsed.providers:
        raise PluginError(f"{path}: providers must have an entry at least")
    for index, raw in enumerate(parsed.providers):
        checker = _Checker(f"{path}: providers[{index}]", bin_dir)
        entry = checker.entry(raw)
        if checker.usable(entry):
            yield checker.provider(entry)


def _parsed(path: Path) -> _File:
    try:
        # The C loader where there is one: it is safe, too.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return msgspec.convert(yaml.load(path.read_bytes(), loader), _File)  # noqa: S506 - it is a safe loader
    except OSError as error:
        raise PluginError(f"{path}: cannot be read ({error.strerror})") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise PluginError(f"{path}: line {line}: not YAML or JSON ({error.problem})") from None
    except msgspec.ValidationError as error:
        raise PluginError(f"{path}: {error}") from error
    except (yaml.YAMLError, RecursionError, ValueError):
        # Values may be secrets of a plugin's environment, and some errors show values.
        raise PluginError(f"{path}: not YAML or JSON") from None


@dataclass(frozen=True, slots=True)
class _Checker:
    where: str
    bin_dir: Path

    def entry(self, raw: object) -> _Entry:
        try:
            return msgspec.convert(raw, _Entry)
        except msgspec.ValidationError as error:
            raise PluginError(f"{self.where}: {error}") from error

    def usable(self, entry: _Entry) -> bool:
        """Plugins that work for a pod's service account only are the kubelet's alone: here is no pod."""
        required = (entry.token_attributes or {}).get("requireServiceAccount")
        if required:
            log.warning("credential provider needs a service account and is not used", provider=entry.name)
        return not required

    def provider(self, entry: _Entry) -> Provider:
        self._require(
            "name", _is_file_name(entry.name), "a file name in the plugin directory, without spaces"
        )
        self._require(
            "apiVersion", entry.api_version in PLUGIN_VERSIONS, f"one of {', '.join(PLUGIN_VERSIONS)}"
        )
        seconds = duration_seconds(entry.default_cache_duration)
        self._require(
            "defaultCacheDuration", seconds is not None and seconds >= 0, "a duration such as 5m0s or 0s"
        )
        self._require("matchImages", entry.match_images, "present: an entry at least")
        found = tuple(pattern for image in entry.match_images if (pattern := pattern_of(image)) is not None)
        self._require("matchImages", len(found) == len(entry.match_images), "host[:port][/path], each")
        path = self.bin_dir / entry.name
        self._require(
            "name", path.is_file() and os.access(path, os.X_OK), f"an executable file in {self.bin_dir}"
        )
        env = tuple((one.name, one.value) for one in entry.env or ())
        valid = all(name and "=" not in name and "\0" not in name + value for name, value in env)
        self._require("env", valid, "names without '=', and text without NUL")
        return Provider(entry.name, path, found, entry.api_version, seconds or 0.0, entry.args or (), env)

    def _require(self, field: str, valid: object, allowed: str) -> None:
        if not valid:
            raise PluginError(f"{self.where}.{field} must be {allowed}")


def _is_file_name(name: str) -> bool:
    return bool(name) and name not in {".", ".."} and not any(mark in name for mark in "/\\ \0")
