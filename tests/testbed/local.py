"""`make cluster` and `make cluster-down`: a cluster with the project in it, for a person to try things on.

    python -m tests.testbed.local up|down

Everything of it lives in the test bed's namespaces and goes with them, but for a folder in the cache that
says where it is. Needs root.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.testbed.processes import free_port
from tests.testbed.session import TestbedError, remove_cgroup, remove_tree
from tests.testbed.toolchain import cache_directory

START_DEADLINE: Final = 300.0
STOP_DEADLINE: Final = 60.0
PAUSE: Final = 0.1
READY: Final = "ready"
"""Name of a file that is there when all is."""
API: Final = "10.96.1.1:443"
REGISTRY: Final = "10.244.1.1:5000"
"""Addresses of the first cluster of a session."""


@dataclass(frozen=True, slots=True)
class Running:
    """A cluster that was started here, whether it still runs or not."""

    pid: int
    """Of the process outside of the namespaces."""
    began: int
    """When that process did, in clock ticks since the boot: process ids come again, with other beginnings."""
    api_port: int
    registry_port: int

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return _began(self.pid) == self.began


def state() -> Path:
    """Where it is noted what runs, and where a person finds all that is needed."""
    return cache_directory() / "cluster"


def up() -> int:
    """Start a cluster in the background, unless one runs, and say how it is used."""
    running = _running()
    if running is not None and running.alive and (state() / READY).exists():
        print(f"The cluster runs already; `make cluster-down` ends it.\n\n{usage(running)}")
        return 0
    down()
    started = _start()
    try:
        _follow(started)
    except BaseException:
        down()
        raise
    print(usage(started))
    return 0


def down() -> int:
    """End the cluster, and remove what a crash may have left of one."""
    running = _running()
    if running is not None and running.alive:
        _end(running.pid)
    for session in _sessions():
        remove_cgroup(f"/{session.name}")
        remove_tree(session)
    shutil.rmtree(state(), ignore_errors=True)
    return 0


def usage(running: Running) -> str:
    """What a person does next."""
    return f"""\
export KUBECONFIG={state()}/kubeconfig PATH={state()}/bin:$PATH

kubectl get nodes,pods --all-namespaces
kubectl apply -f {state()}/example.yaml   # an ImagePullJob
kubectl wait --for=condition=Ready imagepulljob/web
kubectl get imagepulljobs,nodeimages -o wide
kubectl inplaced pull {REGISTRY}/example/web:v2   # another one, with bars
kubectl inplaced why node/node-1
kubectl -n inplaced port-forward ds/inplaced-agent 10231   # http://localhost:10231 shows the node live
helm -n inplaced test inplaced

Images: {REGISTRY}/example/busybox:v1 can be run in pods. What is pushed to
        localhost:{running.registry_port}/NAME:TAG, in plain HTTP, is {REGISTRY}/NAME:TAG there.
Logs:   {state()}/log and the folders that it names.
`make cluster-down` ends it all."""


def _start() -> Running:
    state().mkdir(parents=True)
    ports = free_port(), free_port()
    published = [f"--publish={port}={inside}" for port, inside in zip(ports, (API, REGISTRY), strict=True)]
    inside = [sys.executable, "-m", "tests.testbed.persistent", str(state()), str(ports[0])]
    command = [sys.executable, "-m", "tests.testbed.enter", *published, "--", *inside]
    with (state() / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    running = Running(process.pid, _began(process.pid), *ports)
    (state() / "running.json").write_text(json.dumps(asdict(running)))
    return running


def _follow(running: Running) -> None:
    """Show what it says until it is ready. Raises TestbedError when it ends before."""
    deadline = time.monotonic() + START_DEADLINE
    with (state() / "log").open() as log:
        while not (state() / READY).exists():
            sys.stderr.write(log.read())
            if not running.alive or time.monotonic() > deadline:
                raise TestbedError(f"the cluster did not come up{log.read()}")
            time.sleep(PAUSE)
        sys.stderr.write(log.read())


def _end(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(descriptor, number)
            if asyncio.run(_ended(descriptor)):
                return
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


async def _ended(descriptor: int) -> bool:
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, gone.set)
    with suppress(TimeoutError):
        await asyncio.wait_for(gone.wait(), STOP_DEADLINE)
    return gone.is_set()


def _running() -> Running | None:
    try:
        return Running(**json.loads((state() / "running.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _sessions() -> list[Path]:
    """Directories of sessions that were this cluster's."""
    try:
        return [Path(line) for line in (state() / "session").read_text().split()]
    except OSError:
        return []


def _began(pid: int) -> int:
    """Field 22 of proc(5)'s stat; 0 when there is no such process, or only its zombie."""
    try:
        fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])


def main(arguments: Sequence[str]) -> int:
    """Parse the command line and do it."""
    parser = argparse.ArgumentParser(prog="local", description="A cluster to try things on.")
    parser.add_argument("verb", choices=("up", "down"))
    try:
        return up() if parser.parse_args(arguments).verb == "up" else down()
    except TestbedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
