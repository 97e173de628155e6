"""Builds an image as a Dockerfile says, on a machine that has no builder of images and no internet.

    python -m tests.testbed.imaging

Base images are made of Debian's packages, RUN is done in a chroot, and each step is kept in the cache under a
hash of all that went into it, as builders do. What needs packages is done where a network is (`make setup`):
inside the test bed only the last steps are, when the project's code has changed. Needs root.
"""

import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.testbed import chroots
from tests.testbed.dockerfile import Copy, Run, Stage, Step, parse
from tests.testbed.session import TestbedError
from tests.testbed.toolchain import cache_directory, locked, say

CHECKOUT: Final = Path(__file__).parents[2]
IGNORED: Final = "__pycache__"
"""The one thing below what is copied that .dockerignore names."""
KEPT: Final = 30
"""Steps in the cache: those that nobody asked for longest go first."""


@dataclass(frozen=True, slots=True)
class Made:
    """One step: the files that it added or changed, on top of those of the steps before it."""

    key: str
    earlier: tuple[Path, ...] = ()
    """Their files, the first step's first."""

    @property
    def home(self) -> Path:
        """Where it is cached, with what is made of it later."""
        return _cache() / self.key

    @property
    def files(self) -> Path:
        """The files, as an overlay file system keeps them."""
        return self.home / "files"

    @property
    def layers(self) -> tuple[Path, ...]:
        """All directories that it consists of."""
        return (*self.earlier, self.files)


@dataclass(slots=True, eq=False)
class Builder:
    """Builds the stages of one Dockerfile; what is in the cache is taken from there."""

    context: Path = CHECKOUT
    _stages: dict[str, Made] = field(default_factory=dict)

    def build(self) -> tuple[Stage, Made]:
        """Build the last stage, and whatever it needs. Raises TestbedError."""
        _cache().mkdir(parents=True, exist_ok=True)
        stages = parse((self.context / "Dockerfile").read_text())
        with locked(_cache() / "lock"):
            made = [self._build_stage(stage) for stage in stages]
            _forget_old()
        return stages[-1], made[-1]

    def _build_stage(self, stage: Stage) -> Made:
        made = self._stages[stage.base] if stage.base in self._stages else _base(stage.base)
        for step in stage.steps:
            made = self._build_step(made, step)
        self._stages[stage.name] = made
        return made

    def _build_step(self, parent: Made, step: Step) -> Made:
        made = Made(_hash([parent.key, repr(step), self._content(step)]), parent.layers)
        if not made.files.is_dir():
            with _filled(made) as files:
                self._do(step, parent, files)
        os.utime(made.home)
        return made

    def _do(self, step: Step, parent: Made, files: Path) -> None:
        match step:
            case Run(command):
                say(f"image: {command if len(command) < 100 else command[:99] + '…'}")
                chroots.run(command, parent.layers, files)
            case Copy(sources, target, ""):
                _copy([self.context / source for source in sources], target, files)
            case Copy(sources, target, stage):
                chroots.copy(self._stages[stage].layers, sources, target, files)

    def _content(self, step: Step) -> str:
        match step:
            case Run():
                return ""
            case Copy(sources, _, ""):
                return _hash(_listed(self.context, sources))
            case Copy(_, _, stage):
                return self._stages[stage].key


def _base(image: str) -> Made:
    distribution, _, tag = image.partition(":")
    if distribution != "debian":
        raise TestbedError(f"Dockerfile: the test bed makes Debian's own base images only, not {image}")
    release = tag.removesuffix("-slim")
    made = Made(_hash([image, *chroots.UNNEEDED]))
    if not made.files.is_dir():
        say(f"image: making {image} of Debian's packages")
        with _filled(made) as files:
            chroots.bootstrap(release, files)
    os.utime(made.home)
    return made


def _copy(sources: Iterable[Path], target: str, files: Path) -> None:
    """Copy as COPY does: a file into a directory, and what is in a directory into another."""
    folder = files / target.lstrip("/")
    folder.mkdir(parents=True, exist_ok=True)
    for source in sources:
        if source.is_dir():
            shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(IGNORED))
        else:
            shutil.copy(source, folder)


def _listed(context: Path, sources: Iterable[str]) -> Iterator[str]:
    for source in sources:
        top = context / source
        for file in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if file.is_file() and IGNORED not in file.parts:
                yield f"{file.relative_to(context)} {hashlib.sha256(file.read_bytes()).hexdigest()}"


@contextmanager
def _filled(made: Made) -> Iterator[Path]:
    """A directory to fill, which counts as made when that went well."""
    made.home.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=made.home, prefix="making-", ignore_cleanup_errors=True) as work:
        files = Path(work, "files")
        files.mkdir(mode=0o755)
        yield files
        files.rename(made.files)


def _forget_old() -> None:
    homes = [path for path in _cache().iterdir() if path.is_dir()]
    for home in sorted(homes, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
        shutil.rmtree(home, ignore_errors=True)


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _cache() -> Path:
    return cache_directory() / "image"


def main() -> int:
    """Build the project's image, so that it is in the cache."""
    started = time.monotonic()
    try:
        Builder().build()
    except TestbedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if time.monotonic() - started > 1.0:
        say(f"image: built in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
