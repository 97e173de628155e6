"""Splits a YAML or JSON file into documents and keeps the line of each field.

Built on libyaml's events, because the ready-made constructors let a duplicate key win silently, expand
aliases without bound, and forget lines. Scalars mean what they mean to kubectl: the core schema, the booleans
of YAML 1.1, and timestamps left as text. Each document is parsed by itself, so that a broken one does not
take the others along.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from daemon.objects.field_problems import Path

MAX_DEPTH = 100
MAX_EXPANDED = 4 * 2**20
"""Characters and nodes of one document once every alias is written out: an honest one has little more than
the size of its file."""

_BOUNDARY = re.compile(rb"(?m)^(?=---(?:[ \t\r\n]|\Z))|(?<=\n\.\.\.\n)")
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
"""How JSON escapes what lies beyond 16 bits; YAML knows no such pair."""

_CORE = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,39})")
_OTHER_INTEGER = re.compile(r"[-+]?0(?:x[0-9a-fA-F]{1,16}|o?[0-7]{1,21}|b[01]{1,64})")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,40}|[0-9]{1,40}(?:\.[0-9]{0,40})?)(?:[eE][-+]?[0-9]{1,3})?")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
}


class DocumentError(Exception):
    """This document cannot be read."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass(slots=True)
class Node:
    """A value with its line, and so for all that is in it."""

    value: Any
    line: int
    children: dict[str | int, "Node"] = field(default_factory=dict)
    size: int = 1

    def line_of(self, path: Path) -> int:
        """The line of the field at *path*, or of the nearest field around it that is there."""
        node = self
        for step in path:
            if step not in node.children:
                break
            node = node.children[step]
        return node.line

    def put(self, key: str | int, child: "Node") -> None:
        """Add *child* to this mapping or list."""
        self.children[key] = child
        self.size += child.size
        if isinstance(self.value, list):
            self.value.append(child.value)
        else:
            self.value[key] = child.value


@dataclass(slots=True)
class _Frame:
    """A mapping or list that is still open."""

    node: Node
    anchor: str | None
    key: str | None = None
    key_line: int = 0
    merging: bool = False
    merged: list[Node] = field(default_factory=list)

    @property
    def wants_key(self) -> bool:
        return isinstance(self.node.value, dict) and self.key is None


