"""The cluster of `make cluster`, inside the namespaces: it runs until a signal ends it.

    python -m tests.testbed.persistent FOLDER [PORT] [--bare]

FOLDER gets what a person needs: ``kubeconfig`` for the API at the machine's loopback PORT, programs in
``bin``, and the file ``ready`` at the end. ``--bare`` leaves the project out.
"""

import argparse
import asyncio
import dataclasses
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.testbed.cluster import Cluster
from tests.testbed.images import random_layer
from tests.testbed.product import Installation, push_product
from tests.testbed.programs import helm_binary, kubernetes_binaries
from tests.testbed.pushing import Image, ImageMaker
from tests.testbed.session import TestbedError, current_session
from tests.testbed.toolchain import say

SHARED = (120_000_000, 60_000_000)
"""Bytes of the layers that both versions of the example have."""
PROGRAM = 30_000_000
"""Bytes of the one that differs."""


async def run(folder: Path, port: int, *, bare: bool) -> None:
    """Bring a cluster up, say so in *folder*, and wait for a signal."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    session = current_session()
    (folder / "session").write_text(f"{session.directory}\n")
    cluster = Cluster(session.new_directory("k"))
    starting = asyncio.create_task(_start(cluster, folder, port, bare=bare))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            await starting
        await stopped
    finally:
        for task in (starting, stopped):
            task.cancel()
        await asyncio.gather(starting, stopped, return_exceptions=True)
        await cluster.stop()


async def _start(cluster: Cluster, folder: Path, port: int, *, bare: bool) -> None:
    say(f"starting a cluster in {cluster.directory} …")
    say(f"Kubernetes is up after {await cluster.start():.1f} s")
    if not bare:
        say("installing the project …")
        release = Installation(cluster, await push_product(cluster))
        await release.install()
        say(f"installed {release.image.ref}, {release.image.size / 1e6:.0f} MB")
    await _furnish(cluster, folder, port)
    (folder / "ready").touch()


async def _furnish(cluster: Cluster, folder: Path, port: int) -> None:
    if port:
        path = folder / "kubeconfig"
        dataclasses.replace(cluster.api, url=f"https://127.0.0.1:{port}", kubeconfig=path).write_kubeconfig()
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    plugin = Path(sys.executable).with_name("kubectl-inplaced")
    for program in (kubernetes_binaries() / "kubectl", helm_binary(), plugin):
        (programs / program.name).symlink_to(program)
    image = await _examples(ImageMaker(cluster.registry, "example"))
    job = {
        "apiVersion": "apps.kruise.io/v1beta1",
        "kind": "ImagePullJob",
        "metadata": {"name": "web"},
        "spec": {"image": image.ref, "completionPolicy": {"type": "Always", "ttlSecondsAfterFinished": 3600}},
    }
    (folder / "example.yaml").write_text(yaml.safe_dump(job, sort_keys=False))


async def _examples(maker: ImageMaker) -> Image:
    """Two versions of an image, the first of which is returned, and one that pods can run."""
    await maker.make_runnable("busybox")
    layers = [random_layer(f"example {number}", size) for number, size in enumerate(SHARED)]
    first, _ = [
        await maker.make("web", [*layers, random_layer(f"web {tag}", PROGRAM)], tags=[tag])
        for tag in ("v1", "v2")
    ]
    return first


def main(arguments: Sequence[str]) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="persistent", description="A cluster until a signal ends it.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int, nargs="?", default=0)
    parser.add_argument("--bare", action="store_true")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(run(options.folder, options.port, bare=options.bare))
    except TestbedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
