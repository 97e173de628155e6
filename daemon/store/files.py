"""The state directory: one YAML file an object, never half-written, used by one process at a time.

A file comes into being under another name, is flushed to the disk, and only then takes its own name, so that
a crash at any point leaves the old text or the new one.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from daemon.engine.objects import ObjectsError
from daemon.store.problems import Problem
from daemon.store.records import KINDS, ObjectId, Record, RecordError, decoded, encoded

LOCK = ".lock"
UNFINISHED = ".tmp"
DAMAGED = ".corrupt"
_AT_ONCE = 64
"""Files that are open at the same time."""
LONGEST_NAME = 200
"""Bytes of an object's name in a file name. File systems end at 255, Kubernetes' names alone at 253."""


class StorageError(ObjectsError):
    """The state could not be written, and memory is as before. Retry: the disk may have room again."""


class StateDirectoryError(Exception):
    """The state directory is in use by another process, or not writable. A person must act."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the state directory held."""

    records: tuple[Record, ...]
    problems: tuple[Problem, ...]


class StateFiles:
    """Reads and writes the state directory. Every method blocks: call them from a thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock: int | None = None

    def open(self) -> Loaded:
        """Take the directory for this process and read it. Raises StateDirectoryError."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self._root / LOCK)
            self._make_folders()
            return self._read()
        except OSError as error:
            self.close()
            message = f"cannot use the state directory {self._root}: {error.strerror} ({error.filename})"
            raise StateDirectoryError(message) from error

    def close(self) -> None:
        """Let another process have the directory."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self, batch: Mapping[ObjectId, Record | None]) -> dict[ObjectId, OSError]:
        """Store each record, or remove the file where there is none; what could not be stored is returned.

        When this returns, all else is on the disk.
        """
        failed: dict[ObjectId, OSError] = {}
        folders: dict[Path, list[ObjectId]] = {}
        for ids in _portions(tuple(batch), _AT_ONCE):
            for id_, error in self._store({id_: batch[id_] for id_ in ids}).items():
                if error is not None:
                    failed[id_] = error
                else:
                    folders.setdefault(self.path_of(id_).parent, []).append(id_)
        for folder, ids in folders.items():
            try:
                _flush_folder(folder)
            except OSError as error:
                failed |= dict.fromkeys(ids, error)
        return failed

    def _store(self, batch: Mapping[ObjectId, Record | None]) -> dict[ObjectId, OSError | None]:
        """Write all, then flush all, then give all their names: the first flush pays for the others."""
        outcome: dict[ObjectId, OSError | None] = dict.fromkeys(batch)
        drafts: dict[ObjectId, _Draft] = {}
        with ExitStack() as opened:
            for id_, record in batch.items():
                with _noting(outcome, id_):
                    if record is None:
                        self.path_of(id_).unlink(missing_ok=True)
                    else:
                        drafts[id_] = opened.enter_context(self._drafted(self.path_of(id_), record))
            for step in (_Draft.flush, _Draft.publish):
                for id_, draft in drafts.items():
                    if outcome[id_] is None:
                        with _noting(outcome, id_):
                            step(draft)
        return outcome

    def path_of(self, id_: ObjectId) -> Path:
        """The file of an object. The name inside the file counts, so that a long one may be cut here."""
        name = id_.key.name
        if len(name) > LONGEST_NAME:
            name = f"{name[: LONGEST_NAME - 20]}~{hashlib.sha256(name.encode()).hexdigest()[:19]}"
        return self._root / KINDS[id_.kind].plural / id_.key.namespace / f"{name}.yaml"

    def _make_folders(self) -> None:
        for kind in KINDS.values():
            folder = self._root / kind.plural
            folder.mkdir(exist_ok=True)
            if kind.secret:
                folder.chmod(0o700)
        _flush_folder(self._root)

    @contextmanager
    def _drafted(self, path: Path, record: Record) -> Iterator["_Draft"]:
        """The record in a file beside *path*, which is gone in the end if it was not published."""
        secret = KINDS[record.obj.kind].secret
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700 if secret else 0o755, exist_ok=True)
            _flush_folder(path.parent.parent)
        unfinished = path.with_name(f".{path.name}{UNFINISHED}")
        file = os.open(
            unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600 if secret else 0o644
        )
        try:
            with os.fdopen(file, "wb") as stream:
                stream.write(encoded(record))
                stream.flush()
                yield _Draft(stream.fileno(), unfinished, path)
        finally:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)

    def _read(self) -> Loaded:
        records: dict[ObjectId, Record] = {}
        problems: list[Problem] = []
        for path in sorted(self._paths()):
            if path.name.endswith(UNFINISHED):
                path.unlink(missing_ok=True)
            elif path.suffix == ".yaml":
                try:
                    record = decoded(path.read_bytes())
                    if self.path_of(record.id) != path:
                        raise RecordError("belongs to another object")  # noqa: TRY301 - told like the others
                    records[record.id] = record
                except (OSError, RecordError) as error:
                    problems.append(_set_aside(path, error))
        return Loaded(tuple(records.values()), tuple(problems))

    def _paths(self) -> Iterator[Path]:
        for kind in KINDS.values():
            pattern = "*/*" if kind.namespaced else "*"
            yield from (path for path in (self._root / kind.plural).glob(pattern) if path.is_file())


def _locked(path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(file, 20).decode(errors="replace").strip() or "unknown"
        os.close(file)
        message = (
            f"the state directory {path.parent} is in use by process {holder}: stop it, or choose another"
        )
        raise StateDirectoryError(message) from error
    os.ftruncate(file, 0)
    os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
    return file


@dataclass(frozen=True, slots=True)
class _Draft:
    """A file that is written and has not its name yet."""

    file: int
    unfinished: Path
    path: Path

    def flush(self) -> None:
        os.fsync(self.file)

    def publish(self) -> None:
        self.unfinished.replace(self.path)


@contextmanager
def _noting(outcome: dict[ObjectId, OSError | None], id_: ObjectId) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        outcome[id_] = error


def _portions(ids: Sequence[ObjectId], size: int) -> Iterator[Sequence[ObjectId]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def _flush_folder(folder: Path) -> None:
    """Make the names in *folder* last: a rename is on the disk only when its directory is."""
    try:
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # Nothing was ever stored there.
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _set_aside(path: Path, error: Exception) -> Problem:
    """Move a file that cannot be read out of the way, keeping it for a person to look at."""
    free = (path.with_name(f"{path.name}{DAMAGED}{number}") for number in _numbers())
    aside = next(name for name in free if not name.exists())
    message = f"{error}: set aside as {aside.name}, its object starts anew"
    try:
        path.rename(aside)
    except OSError as failure:
        message = f"{error}, and cannot be set aside: {failure.strerror}"
    return Problem(str(path), 1, message)


def _numbers() -> Iterable[str]:
    yield ""
    number = 1
    while True:
        yield f".{number}"
        number += 1
