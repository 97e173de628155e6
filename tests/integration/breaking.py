"""Ways to break an installed release, or the cluster that it is in."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from tests.testbed.api import Api, RefusedError
from tests.testbed.processes import until
from tests.testbed.product import Installation

FAKETIME: Final = Path("/opt/faketime")
"""Where the skewed agent finds the library that lies to it about the time."""


async def pod_of(release: Installation, component: str) -> dict[str, Any]:
    """One pod of the agent or the controller, by chance."""
    path = f"/api/v1/namespaces/{release.namespace}/pods"
    pods = await release.cluster.api.get(f"{path}?labelSelector=app.kubernetes.io/component={component}")
    chosen: dict[str, Any] = random.choice(pods["items"])
    return chosen


async def kill(release: Installation, pod: Mapping[str, Any]) -> None:
    """End the main process of *pod*, as the kernel does when memory is short."""
    identifier = container_of(pod)
    tasks = (await release.cluster.containerd.ctr("tasks", "ls")).splitlines()
    (pid,) = [int(line.split()[1]) for line in tasks if line.startswith(identifier)]
    os.kill(pid, signal.SIGKILL)


def container_of(pod: Mapping[str, Any]) -> str:
    """Which container is, or was last, the pod's only one."""
    return str(pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://"))


async def kill_and_await(release: Installation, *components: str) -> None:
    """Kill a pod of each, and return when their successors are ready."""
    killed = [await pod_of(release, component) for component in components]
    for pod in killed:
        await kill(release, pod)
    for pod in killed:
        path = f"/api/v1/namespaces/{release.namespace}/pods/{pod['metadata']['name']}"

        async def is_back(path: str = path, dead: str = container_of(pod)) -> bool:
            now = await release.cluster.api.get(path)
            return container_of(now) != dead and bool(now["status"]["containerStatuses"][0]["ready"])

        await until(is_back, timeout=60.0, what=f"the successor of {pod['metadata']['name']}", pause=0.1)


@asynccontextmanager
async def cut_off_every_second(release: Installation) -> AsyncIterator[list[int]]:
    """Break all connections of pods to the API server, watches and all, again and again; counts them."""
    cut: list[int] = []

    async def work() -> None:
        while True:
            cut.append(await asyncio.to_thread(release.cluster.addresses.cut_pods_off))
            await asyncio.sleep(1.0)

    task = asyncio.create_task(work())
    try:
        yield cut
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def skewed(offset: str) -> dict[str, Any]:
    """Values of a release whose agents live *offset* from the right time."""
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    lies = {
        "LD_PRELOAD": str(FAKETIME / library.name),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    return {
        "agent": {
            "extraEnv": [{"name": name, "value": value} for name, value in lies.items()],
            "extraVolumes": [{"name": "faketime", "hostPath": {"path": str(library.parent)}}],
            "extraVolumeMounts": [{"name": "faketime", "mountPath": str(FAKETIME), "readOnly": True}],
        }
    }


async def is_gone(api: Api, path: str) -> bool:
    """Whether there is no such object any more."""
    try:
        await api.get(path)
    except RefusedError as error:
        return error.status == 404
    return False
