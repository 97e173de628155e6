"""Runs a command under the rules of a systemd unit, where no systemd runs: as far as a process can set them.

    python -m tests.testbed.confined UNIT [--writable DIRECTORY]… -- COMMAND [ARGUMENT]…

What the unit says is read, never repeated here: ProtectSystem=strict (all mounts read-only but the writable
ones), ProcSubset= and ProtectProc=, CapabilityBoundingSet=, NoNewPrivileges=, SystemCallFilter=,
RestrictAddressFamilies=, RestrictNamespaces=, MemoryDenyWriteExecute=, UMask=. Left out: ProtectHome= and
PrivateTmp= (the checkout and its directories lie there), PrivateDevices=, limits. Needs root. Standard
library and libseccomp, on which systemd stands too.
"""

import argparse
import ctypes
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

_ANSWER, _ALLOW = 0x00050000, 0x7FFF0000
_EQUAL, _MASKED_EQUAL, _GREATER = 4, 7, 6
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_CAPABILITIES = 64
"""More than any kernel has: those that it lacks are EINVAL."""
_LAST_FAMILY = 64
_NAMESPACES = (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
"""The CLONE_NEW… flags."""
_WRITE_AND_EXECUTE, _EXECUTE = 0x2 | 0x4, 0x4


class _Argument(ctypes.Structure):
    _fields_ = (
        ("number", ctypes.c_uint),
        ("comparison", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("other", ctypes.c_uint64),
    )


def read_unit(text: str) -> dict[str, list[str]]:
    """Every setting of the unit with all its values."""
    settings: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            settings.setdefault(name, []).append(value)
    return settings


def system_calls(name: str) -> frozenset[str]:
    """The calls of a set, the sets in it included; a name that is no set is itself."""
    if not name.startswith("@"):
        return frozenset({name})
    shown = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True
    )
    members = [line.strip() for line in shown.stdout.splitlines()[1:] if line.strip()]
    return frozenset().union(*(system_calls(item) for item in members if not item.startswith("#")))


def allowed_calls(filters: Iterable[str]) -> frozenset[str]:
    """What is left when the filters of a unit have been applied in their order."""
    allowed: frozenset[str] = system_calls("@default")
    for line in filters:
        named = frozenset().union(*(system_calls(name) for name in line.removeprefix("~").split()))
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed


class Filter:
    """One seccomp filter."""

    def __init__(self, default: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(default)))

    def add(self, action: int, call: str, *arguments: tuple[int, int, int, int]) -> None:
        """Have *call* answered with *action* where all arguments compare so."""
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:
            return  # a call of another machine
        array = (_Argument * len(arguments))(*(_Argument(*each) for each in arguments))
        self._check(
            self._library.seccomp_rule_add_array(
                self._context, ctypes.c_uint32(action), number, len(arguments), array
            )
        )

    def load(self) -> None:
        """From now on it holds, for all that is executed too."""
        self._check(self._library.seccomp_load(self._context))

    def _check(self, result: int) -> None:
        if result < 0:
            raise OSError(-result, os.strerror(-result))


def confine(unit: Mapping[str, Sequence[str]], writable: Sequence[Path]) -> None:
    """Put this process under the rules of *unit*. Call it in a mount namespace of its own."""
    # All that is asked of other programs is asked before anything is forbidden.
    calls = allowed_calls(unit["SystemCallFilter"])
    _protect_files(writable)
    if "pid" in unit["ProcSubset"]:
        subprocess.run(["mount", "-t", "proc", "-o", "hidepid=2,subset=pid", "proc", "/proc"], check=True)
    os.umask(int(unit["UMask"][-1], 8))
    if unit["CapabilityBoundingSet"] == [""]:
        for number in range(_CAPABILITIES):
            _prctl(_PR_CAPBSET_DROP, number)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    for each in (*_restrictions(unit), _calls(calls)):
        each.load()


def _protect_files(writable: Sequence[Path]) -> None:
    for directory in writable:
        subprocess.run(["mount", "--bind", directory, directory], check=True)
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in dict.fromkeys(points):
        if not any(Path(point).is_relative_to(path) for path in (*writable, Path("/proc"), Path("/dev"))):
            subprocess.run(["mount", "-o", "remount,bind,ro", point], check=True)


def _restrictions(unit: Mapping[str, Sequence[str]]) -> Iterable[Filter]:
    refuse = _ANSWER | errno.EPERM
    families = {int(getattr(socket, name)) for name in unit["RestrictAddressFamilies"][-1].split()}
    made = Filter(_ALLOW)
    for family in set(range(_LAST_FAMILY)) - families:
        made.add(_ANSWER | errno.EAFNOSUPPORT, "socket", (0, _EQUAL, family, 0))
    made.add(_ANSWER | errno.EAFNOSUPPORT, "socket", (0, _GREATER, _LAST_FAMILY - 1, 0))
    if unit["RestrictNamespaces"] == ["yes"]:
        for flag in _NAMESPACES:
            made.add(refuse, "clone", (0, _MASKED_EQUAL, flag, flag))
            made.add(refuse, "unshare", (0, _MASKED_EQUAL, flag, flag))
        made.add(refuse, "setns")
        made.add(_ANSWER | errno.ENOSYS, "clone3")  # its flags cannot be seen; everybody falls back to clone
    if unit["MemoryDenyWriteExecute"] == ["yes"]:
        made.add(refuse, "mmap", (2, _MASKED_EQUAL, _WRITE_AND_EXECUTE, _WRITE_AND_EXECUTE))
        for call in ("mprotect", "pkey_mprotect"):
            made.add(refuse, call, (2, _MASKED_EQUAL, _EXECUTE, _EXECUTE))
    yield made


def _calls(allowed: Iterable[str]) -> Filter:
    made = Filter(_ANSWER | errno.EPERM)
    for call in allowed:
        made.add(_ALLOW, call)
    return made


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0 and ctypes.get_errno() != errno.EINVAL:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def command_for(unit: Path, writable: Sequence[Path], command: Sequence[str]) -> list[str]:
    """The command that runs *command* under the rules of *unit*."""
    flags = [word for path in writable for word in ("--writable", str(path))]
    inside = [sys.executable, "-m", "tests.testbed.confined", str(unit), *flags, "--", *command]
    return ["unshare", "--mount", "--propagation=private", *inside]


def main(arguments: Sequence[str]) -> None:
    """Confine this process and become the command."""
    parser = argparse.ArgumentParser(prog="confined")
    parser.add_argument("unit", type=Path)
    parser.add_argument("--writable", type=Path, action="append", default=[])
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    confine(read_unit(options.unit.read_text(encoding="utf-8")), options.writable)
    os.execvp(options.command[0], options.command)


if __name__ == "__main__":
    main(sys.argv[1:])
