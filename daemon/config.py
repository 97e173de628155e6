"""Everything a process can be told from outside: checked once, then never changed.

One frozen dataclass a process is the source of flags, environment variables, file, validation and help.
Precedence: flag, environment (``INPLACED_…``), file (``--config``), default.
"""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar, get_args, get_origin, get_type_hints

import msgspec
import yaml
from msgspec import Meta

ENV_PREFIX = "INPLACED_"

LogLevel = Literal["debug", "info", "warning", "error"]
LogForm = Literal["auto", "json", "text"]
Seconds = Annotated[float, Meta(ge=0)]


class ConfigError(Exception):
    """A setting is wrong; the message names where it was set, its value and what is allowed."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings that the node agent and the standalone process share."""

    node_name: Annotated[str, Meta(min_length=1, max_length=253, description="Name of this node.")] = (
        "localhost"
    )
    node_labels: Annotated[
        Mapping[str, str],
        Meta(description="Labels of this node that selectors are matched against: a=b,c=d."),
    ] = dataclasses.field(default_factory=dict)
    runtime: Annotated[
        tuple[str, ...],
        Meta(description="CRI sockets, comma separated; empty: look in the usual places."),
    ] = ()
    host_root: Annotated[Path, Meta(description="Where the host's root directory is seen.")] = Path("/")
    pull_workers: Annotated[int, Meta(ge=1, le=64, description="Pulls at the same time on this node.")] = 2
    pull_backoff: Annotated[
        float, Meta(gt=0, le=3600, description="Seconds before the first retry of a pull; doubles each time.")
    ] = 1.0
    pull_backoff_max: Annotated[
        float, Meta(gt=0, le=86400, description="Longest pause between two attempts, seconds.")
    ] = 300.0
    measure_images: Annotated[
        bool,
        Meta(description="Read an image's size from its registry before pulling: one more manifest request."),
    ] = True
    default_ttl_seconds: Annotated[
        int, Meta(ge=0, description="Seconds that an ended request without a TTL keeps its image pinned.")
    ] = 300
    space_retry: Annotated[
        float, Meta(gt=0, le=3600, description="Seconds between two looks at a full disk.")
    ] = 10.0
    disk_reserve_percent: Annotated[
        float,
        Meta(
            ge=0,
            le=95,
            description="Percent of the image file system that pulls leave free; the kubelet evicts at 15.",
        ),
    ] = 15.0
    unpack_factor: Annotated[
        float,
        Meta(ge=1, le=20, description="Disk an image needs, as a multiple of its compressed missing layers."),
    ] = 2.5
    disk_floor_mib: Annotated[
        int, Meta(ge=0, description="MiB that must be available when an image's size cannot be read.")
    ] = 1024
    registry_timeout: Annotated[
        float, Meta(gt=0, le=300, description="Seconds to read an image's size from its registry.")
    ] = 5.0
    registry_hosts_dir: Annotated[Path, Meta(description="containerd's directory of hosts.toml files.")] = (
        Path("/etc/containerd/certs.d")
    )
    docker_config: Annotated[
        Path | None, Meta(description="A docker config.json whose credentials serve every pull.")
    ] = None
    credential_provider_config: Annotated[
        Path | None, Meta(description="The kubelet's CredentialProviderConfig file.")
    ] = None
    credential_provider_bin_dir: Annotated[
        Path | None, Meta(description="Directory of the credential provider plugins.")
    ] = None
    progress_interval: Annotated[
        float, Meta(ge=0.1, le=10, description="Seconds between two looks at a running pull.")
    ] = 0.5
    status_interval: Annotated[
        float,
        Meta(ge=0.5, le=600, description="Shortest time between two progress-only status writes, seconds."),
    ] = 2.0
    listen: Annotated[
        str, Meta(description="Address of metrics, probes and the status page: HOST:PORT, empty for none.")
    ] = "127.0.0.1:10231"
    socket: Annotated[str, Meta(description="Unix socket of the command line tool, empty for none.")] = (
        "/run/inplaced/inplaced.sock"
    )
    shutdown_grace: Annotated[
        float, Meta(ge=0, le=3600, description="Seconds to finish work after SIGTERM.")
    ] = 10.0
    log_level: Annotated[LogLevel, Meta(description="Least level that is logged.")] = "info"
    log_format: Annotated[LogForm, Meta(description="text, json, or auto: text on a terminal.")] = "auto"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StandaloneConfig(Config):
    """Settings of ``inplaced standalone``."""

    manifests: Annotated[
        Path, Meta(description="Directory of job and Secret manifests (YAML or JSON), watched.")
    ]
    state: Annotated[Path, Meta(description="Directory in which status is kept.")] = Path("/var/lib/inplaced")


C = TypeVar("C", bound=Config)


