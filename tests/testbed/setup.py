"""Installs what the test bed needs on a fresh Debian. Idempotent; nothing that it installs is started.

    python3 -m tests.testbed.setup [--for demo|test]

Run as root. Standard library only: it runs before the virtual environment exists.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

POLICY: Final = Path("/usr/sbin/policy-rc.d")
"""Debian's invoke-rc.d asks it whether a service may be started; 101 is no."""
INSTALL_DEADLINE: Final = 900.0


@dataclass(frozen=True, slots=True)
class Need:
    """A Debian package, and a program by which to see that it is there already."""

    package: str
    program: str
    services: tuple[str, ...] = ()
    """What it would have started at each boot."""


DEMO: Final = (
    Need("containerd", "containerd", ("containerd.service",)),
    Need("docker-registry", "docker-registry", ("docker-registry.service",)),
    Need("apache2-utils", "htpasswd"),
    Need("busybox-static", "busybox"),
    Need("iproute2", "ip"),
    Need("mount", "mount"),
    Need("util-linux", "unshare"),
)
TEST: Final = (
    *DEMO,
    Need("runc", "runc"),
    Need("systemd", "systemd-analyze"),
    Need("chromium", "chromium"),
    Need("chromium-driver", "chromedriver"),
    Need("containernetworking-plugins", "/usr/lib/cni/bridge"),
    Need("mmdebstrap", "mmdebstrap"),
    Need("faketime", "faketime"),
)
NEEDS: Final[Mapping[str, Sequence[Need]]] = {"demo": DEMO, "test": TEST}


class SetupError(Exception):
    """It cannot be installed; the message says what to do."""


def install(needs: Sequence[Need]) -> list[str]:
    """Install what is missing of *needs* and return the names of those packages. Raises SetupError."""
    missing = [need for need in needs if not is_there(need)]
    if not missing:
        return []
    _check_machine([need.package for need in missing])
    names = [need.package for need in missing]
    _say(f"installing {' '.join(names)} (nothing of it is started)")
    with services_not_started():
        try:
            _apt("install", *names)
        except subprocess.CalledProcessError:
            _apt("update")  # The lists are old or were never fetched.
            _apt("install", *names)
    _leave_disabled([service for need in missing for service in need.services])
    return names


def is_there(need: Need) -> bool:
    """Whether the program is on the machine, wherever it came from."""
    found = shutil.which(need.program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if need.package == "busybox-static":
        return found is not None and is_static(Path(found))
    return found is not None


def is_static(program: Path) -> bool:
    """Whether an ELF program needs no interpreter: in an image there is no libc for it."""
    return b"/ld-linux" not in program.read_bytes()[:4096]


@contextmanager
def services_not_started() -> Iterator[None]:
    """Keep packages from starting their services while they are installed."""
    if POLICY.exists():  # Somebody's own policy: a container image usually has one, and it says no.
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def _check_machine(packages: Sequence[str]) -> None:
    if shutil.which("apt-get") is None:
        raise SetupError(f"this is no Debian: install by other means {' '.join(packages)}")
    if os.geteuid() != 0:
        raise SetupError(f"run this as root, or install first: {' '.join(packages)}")


def _apt(verb: str, *names: str) -> None:
    options = ["--yes", "--quiet", "--no-install-recommends"] if verb == "install" else ["--quiet"]
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(
        ["apt-get", verb, *options, "-o", "Dpkg::Use-Pty=0", *names],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        check=True,
        timeout=INSTALL_DEADLINE,
    )


def _leave_disabled(services: Sequence[str]) -> None:
    """Undo what the packages' scripts enabled: the test bed starts its own processes, and only then."""
    if services and shutil.which("systemctl"):
        subprocess.run(
            ["systemctl", "--quiet", "disable", *services],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=60.0,
        )


def _say(message: str) -> None:
    print(f"setup: {message}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Install, and say in a word what was done."""
    parser = argparse.ArgumentParser(prog="setup", description="Install what the test bed needs.")
    parser.add_argument("--for", dest="purpose", choices=sorted(NEEDS), default="test")
    options = parser.parse_args(arguments)
    try:
        installed = install(NEEDS[options.purpose])
    except (SetupError, subprocess.SubprocessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if installed:
        _say("done")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
