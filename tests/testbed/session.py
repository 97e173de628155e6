"""What is known inside the test bed's namespaces: where files may lie, and the parent of all cgroups.

Standard library only: the process that sets the session up runs before anything is installed.
"""

import ctypes
import errno
import itertools
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DIRECTORY_VARIABLE: Final = "INPLACED_TESTBED"
CGROUP_VARIABLE: Final = "INPLACED_TESTBED_CGROUP"
COMMAND: Final = "python -m tests.testbed.enter"
CGROUPS: Final = Path("/sys/fs/cgroup")
ADDRESS: Final = "192.0.2.1"
"""An address of TEST-NET-1 (RFC 5737) on loopback: containerd skips TLS verification for 127.0.0.1."""
HOST_NAME: Final = "registry.test"
"""Resolves to ADDRESS inside."""
MNT_DETACH: Final = 2  # linux/fs.h

_numbers = itertools.count(1)


class TestbedError(Exception):
    """The test bed cannot do what was asked; the message says what to do about it."""

    __test__ = False


@dataclass(frozen=True, slots=True)
class Session:
    """One stay inside the namespaces. Everything in the directory and below the cgroup goes when it ends."""

    directory: Path
    cgroup: str
    """Absolute path within each cgroup hierarchy."""

    @property
    def certificates(self) -> Path:
        """How registries are reached: the ``certs.d`` of every containerd that is given no other."""
        return self.directory / "certs.d"

    def new_directory(self, prefix: str) -> Path:
        """Make a directory whose path is short: a unix socket's path may have 107 bytes only."""
        path = self.directory / f"{prefix}{os.getpid()}-{next(_numbers)}"
        path.mkdir(parents=True)
        return path


def current_session(environ: Mapping[str, str] = os.environ) -> Session:
    """The session this process runs in. Raises TestbedError outside."""
    directory, cgroup = environ.get(DIRECTORY_VARIABLE), environ.get(CGROUP_VARIABLE)
    if not directory or not cgroup:
        raise TestbedError(
            "this needs the test bed's own namespaces, so that nothing of the machine is touched; "
            f"run it as root through: {COMMAND} -- <command>, for example "
            f"{COMMAND} -- pytest tests/integration"
        )
    return Session(Path(directory), cgroup)


def mount_points_below(directory: Path) -> list[Path]:
    """Mount points at or below *directory* in this mount namespace, the innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    # Octal escapes as in proc(5); the fifth field is the mount point.
    points = [Path(line.split(" ")[4].encode().decode("unicode_escape")) for line in lines]
    return [point for point in reversed(points) if point.is_relative_to(directory)]


def unmount_below(directory: Path) -> None:
    """Unmount everything at or below *directory*; what is busy goes when its last user does."""
    libc = ctypes.CDLL(None, use_errno=True)
    for point in mount_points_below(directory):
        if libc.umount2(os.fsencode(point), MNT_DETACH) != 0 and ctypes.get_errno() != errno.EINVAL:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(point))


def cgroup_directories(cgroup: str) -> Iterator[Path]:
    """The directories of *cgroup* and of those below it in every hierarchy, the innermost first."""
    for hierarchy in (CGROUPS, *sorted(CGROUPS.glob("*"))):
        # os.walk says nothing of what goes while it looks.
        for path, _, _ in os.walk(hierarchy / cgroup.strip("/"), topdown=False):
            yield Path(path)


def processes_in(cgroup: str) -> set[int]:
    """Ids of the processes in *cgroup* and below, as this PID namespace sees them."""
    found: set[int] = set()
    for path in cgroup_directories(cgroup):
        try:
            found.update(int(line) for line in (path / "cgroup.procs").read_text().split())
        except OSError:  # Gone meanwhile, or a controller directory without processes.
            continue
    return found - {0}  # 0 stands for a process of another PID namespace.


def processes() -> dict[int, str]:
    """Command lines of living processes by id, as this PID namespace sees them."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:  # It ended meanwhile.
                continue
            if line:  # A zombie has none.
                found[int(entry.name)] = line.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def remove_cgroup(cgroup: str, deadline: float = 10.0) -> None:
    """Kill what runs in *cgroup* and remove it, with all below it, from every hierarchy."""
    until = time.monotonic() + deadline
    while remaining := list(cgroup_directories(cgroup)):
        if time.monotonic() > until:
            raise TestbedError(f"cgroup {cgroup} does not go away: {processes_in(cgroup)} are in it")
        for pid in processes_in(cgroup):
            _kill(pid)
        for path in remaining:
            _remove_directory(path)


def remove_tree(directory: Path) -> None:
    """Remove *directory* with whatever is mounted in it."""
    unmount_below(directory)
    shutil.rmtree(directory, ignore_errors=True)


def put_away(directory: Path) -> None:
    """Take *directory* away at once, with whatever is mounted in it; its files go meanwhile, in a thread.

    Thousands of files of an unpacked image take a busy disk many seconds. What is left when the session ends
    goes with the session's directory.
    """
    unmount_below(directory)
    gone = directory.with_name(f"{directory.name}.gone")
    try:
        directory.rename(gone)
    except FileNotFoundError:
        return
    threading.Thread(target=_remove_files, args=(gone,), name=f"remove-{gone.name}", daemon=True).start()


def _remove_files(directory: Path) -> None:
    command = ["nice", "rm", "--recursive", "--force", "--one-file-system", str(directory)]
    subprocess.run(command, check=False)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _remove_directory(path: Path) -> None:
    try:
        path.rmdir()
    except OSError as error:
        if error.errno not in {errno.EBUSY, errno.ENOENT, errno.ENOTEMPTY}:
            raise
        time.sleep(0.001)  # The kernel offers no event for the end of an exiting task's membership in v1.
