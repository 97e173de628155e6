"""What follows from other files of the project, and is kept in the chart all the same.

    python -m tests.charts.documents

writes it anew: the table of values in the chart's README, from the comments in values.yaml; the settings that
values may name, from the dataclasses that read them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

import yaml
from msgspec import Meta

from daemon.config import AgentConfig, ControllerConfig
from daemon.settings import Setting, settings_of
from tests.charts.rendering import CHART

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

VALUES: Final = CHART / "values.yaml"
SCHEMA: Final = CHART / "values.schema.json"
README: Final = CHART / "README.md"
START: Final = "<!-- values: written by python -m tests.charts.documents -->"
END: Final = "<!-- end of values -->"

PROCESSES: Final[Mapping[str, type["DataclassInstance"]]] = {
    "agent": AgentConfig,
    "controller": ControllerConfig,
}
"""The settings of each part of the chart."""
OWN: Final = frozenset(
    {
        *("node-name", "namespace", "listen", "host-root", "state", "runtime", "registry-hosts-dir"),
        *("credential-provider-config", "credential-provider-bin-dir", "docker-config"),
        *("kubeconfig", "socket", "identity", "clone-sets"),
    }
)
"""Settings that follow from other values, or from where a pod runs."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value of the chart."""

    path: str
    default: Any
    comment: str


def values_of(text: str) -> Iterator[Value]:
    """Every value that stands in *text*, with the comment above it."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    yield from _values(root, (), text.splitlines())


def _values(node: yaml.MappingNode, above: tuple[str, ...], lines: Sequence[str]) -> Iterator[Value]:
    for key, value in node.value:
        path = (*above, str(key.value))
        comment = _comment(lines, key.start_mark.line)
        if not comment and isinstance(value, yaml.MappingNode):
            yield from _values(value, path, lines)
        else:
            yield Value(".".join(path), yaml.safe_load(yaml.serialize(value)), comment)


def _comment(lines: Sequence[str], line: int) -> str:
    above: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        above.append(lines[line].strip().removeprefix("#").strip())
    return " ".join(reversed(above))


def table(values: Iterator[Value]) -> str:
    """The values as a table of Markdown."""
    rows = [f"| `{each.path}` | `{json.dumps(each.default)}` | {_cell(each.comment)} |" for each in values]
    return "\n".join(["| value | default | meaning |", "|---|---|---|", *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def readme() -> str:
    """The chart's README with the table of today's values."""
    before, rest = README.read_text().split(START)
    _, after = rest.split(END)
    return f"{before}{START}\n{table(values_of(VALUES.read_text()))}\n{END}{after}"


def schema() -> str:
    """The schema of the values with today's settings."""
    document = json.loads(SCHEMA.read_text())
    for part, kind in PROCESSES.items():
        document["definitions"][f"{part}Settings"] = settings_schema(kind)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def settings_schema(kind: type["DataclassInstance"]) -> dict[str, Any]:
    """What JSON Schema says of the settings of *kind*, but for those that the chart gives itself."""
    named = {setting.flag.removeprefix("--"): setting for setting in settings_of(kind)}
    properties = {name: _property(setting) for name, setting in named.items() if name not in OWN}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _property(setting: Setting) -> dict[str, Any]:
    return {"description": setting.meta.description, **_type(setting.kind), **_bounds(setting.meta)}


def _type(kind: Any) -> dict[str, Any]:
    if get_origin(kind) is Literal:
        return {"enum": list(get_args(kind))}
    if get_origin(kind) is tuple:
        element = get_args(get_args(kind)[0])
        return {"type": "array", "items": {**_type(element[0]), **_bounds(element[1])}}
    if get_origin(kind) is not None and issubclass(get_origin(kind), Mapping):
        return {"type": "object", "additionalProperties": {"type": "string"}}
    return {"type": {int: "integer", float: "number", bool: "boolean"}.get(kind, "string")}


def _bounds(meta: Meta) -> dict[str, Any]:
    words = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
    bounds = {word: getattr(meta, name) for name, word in words.items() if getattr(meta, name) is not None}
    return bounds | ({"pattern": meta.pattern} if meta.pattern else {})


def main() -> None:
    """Write both anew."""
    README.write_text(readme())
    SCHEMA.write_text(schema())


if __name__ == "__main__":
    main()