def load(kind: type[C], program: str, argv: Sequence[str], environ: Mapping[str, str]) -> C:
    """Read the settings of *kind*. Raises ConfigError; ``--help`` prints and exits as argparse does."""
    hints = get_type_hints(kind, include_extras=True)
    flags = {
        name: value
        for name, value in vars(_parser(kind, program, hints).parse_args(argv)).items()
        if value is not None
    }
    path = flags.pop("config", None) or environ.get(f"{ENV_PREFIX}CONFIG")
    layers = [
        {name: (f"{path}: {name}", value) for name, value in _read(path, hints).items()} if path else {},
        {name: (_variable(name), environ[_variable(name)]) for name in hints if _variable(name) in environ},
        {name: (_flag(name), value) for name, value in flags.items()},
    ]
    found: dict[str, tuple[str, Any]] = {}
    for layer in layers:
        found |= layer
    _require(kind, found)
    return kind(**{name: _convert(origin, value, hints[name]) for name, (origin, value) in found.items()})


def shown(config: Config) -> dict[str, Any]:
    """Every setting with its value, for ``/flagz``. None is a secret: files are named, not read."""
    return {
        field.name.replace("_", "-"): msgspec.to_builtins(getattr(config, field.name), enc_hook=str)
        for field in dataclasses.fields(config)
    }


def environment_file(kind: type[Config]) -> str:
    """Every setting as a commented line of an environment file, with its help and default."""
    hints = get_type_hints(kind, include_extras=True)
    lines: list[str] = []
    for field in dataclasses.fields(kind):
        default = _default(field)
        lines += [f"# {_describe(hints[field.name])}", f"#{_variable(field.name)}={_text(default)}", ""]
    return "\n".join(lines)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _variable(name: str) -> str:
    return f"{ENV_PREFIX}{name.upper()}"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}; see {self.prog} --help")


def _parser(kind: type[Config], program: str, hints: Mapping[str, Any]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=program,
        description=kind.__doc__,
        epilog=f"Settings can also come from the environment ({ENV_PREFIX}NAME) or a YAML file (--config).",
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file of settings, names as the flags'.")
    for field in dataclasses.fields(kind):
        default = _default(field)
        suffix = " Required." if default is dataclasses.MISSING else f" Default: {_text(default) or 'none'}."
        text = f"{_describe(hints[field.name])}{_bounds(hints[field.name])}{suffix}".replace("%", "%%")
        parser.add_argument(_flag(field.name), dest=field.name, metavar="VALUE", help=text)
    return parser


def _read(path: str, hints: Mapping[str, Any]) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"--config {path}: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"--config {path}: a mapping of setting names to values is wanted")
    settings = {str(name).replace("-", "_"): value for name, value in raw.items()}
    unknown = sorted(settings.keys() - hints.keys())
    if unknown:
        raise ConfigError(f"--config {path}: unknown setting {unknown[0]!r}; allowed are {', '.join(hints)}")
    return settings


def _require(kind: type[Config], found: Mapping[str, Any]) -> None:
    for field in dataclasses.fields(kind):
        if _default(field) is dataclasses.MISSING and field.name not in found:
            raise ConfigError(f"{_flag(field.name)} (or {_variable(field.name)}) is required")


def _convert(origin: str, value: Any, hint: Any) -> Any:
    raw = _parts(value, hint)
    try:
        return msgspec.convert(raw, hint, strict=False, dec_hook=_path)
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigError(
            f"{origin}: {value!r} is not allowed: {error}. {_describe(hint)}{_bounds(hint)}"
        ) from error


def _parts(value: Any, hint: Any) -> Any:
    """Texts of lists and mappings, taken apart."""
    origin = get_origin(get_args(hint)[0])
    if not isinstance(value, str):
        return value
    if origin is tuple:
        return [part.strip() for part in value.split(",") if part.strip()]
    if origin is Mapping or getattr(origin, "__name__", "") == "Mapping":
        pairs = [part.strip().partition("=") for part in value.split(",") if part.strip()]
        if bad := next((key for key, equals, _ in pairs if not equals or not key), None):
            raise ConfigError(f"{value!r}: {bad!r} is no KEY=VALUE pair")
        return {key: text for key, _, text in pairs}
    return value or None if type(None) in get_args(get_args(hint)[0]) else value


def _path(kind: type, value: Any) -> Any:
    if kind is Path or Path in get_args(kind):
        return Path(str(value))
    raise TypeError(kind)  # pragma: no cover - a new type of setting needs its own reader


def _default(field: "dataclasses.Field[Any]") -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _text(value: Any) -> str:
    if value is None or value is dataclasses.MISSING:
        return ""
    if isinstance(value, Mapping):
        return ",".join(f"{key}={item}" for key, item in value.items())
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _describe(hint: Any) -> str:
    return next((str(meta.description) for meta in _metas(hint) if meta.description), "")


def _bounds(hint: Any) -> str:
    found = [
        f"{word} {getattr(meta, name)}"
        for meta in _metas(hint)
        for name, word in (("gt", "above"), ("ge", "at least"), ("le", "at most"))
        if getattr(meta, name) is not None
    ]
    inner = get_args(hint)[0]
    if get_origin(inner) is Literal:
        found = [f"one of {', '.join(get_args(inner))}"]
    return f" Allowed: {', '.join(found)}." if found else ""


def _metas(hint: Any) -> list[Meta]:
    return [meta for meta in get_args(hint)[1:] if isinstance(meta, Meta)]