def documents(data: bytes, *, is_json: bool = False) -> Iterator[Node | DocumentError]:
    """Yield each document that is not empty, or why it cannot be read, in the order of the file."""
    for first_line, part in _parts(data):
        try:
            yield from _nodes(_text(part, first_line, is_json), first_line)
        except DocumentError as error:
            yield error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            yield DocumentError(first_line + (mark.line if mark else 0), f"is not YAML: {error.problem}")
        except yaml.reader.ReaderError as error:
            lines = part[: error.position].count(b"\n")
            yield DocumentError(first_line + lines, "is not YAML: it has control characters")


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Cut before each line of three dashes, and after each of three dots: nothing in YAML can hide one."""
    line, part = 1, b""
    cuts = [match.start() for match in _BOUNDARY.finditer(data)]
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        part += data[start:end]
        if not _is_idle(part) or end == len(data):
            yield line, part
            line += part.count(b"\n")
            part = b""


def _is_idle(part: bytes) -> bool:
    """Tell whether *part* has comments and directives only, which belong to the document that follows."""
    return all(line.strip()[:1] in {b"", b"#", b"%"} for line in part.splitlines())


def _text(part: bytes, first_line: int, is_json: bool) -> str:
    try:
        text = part.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        lines = part[: error.start].count(b"\n")
        raise DocumentError(first_line + lines, "is not UTF-8") from error
    return _SURROGATES.sub(_joined_surrogates, text) if is_json else text


def _joined_surrogates(match: re.Match[str]) -> str:
    high, low = int(match[2], 16), int(match[3], 16)
    return f"{match[1]}\\U{0x10000 + (high - 0xD800 << 10) + (low - 0xDC00):08x}"


def _nodes(text: str, first_line: int) -> Iterator[Node]:
    builder = _Builder(first_line)
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        builder.take(event)
        if isinstance(event, yaml.DocumentEndEvent) and builder.root.value is not None:
            yield builder.root


class _Builder:
    """Makes a tree of nodes from the events of one stream, without recursion."""

    def __init__(self, first_line: int) -> None:
        self.root = Node(None, first_line)
        self._first_line = first_line
        self._stack: list[_Frame] = []
        self._anchors: dict[str, Node] = {}

    def take(self, event: yaml.Event) -> None:
        """Take the next event in. Raises DocumentError."""
        line = self._first_line + (event.start_mark.line if event.start_mark else 0)
        match event:
            case yaml.ScalarEvent():
                self._take_scalar(event, line)
            case yaml.AliasEvent():
                self._take_alias(event, line)
            case yaml.CollectionStartEvent():
                self._open(event, line)
            case yaml.CollectionEndEvent():
                self._close()
            case yaml.DocumentStartEvent():
                self.root, self._anchors = Node(None, line), {}

    def _take_scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        if self._stack and self._stack[-1].wants_key:
            self._take_key(event, line)
            return
        node = Node(_scalar(event, line), line, size=1 + len(event.value))
        self._add(node, event.anchor)

    def _take_key(self, event: yaml.ScalarEvent, line: int) -> None:
        frame = self._stack[-1]
        frame.merging = event.value == "<<" and event.implicit[0]
        if event.value in frame.node.children or (frame.merging and frame.merged):
            raise DocumentError(line, f"has the key {event.value[:80]!r} twice in one mapping")
        frame.key, frame.key_line = event.value, line
        frame.node.size += len(event.value)

    def _take_alias(self, event: yaml.AliasEvent, line: int) -> None:
        self._refuse_as_key(line)
        # The name is not told: what follows a star may have been meant as a password.
        if event.anchor not in self._anchors:
            raise DocumentError(line, "has an alias (a word after *) without an anchor before it")
        target = self._anchors[event.anchor]
        self._add(Node(target.value, line, target.children, target.size), None)

    def _open(self, event: yaml.CollectionStartEvent, line: int) -> None:
        self._refuse_as_key(line)
        if len(self._stack) >= MAX_DEPTH:
            raise DocumentError(line, f"is nested more than {MAX_DEPTH} deep")
        is_list = isinstance(event, yaml.SequenceStartEvent)
        if event.tag not in {None, "!", f"{_CORE}{'seq' if is_list else 'map'}"}:
            raise DocumentError(line, "has a tag (a word after !) that is not known")
        self._stack.append(_Frame(Node([] if is_list else {}, line), event.anchor))

    def _close(self) -> None:
        frame = self._stack.pop()
        for merged in frame.merged:
            for key, child in merged.children.items():
                if key not in frame.node.children:
                    frame.node.put(key, child)
        self._add(frame.node, frame.anchor)

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._stack:
            self.root = node
            return
        frame = self._stack[-1]
        if frame.key is None:
            frame.node.put(len(frame.node.children), node)
        elif frame.merging:
            frame.merged += _merge_sources(node)
        else:
            frame.node.put(frame.key, Node(node.value, frame.key_line, node.children, node.size))
        frame.key = None
        if frame.node.size > MAX_EXPANDED:
            raise DocumentError(node.line, "is too big once its aliases are written out")

    def _refuse_as_key(self, line: int) -> None:
        if self._stack and self._stack[-1].wants_key:
            raise DocumentError(line, "has a key that is not text")


def _merge_sources(node: Node) -> list[Node]:
    sources = [node] if isinstance(node.value, dict) else list(node.children.values())
    if not sources or not all(isinstance(source.value, dict) for source in sources):
        raise DocumentError(node.line, "merges (<<) something that is not a mapping")
    return sources


def _scalar(event: yaml.ScalarEvent, line: int) -> Any:
    if event.tag is None:
        return _plain(event.value) if event.implicit[0] else event.value
    if event.tag in {"!", f"{_CORE}str"}:
        return event.value
    if event.tag.startswith(_CORE) and event.tag.removeprefix(_CORE) in {"int", "float", "bool", "null"}:
        return _plain(event.value)
    raise DocumentError(line, "has a tag (a word after !) that is not known")


def _plain(text: str) -> Any:
    """What a scalar without quotes stands for."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OTHER_INTEGER.fullmatch(text):
        return int(text, 0) if text.lstrip("+-")[1] in "xb" else int(text.replace("o", ""), 8)
    return float(text) if _FLOAT.fullmatch(text) else text
