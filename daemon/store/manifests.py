"""The user's manifests: which objects they declare, where, and what is wrong with them.

Reading blocks, so it happens in a thread; files are never written. A file that was right and is no longer
keeps its last good objects: an editor may be in the middle of it, and taking a job away would cancel pulls.
"""

import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from daemon.objects.decoding import DecodingError, decode, identified
from daemon.objects.field_problems import FieldProblem
from daemon.objects.validation import problems_of
from daemon.store.documents import DocumentError, Node, documents
from daemon.store.problems import Problem
from daemon.store.records import ObjectId, Origin, Stored

SUFFIXES = {".yaml", ".yml", ".json"}
MAX_BYTES = 2**20
MAX_PROBLEMS = 100
"""Of one file that are told one by one."""
SETTLED = 0.1
"""Seconds after which another change of a file is sure to change its times: a kernel tick is 1-10 ms."""


@dataclass(frozen=True, slots=True)
class Document:
    """One object that a manifest declares."""

    obj: Stored
    origin: Origin

    @property
    def id(self) -> ObjectId:
        """Kind and key of the object."""
        return ObjectId(self.obj.kind, self.obj.metadata.key)


Declared = dict[ObjectId, Document]


@dataclass(slots=True)
class FileContent:
    """What one file holds: the first document of each object, and everything that is wrong."""

    documents: Declared = field(default_factory=dict)
    kept: Declared = field(default_factory=dict)
    """What the file held when it was last right, as far as it cannot be told whether it still does."""
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What all files of the directory say together."""

    documents: Mapping[ObjectId, Document]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file as it was when it was read. Without a signature it is to be read again next time."""

    signature: tuple[int, ...] | None
    content: FileContent


class Manifests:
    """A directory of manifests. All methods but the constructor block."""

    def __init__(self, directory: Path, max_bytes: int = MAX_BYTES) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._seen: dict[str, _Seen] = {}

    def remember(self, known: Iterable[Document]) -> None:
        """Take what an earlier process read for the last good objects of their files."""
        for document in known:
            seen = self._seen.setdefault(document.origin.file, _Seen(None, FileContent()))
            seen.content.documents[document.id] = document

    def scan(self) -> Snapshot:
        """Read the files that changed, and tell what all of them say."""
        try:
            names = sorted(entry.name for entry in self._directory.iterdir() if _is_manifest(entry.name))
        except OSError as error:
            # Nothing is known of the files, so nothing is taken away: a mount may come back.
            message = f"cannot read the manifest directory: {error.strerror}"
            return self._snapshot([Problem(_printable(str(self._directory)), 1, message)])
        looked = {_printable(name): self._look(name) for name in names}
        self._seen = {name: seen for name, seen in looked.items() if seen is not None}
        return self._snapshot([])

    def folders(self) -> frozenset[Path]:
        """The directories in which a change can change what the manifests say: links lead to others."""
        try:
            files = [path for path in self._directory.iterdir() if _is_manifest(path.name)]
        except OSError:
            files = []
        # Unlike Path.resolve, realpath does not raise for a link that leads to itself.
        return frozenset(
            {self._directory, *(Path(os.path.realpath(path)).parent for path in files if path.is_symlink())}
        )

    def _look(self, name: str) -> _Seen | None:
        """The file as it is now, read only if it changed; None when it is no file any more."""
        shown, path = _printable(name), self._directory / name
        before = self._seen.get(shown, _Seen(None, FileContent()))
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                return None
            signature: tuple[int, ...] = (
                status.st_mtime_ns,
                status.st_ctime_ns,
                status.st_size,
                status.st_ino,
            )
            if before.signature == signature:
                return before
            content = parse(_read(path, self._max_bytes + 1), shown, self._max_bytes)
        except FileNotFoundError:
            return None
        except OSError as error:
            signature, content = (), FileContent()
            content.problems.append(Problem(shown, 1, f"cannot be read: {error.strerror}"))
        _keep_last_good(content, before.content)
        # A change within the same tick of the kernel's clock would leave no trace in the times.
        settled = signature != () and time.time() - signature[0] / 1e9 > SETTLED
        return _Seen(signature if settled else None, content)

    def _snapshot(self, problems: list[Problem]) -> Snapshot:
        """Merge the files by name. What a file may not hold any more gives way to what another one holds."""
        merged: Declared = {}
        for seen in self._seen.values():
            problems += seen.content.problems
            for document in seen.content.documents.values():
                if (first := merged.setdefault(document.id, document)) is not document:
                    problems.append(_twice(document, first))
        for seen in self._seen.values():
            for id_, document in seen.content.kept.items():
                if merged.setdefault(id_, document) is document:
                    problems.append(_kept(document))
        return Snapshot(merged, tuple(problems))


