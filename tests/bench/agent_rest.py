"""What the agent of a cluster costs at rest: memory and what it is made of, processor time, API requests.

python -m tests.testbed.enter -- .venv/bin/python -m tests.bench.agent_rest
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.bench.processes import effort_of, memory_of
from tests.charts.fixtures import install, with_kinds
from tests.testbed.accounts import as_pod_on
from tests.testbed.api import Api
from tests.testbed.containerd import Containerd
from tests.testbed.control_plane import ControlPlane
from tests.testbed.pod_agent import PodAgent
from tests.testbed.session import current_session

NAMESPACE = "inplaced"
NODE = "node-7"


def node_image(name: str, images: int) -> dict[str, object]:
    """A NodeImage that wants what no registry has: requests that have ended weigh as much as any."""
    tags = [
        {
            "tag": f"v{number}",
            "createdAt": "2026-05-01T12:00:00Z",
            "version": 0,
            "pullPolicy": {"timeoutSeconds": 5, "backoffLimit": 0, "ttlSecondsAfterFinished": 3600},
            "imagePullPolicy": "IfNotPresent",
        }
        for number in range(images)
    ]
    return {
        "apiVersion": "apps.kruise.io/v1beta1",
        "kind": "NodeImage",
        "metadata": {"name": name},
        "spec": {"images": {"localhost:1/app": {"tags": tags}} if images else {}},
    }


async def add_pods(api: Api, count: int) -> None:
    """Put pods on the node, as a kubelet would tell of them."""
    account = {"metadata": {"name": "default"}}
    await api.request("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    for number in range(count):
        name = f"idle-{number}"
        container = {"name": "app", "image": "registry.example.com/app:v1"}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": "idle", "pod-template-hash": "6d9f"}},
            "spec": {"containers": [container], "nodeName": NODE},
        }
        await api.request("POST", "/api/v1/namespaces/default/pods", pod)
        state = {"running": {"startedAt": "2026-05-01T12:00:00Z"}}
        told = {
            "name": "app",
            "image": container["image"],
            "imageID": f"sha256:{number:064}",
            "containerID": f"containerd://{number:064}",
            "ready": True,
            "restartCount": 0,
            "state": state,
        }
        status = {"phase": "Running", "containerStatuses": [told]}
        await api.request("PATCH", f"/api/v1/namespaces/default/pods/{name}/status", {"status": status})


def biggest(pid: int, count: int = 15) -> list[tuple[str, int, int]]:
    """The mappings with the most private dirty memory: name, private dirty and resident KiB."""
    dirty: Counter[str] = Counter()
    resident: Counter[str] = Counter()
    name = ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            name = Path(words[5]).name if len(words) > 5 else "[anonymous]"
        elif words[0] == "Private_Dirty:":
            dirty[name] += int(words[1])
        elif words[0] == "Rss:":
            resident[name] += int(words[1])
    return [(each, size, resident[each]) for each, size in dirty.most_common(count)]


async def prepare(plane: ControlPlane) -> Api:
    """Start the API server with the release in it; the answer is access as an agent's pod."""
    await plane.start()
    await with_kinds(plane.api)
    await install(plane.api, NAMESPACE)
    return await as_pod_on(plane.api, NAMESPACE, "inplaced-agent", NODE)


async def measure(seconds: float, images: int, pods: int, python: str) -> dict[str, object]:
    """Watch one agent doing nothing."""
    session = current_session()
    plane = ControlPlane(session.new_directory("k"))
    containerd = Containerd("1.6", session.new_directory("c"), "")
    try:
        api = await prepare(plane)
        await containerd.start()
        await plane.api.request("POST", "/apis/apps.kruise.io/v1beta1/nodeimages", node_image(NODE, images))
        await add_pods(plane.api, pods)
        agent = PodAgent(
            session.new_directory("a"),
            [containerd.socket],
            session.certificates,
            api=api,
            node=NODE,
            python=python,
        )
        try:
            await agent.start()
            await agent.until(
                lambda view: (
                    view.ready and len(view.pulls) == images and all(p.completed_at for p in view.pulls)
                ),
                "settled",
            )
            await asyncio.sleep(5)
            before, begun = effort_of(agent.pid), time.monotonic()
            await asyncio.sleep(seconds)
            after, took = effort_of(agent.pid), time.monotonic() - begun
            memory = memory_of(agent.pid)
            requests = [
                line for line in (await agent.get("/metrics")).decode().splitlines() if "api_requests" in line
            ]
            return {
                "rss_mib": round(memory.rss, 1),
                "pss_mib": round(memory.pss, 1),
                "private_mib": round(memory.private, 1),
                "private_dirty_mib": round(memory.dirty, 1),
                "cpu_percent": round(100 * (after.cpu_seconds - before.cpu_seconds) / took, 3),
                "wake_ups_per_second": round((after.wake_ups - before.wake_ups) / took, 2),
                "threads": after.threads,
                "biggest": biggest(agent.pid),
                "requests": requests,
                "log": agent.log[-6000:],
            }
        finally:
            await agent.stop()
    finally:
        await containerd.stop()
        await plane.stop()


def main(arguments: Sequence[str]) -> int:
    """Measure and print as JSON."""
    parser = argparse.ArgumentParser(prog="agent_rest", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument(
        "--images", type=int, default=0, help="requests that the node's object holds, all ended"
    )
    parser.add_argument("--pods", type=int, default=50, help="on the node")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the agent")
    options = parser.parse_args(arguments)
    print(
        json.dumps(
            asyncio.run(measure(options.seconds, options.images, options.pods, options.python)), indent=1
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
