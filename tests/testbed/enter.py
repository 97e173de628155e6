"""Runs a command inside network, mount and PID namespaces of its own, and leaves no trace on the machine.

    python -m tests.testbed.enter [--publish PORT[=ADDRESS:PORT]]… -- COMMAND [ARGUMENT]…

Everything that the command starts dies with it. ``--publish`` makes an address of the inside, by default the
same port of its loopback, reachable at a port of the machine's loopback, and nothing else is. Needs root.
Standard library only.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from tests.testbed import session

NAMESPACES = (
    "unshare",
    "--net",
    "--mount",
    "--propagation=private",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
)


def enter(command: Sequence[str], published: Mapping[int, str] | None = None) -> int:
    """Run *command* inside and return its exit status (128 + number when a signal ended it).

    *published* are ports of the machine's loopback, with the host:port inside that each leads to.
    """
    if os.geteuid() != 0:
        raise session.TestbedError("namespaces, overlay mounts and cgroups need root: run this as root")
    if os.environ.get(session.DIRECTORY_VARIABLE):  # Already inside.
        return subprocess.call(command)
    directory = Path(tempfile.mkdtemp(prefix="inplaced-", dir=os.environ.get("TMPDIR", "/tmp")))
    cgroup = f"/{directory.name}"
    try:
        return _run(command, published or {}, directory, cgroup)
    finally:
        session.remove_cgroup(cgroup)
        session.remove_tree(directory)


def _run(command: Sequence[str], published: Mapping[int, str], directory: Path, cgroup: str) -> int:
    environ = os.environ | {
        session.DIRECTORY_VARIABLE: str(directory),
        session.CGROUP_VARIABLE: cgroup,
        "TMPDIR": str(directory),
    }
    with ExitStack() as stack:
        # A socket stays in the network namespace it was made in: these listen outside and are served inside.
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", port))) for port in published]
        control, ours = socket.socketpair()
        stack.enter_context(ours)
        with control:
            descriptors = [control.fileno(), *(listener.fileno() for listener in listeners)]
            told = [f"{listener.fileno()}={published[_port(listener)]}" for listener in listeners]
            arguments = ",".join([str(control.fileno()), *told])
            inside = [sys.executable, "-m", "tests.testbed.inside", arguments, *command]
            process = subprocess.Popen([*NAMESPACES, *inside], env=environ, pass_fds=descriptors)
        _pass_signals_on(ours)
        return process.wait()


def _port(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def _publication(text: str) -> tuple[int, str]:
    port, _, target = text.partition("=")
    return int(port), target or f"127.0.0.1:{port}"


def _pass_signals_on(control: socket.socket) -> None:
    def send(number: int, _frame: FrameType | None) -> None:
        control.send(bytes([number]))

    # Ctrl-C at a terminal reaches the command by itself, being in the same process group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, send)


def main(arguments: Sequence[str]) -> int:
    """Parse the command line and enter."""
    parser = argparse.ArgumentParser(
        prog="enter", description="Run a command inside the test bed's namespaces."
    )
    parser.add_argument(
        "--publish", type=_publication, action="append", default=[], metavar="PORT[=ADDRESS:PORT]"
    )
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    try:
        return enter(options.command, dict(options.publish))
    except session.TestbedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
