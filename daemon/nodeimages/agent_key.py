"""The key pair for sealed secrets: made at start, and kept over restarts where there is a place for it."""

import os
from contextlib import suppress
from pathlib import Path

import structlog

from daemon.objects.sealing import SealError, SealingKey

log = structlog.get_logger()
FILE = "sealing.key"


class KeyFileError(Exception):
    """The key cannot be kept where it was told to be; the message names the file."""


def load_key(directory: Path | None) -> SealingKey:
    """The pair of an earlier start, else a new one. Blocks on the disk. Raises KeyFileError.

    Without *directory* each start has a pair of its own, and the controller seals anew.
    """
    if directory is None:
        return SealingKey.new()
    path = directory / FILE
    try:
        return SealingKey.load(path.read_bytes())
    except FileNotFoundError:
        pass
    except SealError as error:
        log.warning("key for sealed secrets is broken, making another", file=str(path), error=str(error))
    except OSError as error:
        raise KeyFileError(f"cannot read {path}: {error.strerror}") from error
    key = SealingKey.new()
    try:
        _keep(path, key.private)
    except OSError as error:
        raise KeyFileError(f"cannot write {path}: {error.strerror}") from error
    return key


def _keep(path: Path, content: bytes) -> None:
    """Put the file in place whole and for nobody else to read, also where an earlier draft was left."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    with suppress(FileNotFoundError):
        draft.unlink()
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
