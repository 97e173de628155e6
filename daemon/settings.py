"""Reads the settings of a process: from flags, the environment, a file, or their defaults, in this order.

One frozen dataclass is the source of flags, variables, file keys, validation and help. Each of its fields is
``Annotated`` with a ``Meta``: its description names the unit, its bounds are what is allowed; a pattern
comes with ``extra={"allowed": …}``, the same in words.
"""

import dataclasses
import re
import reprlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

if TYPE_CHECKING:
    import yaml
    from _typeshed import DataclassInstance

ENV_PREFIX = "INPLACED_"
MAX_FILE_BYTES = 256 * 1024
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""What a setting may not hold: it is shown in logs, pages and messages to the service manager."""
_NULL = "tag:yaml.org,2002:null"
_QUOTING = reprlib.Repr()
_QUOTING.maxstring = _QUOTING.maxother = 120

C = TypeVar("C", bound="DataclassInstance")
Text = str | list[str] | dict[str, str]
"""A value as it is told from outside: lists and mappings only in a file."""


class ConfigError(Exception):
    """A setting is wrong; the message names where it was set, its value and what is allowed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """One field of the dataclass, as the outside sees it."""

    name: str
    hint: Any
    """Its type with the annotation."""
    default: Any

    @property
    def kind(self) -> Any:
        """Its type without the annotation."""
        return get_args(self.hint)[0]

    @property
    def meta(self) -> Meta:
        """What is said of it."""
        found: Meta = get_args(self.hint)[1]
        return found

    @property
    def flag(self) -> str:
        """On the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """In the environment."""
        return f"{ENV_PREFIX}{self.name.upper()}"

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is dataclasses.MISSING

    @property
    def allowed(self) -> str:
        """Which values it may have."""
        if self.meta.extra is not None:
            return str(self.meta.extra["allowed"])
        if get_origin(self.kind) is Literal:
            return f"one of {', '.join(get_args(self.kind))}"
        words = (("gt", "above"), ("ge", "at least"), ("le", "at most"))
        bounds = [(word, getattr(self.meta, name)) for name, word in words]
        told = [f"{word} {bound}" for word, bound in bounds if bound is not None]
        return ", ".join([_WORDS[_plain(self.kind)], *told])

    def read(self, origin: str, told: Text) -> Any:
        """The value of what was *told* at *origin*. Raises ConfigError."""
        try:
            return self._converted(told)
        except ValueError as error:
            raise ConfigError(
                f"{origin}: {_QUOTING.repr(told)} is not allowed. {self.meta.description} "
                f"Allowed: {self.allowed}."
            ) from error

    def _converted(self, told: Text) -> Any:
        parts = self._parts(told) if isinstance(told, str) else told
        for text in _texts(parts):
            if _UNPRINTABLE.search(text):
                raise ValueError(text)
        return msgspec.convert(parts, self.hint, strict=False, dec_hook=_path)

    def _parts(self, told: str) -> Any:
        """The text of a list or a mapping, taken apart."""
        match _plain(self.kind):
            case "tuple":
                return [part.strip() for part in told.split(",") if part.strip()]
            case "Mapping":
                return _pairs(part.strip() for part in told.split(",") if part.strip())
            case "Path | None":
                return told or None
        return told

    def written(self, value: Any) -> str:
        """The text that is read as *value*."""
        if isinstance(value, bool):
            return str(value).lower()
        if value is None or value is dataclasses.MISSING:
            return ""
        if isinstance(value, Mapping):
            return ",".join(f"{key}={item}" for key, item in value.items())
        return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def settings_of(kind: type["DataclassInstance"]) -> tuple[Setting, ...]:
    """The settings of that dataclass, in its order."""
    hints = get_type_hints(kind, include_extras=True)
    fields = dataclasses.fields(kind)
    return tuple(Setting(field.name, hints[field.name], _default(field)) for field in fields)


def load(kind: type[C], program: str, argv: Sequence[str], environ: Mapping[str, str]) -> C:
    """Read the settings of *kind*. Raises ConfigError; ``--help`` prints and exits as argparse does."""
    settings = settings_of(kind)
    # In a pod all settings come from the environment: argparse would be 0.3 MiB of each agent.
    flags = _flags(kind, program, settings, argv) if argv else {}
    path = flags.get("config", environ.get(f"{ENV_PREFIX}CONFIG"))
    told: dict[str, tuple[str, Text]] = dict(_in_file(path, settings)) if path else {}
    for setting in settings:
        if setting.variable in environ:
            told[setting.name] = (setting.variable, environ[setting.variable])
        if setting.name in flags:
            told[setting.name] = (setting.flag, flags[setting.name])
        if setting.is_required and setting.name not in told:
            raise ConfigError(f"{setting.flag} (or {setting.variable}) is required")
    values = {setting.name: setting.read(*told[setting.name]) for setting in settings if setting.name in told}
    try:
        return kind(**values)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def shown(config: "DataclassInstance") -> dict[str, Any]:
    """Every setting with its value, for ``/flagz``. None is a secret: files are named, not read."""
    return {
        field.name.replace("_", "-"): msgspec.to_builtins(getattr(config, field.name), enc_hook=str)
        for field in dataclasses.fields(config)
    }


def environment_file(kind: type["DataclassInstance"], given: Mapping[str, str]) -> str:
    """Every setting as a line of an environment file: those *given* in force, others as comments."""
    lines: list[str] = []
    for setting in settings_of(kind):
        lines.append(f"# {setting.meta.description} Allowed: {setting.allowed}.")
        if setting.name in given:
            lines += [f"{setting.variable}={given[setting.name]}", ""]
        else:
            lines += [f"#{setting.variable}={setting.written(setting.default)}", ""]
    return "\n".join(lines)


def _flags(kind: type[Any], program: str, settings: Sequence[Setting], argv: Sequence[str]) -> dict[str, str]:
    from argparse import SUPPRESS, ArgumentParser

    class Parser(ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise ConfigError(f"{self.prog}: {message}; see {self.prog} --help")

    parser = Parser(
        prog=program,
        description=kind.__doc__ if sys.flags.optimize < 2 else None,  # -OO: made up of all fields
        epilog=f"Settings can also come from the environment ({ENV_PREFIX}NAME) or a YAML file (--config).",
        argument_default=SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file of settings, names as the flags'.")
    for setting in settings:
        default = setting.written(setting.default) or "none"
        told = "Required." if setting.is_required else f"Default: {default}."
        text = f"{setting.meta.description} Allowed: {setting.allowed}. {told}"
        parser.add_argument(setting.flag, dest=setting.name, metavar="VALUE", help=text.replace("%", "%%"))
    return vars(parser.parse_args(argv))


def _in_file(path: str, settings: Sequence[Setting]) -> Iterator[tuple[str, tuple[str, Text]]]:
    """The settings of the file with where they stand; a null leaves a setting to its default."""
    names = {setting.flag.removeprefix("--"): setting.name for setting in settings}
    seen: set[str] = set()
    for key, node in _entries(path):
        origin = f"{path}:{node.start_mark.line + 1}"
        name = str(key.value).replace("_", "-")
        if name not in names:
            raise ConfigError(f"{origin}: unknown setting {name!r}{_guess(name, list(names))}")
        if name in seen:
            raise ConfigError(f"{origin}: {name} is set twice")
        seen.add(name)
        if node.tag != _NULL:
            yield names[name], (f"{origin}: {name}", _told(f"{origin}: {name}", node))


def _entries(path: str) -> "list[tuple[yaml.Node, yaml.Node]]":
    import yaml  # only who has such a file pays for it

    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
        if len(raw) > MAX_FILE_BYTES:
            raise ConfigError(f"--config {path}: larger than the {MAX_FILE_BYTES} bytes that are allowed")
        root = yaml.compose(raw.decode("utf-8-sig"), Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"--config {path}: {' '.join(str(error).split())}") from error
    if root is None or root.tag == _NULL:
        return []
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"--config {path}: a mapping of setting names to values is wanted")
    return list(root.value)


def _guess(name: str, names: Sequence[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, names, 1)
    return f", did you mean {close[0]!r}?" if close else f"; allowed are {', '.join(names)}"


def _told(origin: str, node: "yaml.Node") -> Text:
    """The texts of a node: what YAML makes of a number or a date is none of its business."""
    import yaml

    match node:
        case yaml.ScalarNode():
            return str(node.value)
        case yaml.SequenceNode() if all(isinstance(item, yaml.ScalarNode) for item in node.value):
            return [str(item.value) for item in node.value]
        case yaml.MappingNode() if all(
            isinstance(item, yaml.ScalarNode) for pair in node.value for item in pair
        ):
            return {str(key.value): str(item.value) for key, item in node.value}
    raise ConfigError(f"{origin}: a value, a list of values or a mapping of values is wanted")


def _default(field: "dataclasses.Field[Any]") -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "Path": "a path",
    "Path | None": "a path or nothing",
    "tuple": "texts, separated by commas",
    "Mapping": "KEY=VALUE pairs, separated by commas, each key once",
}


def _plain(kind: Any) -> str:
    """The name of a type of setting."""
    origin = get_origin(kind)
    if origin in (tuple, Mapping):
        return str(origin.__name__)
    return "Path | None" if type(None) in get_args(kind) else str(getattr(kind, "__name__", "str"))


def _pairs(parts: Iterator[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or not key or key in pairs:
            raise ValueError(part)
        pairs[key] = value
    return pairs


def _texts(parts: Any) -> Iterator[str]:
    if isinstance(parts, Mapping):
        yield from (*parts.keys(), *parts.values())
    elif isinstance(parts, str):
        yield parts
    else:
        yield from parts or ()


def _path(kind: Any, value: Any) -> Path:
    if not value or not isinstance(value, str):
        raise ValueError(value)
    return Path(value)