def parse(data: bytes, file: str, max_bytes: int = MAX_BYTES) -> FileContent:
    """Read the text of one file. Never raises: whatever is wrong is among the problems."""
    content = FileContent()
    if len(data) > max_bytes:
        content.problems.append(Problem(file, 1, "is too big", allowed=f"at most {max_bytes} bytes"))
        return content
    for document in documents(data, is_json=file.endswith(".json")):
        if isinstance(document, DocumentError):
            content.problems.append(Problem(file, document.line, document.message))
        else:
            for node in _unpacked(document):
                _take(content, node, file)
    if (more := len(content.problems) - MAX_PROBLEMS) > 0:
        del content.problems[MAX_PROBLEMS:]
        content.problems.append(Problem(file, 1, f"has {more} more problems"))
    return content


def _unpacked(node: Node) -> Iterator[Node]:
    """The items of a List as kubectl writes it, else the document itself."""
    items = node.children.get("items")
    if isinstance(node.value, dict) and node.value.get("kind") == "List" and items is not None:
        for item in items.children.values():
            yield from _unpacked(item)
    else:
        yield node


def _take(content: FileContent, node: Node, file: str) -> None:
    try:
        obj = decode(node.value)
        wrong = problems_of(obj)
    except DecodingError as error:
        wrong = error.problems
    else:
        document = Document(obj, Origin(file=file, line=node.line))
        if not wrong and (first := content.documents.setdefault(document.id, document)) is not document:
            content.problems.append(_twice(document, first))
    content.problems += [_problem(file, node, each) for each in wrong]


def _problem(file: str, node: Node, wrong: FieldProblem) -> Problem:
    return Problem(
        file=file,
        line=node.line_of(wrong.path),
        message=wrong.message,
        object=identified(node.value),
        field=wrong.field,
        value=wrong.value,
        allowed=wrong.allowed,
    )


def _twice(document: Document, first: Document) -> Problem:
    message = f"is declared in {first.origin} already, which counts"
    return Problem(document.origin.file, document.origin.line, message, str(document.id))


def _kept(document: Document) -> Problem:
    message = "stays as it was last read, until the file is right again"
    return Problem(document.origin.file, document.origin.line, message, str(document.id))


def _keep_last_good(content: FileContent, before: FileContent) -> None:
    """Keep what a mistake may have hidden: everything, unless each mistake is in an object with a name."""
    known = before.kept | before.documents
    if known and content == FileContent():
        # Whoever writes a file anew cuts it off first; whoever wants its objects gone can remove it.
        content.problems.append(Problem(next(iter(known.values())).origin.file, 1, "is empty"))
    wrong = {problem.object for problem in content.problems}
    unnamed = any("/" not in name for name in wrong)
    for id_, document in known.items():
        if id_ not in content.documents and (unnamed or str(id_) in wrong):
            content.kept[id_] = document


def _read(path: Path, limit: int) -> bytes:
    # The name may have become a pipe by now: opening that must not wait for a writer.
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(file, "rb") as stream:
        return stream.read(limit)


def _is_manifest(name: str) -> bool:
    """Hidden files are left out: temporary ones of editors and of ConfigMap mounts are among them."""
    return not name.startswith(".") and Path(name).suffix in SUFFIXES


def _printable(name: str) -> str:
    """A file's name as text, even if its bytes are none."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")
