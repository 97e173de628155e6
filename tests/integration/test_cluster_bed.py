"""The test bed's own cluster: a node that runs pods, and nothing of it that touches the machine."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.testbed import session
from tests.testbed.cluster import Cluster
from tests.testbed.cluster_fixtures import MakeCluster
from tests.testbed.kubelet import SYSCTLS
from tests.testbed.processes import Process, until
from tests.testbed.programs import kubernetes_minor
from tests.testbed.pushing import Image, ImageMaker

DEADLINE = 60.0
ASK = """
import json, os, ssl, urllib.request
account = "/var/run/secrets/kubernetes.io/serviceaccount"
host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
request = urllib.request.Request(
    f"https://{host}:{port}/apis/authentication.k8s.io/v1/selfsubjectreviews",
    data=json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).encode(),
    headers={
        "Authorization": "Bearer " + open(f"{account}/token").read(),
        "Content-Type": "application/json",
    },
)
context = ssl.create_default_context(cafile=f"{account}/ca.crt")
answer = json.load(urllib.request.urlopen(request, context=context, timeout=10))
print(answer["status"]["userInfo"]["username"])
"""


def pod(name: str, image: str, **fields: Any) -> dict[str, Any]:
    """A pod of one container."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "containers": [{"name": "app", "image": image, **fields}],
            "terminationGracePeriodSeconds": 0,
            "restartPolicy": "Never" if fields else "Always",
        },
    }


@pytest_asyncio.fixture
async def running_pod(
    cluster: Cluster, image_maker_in_cluster: ImageMaker, prefix: str
) -> AsyncIterator[str]:
    """The name of a pod that is ready."""
    image = await image_maker_in_cluster.make_runnable("app")
    await cluster.api.apply(pod(prefix, image.ref))
    await cluster.api.kubectl("wait", "--for=condition=Ready", f"pod/{prefix}", "--timeout=60s")
    yield prefix
    await cluster.api.kubectl("delete", "pod", prefix, "--grace-period=0", "--force")


@pytest.fixture
def image_maker_in_cluster(cluster: Cluster, prefix: str) -> ImageMaker:
    """Makes images in the registry of the cluster."""
    return ImageMaker(cluster.registry, prefix)


async def test_the_node_is_ready_in_the_chosen_version(cluster: Cluster) -> None:
    node = await cluster.api.get(f"/api/v1/nodes/{cluster.node}")

    conditions = {each["type"]: each["status"] for each in node["status"]["conditions"]}
    assert conditions["Ready"] == "True"
    assert node["status"]["nodeInfo"]["kubeletVersion"].startswith(f"v{kubernetes_minor()}.")
    assert node["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://1.6")


async def test_a_pod_runs_from_the_local_registry(cluster: Cluster, running_pod: str) -> None:
    said = await cluster.api.kubectl("exec", running_pod, "--", "echo", "hello from a container")

    assert said == "hello from a container\n"


async def test_a_pod_s_log_is_read(cluster: Cluster, image_maker_in_cluster: ImageMaker, prefix: str) -> None:
    image = await image_maker_in_cluster.make_runnable("talker", ["sh", "-c", "echo said; sleep 1000"])
    await cluster.api.apply(pod(prefix, image.ref))
    await cluster.api.kubectl("wait", "--for=condition=Ready", f"pod/{prefix}", "--timeout=60s")

    assert await cluster.api.kubectl("logs", prefix) == "said\n"


async def test_the_api_is_reached_from_a_pod_as_any_program_would(
    cluster: Cluster, product_image: Image, prefix: str
) -> None:
    await cluster.api.apply(pod(prefix, product_image.ref, command=["python3", "-c", ASK]))
    await cluster.api.kubectl(
        "wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{prefix}", "--timeout=60s"
    )

    assert await cluster.api.kubectl("logs", prefix) == "system:serviceaccount:default:default\n"


async def test_a_deployment_and_a_daemon_set_are_rolled_out(
    cluster: Cluster, image_maker_in_cluster: ImageMaker, prefix: str
) -> None:
    image = await image_maker_in_cluster.make_runnable("app")
    template = {"metadata": {"labels": {"app": prefix}}, "spec": pod(prefix, image.ref)["spec"]}
    spec = {"selector": {"matchLabels": {"app": prefix}}, "template": template}
    for kind in ("Deployment", "DaemonSet"):
        await cluster.api.apply(
            {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": prefix}, "spec": spec}
        )

    for kind in ("deployment", "daemonset"):
        said = await cluster.api.kubectl("rollout", "status", f"{kind}/{prefix}", "--timeout=60s")
        assert "successfully rolled out" in said
    await cluster.api.kubectl("delete", "deployment,daemonset", prefix)


async def test_pods_with_containerd_2_run_as_well(make_cluster: MakeCluster) -> None:
    other = await make_cluster("2.3")
    image = await other.images.make_runnable("app")
    await other.api.apply(pod("app", image.ref))

    await other.api.kubectl("wait", "--for=condition=Ready", "pod/app", "--timeout=60s")

    node = await other.api.get(f"/api/v1/nodes/{other.node}")
    assert node["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://2.3")


async def test_a_pod_survives_its_kubelet(make_cluster: MakeCluster) -> None:
    own = await make_cluster(kubelet_settings={"maxPods": 7})
    image = await own.images.make_runnable("app")
    await own.api.apply(pod("app", image.ref))
    await own.api.kubectl("wait", "--for=condition=Ready", "pod/app", "--timeout=60s")

    await own.kubelet.stop()
    own.kubelet.start()

    await own.api.kubectl("wait", "--for=condition=Ready", f"node/{own.node}", "--timeout=60s")
    found = await own.api.get("/api/v1/namespaces/default/pods/app")
    assert [status["restartCount"] for status in found["status"]["containerStatuses"]] == [0]
    assert (await own.api.get(f"/api/v1/nodes/{own.node}"))["status"]["allocatable"]["pods"] == "7"


class Machine:
    """What a cluster must leave as it was, seen past all that is mounted over it in these namespaces."""

    def __init__(self, proc: Path) -> None:
        self._proc = proc

    def state(self) -> Mapping[str, Any]:
        return {
            "sysctls": {name: (self._proc / "sys" / name).read_text() for name in SYSCTLS},
            "mounts": Path("/proc/self/mountinfo").read_text(),
            "interfaces": subprocess.check_output(["ip", "-brief", "address"], text=True),
            "logs": sorted(Path("/var/log").iterdir()),
            "modules": _names(self._proc / "modules"),
        }


def _names(path: Path) -> list[str]:
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    proc = tmp_path / "proc"
    proc.mkdir()
    subprocess.run(["mount", "-t", "proc", "proc", str(proc)], check=True)
    try:
        yield Machine(proc)
    finally:
        subprocess.run(["umount", str(proc)], check=True)


@dataclass(frozen=True, slots=True)
class Bed:
    """Namespaces inside of ours, with a cluster in them that tells in ``folder/ready`` that it is up."""

    process: Process
    folder: Path
    sessions: Path
    names: set[str] = field(default_factory=set)
    """Of the sessions that it had: their cgroups are named like that."""

    async def bring_up(self) -> None:
        self.process.start()

        async def ready() -> bool:
            if not self.process.running:
                raise self.process.failed("the cluster did not come up")
            return (self.folder / "ready").exists()

        await until(ready, timeout=DEADLINE, what="a cluster")
        self.names.update(path.name for path in self.sessions.iterdir())

    def left(self) -> list[str]:
        """Files and cgroups of sessions, and processes that were told of them."""
        files = [str(path) for path in self.sessions.iterdir()]
        files += [str(path) for name in self.names for path in session.cgroup_directories(f"/{name}")]
        return files + [line for line in session.processes().values() if str(self.sessions) in line]

    async def is_gone(self) -> bool:
        return not self.left()

    def runner(self) -> int:
        """The process that holds the cluster, where a test run would be."""
        (pid,) = [
            pid
            for pid, line in session.processes().items()
            if re.match(rf"\S+ -m tests.testbed.persistent {re.escape(str(self.folder))}", line)
        ]
        return pid


@pytest_asyncio.fixture
async def bed(testbed: session.Session) -> AsyncIterator[Bed]:
    folder, sessions = testbed.new_directory("e"), testbed.new_directory("e")
    outside = os.environ | dict.fromkeys((session.DIRECTORY_VARIABLE, session.CGROUP_VARIABLE), "")
    inside = [sys.executable, "-m", "tests.testbed.persistent", str(folder), "--bare"]
    command = [sys.executable, "-m", "tests.testbed.enter", "--", *inside]
    process = Process(command, folder / "log", outside | {"TMPDIR": str(sessions)})
    yield Bed(process, folder, sessions)
    await process.kill()


async def test_a_cluster_leaves_nothing_behind(bed: Bed, machine: Machine) -> None:
    before = machine.state()

    await bed.bring_up()
    while_up = machine.state()
    bed.process.send(signal.SIGTERM)

    assert await bed.process.ended(DEADLINE) == 0
    assert while_up == before
    assert bed.names
    assert machine.state() == before
    assert bed.left() == []


async def test_a_cluster_leaves_nothing_behind_when_all_outside_is_killed(bed: Bed, machine: Machine) -> None:
    before = machine.state()
    await bed.bring_up()

    bed.process.send(signal.SIGKILL)

    await until(bed.is_gone, timeout=DEADLINE, what="an empty machine")
    assert machine.state() == before


async def test_a_cluster_leaves_nothing_behind_when_what_runs_it_is_killed(
    bed: Bed, machine: Machine
) -> None:
    before = machine.state()
    await bed.bring_up()

    os.kill(bed.runner(), signal.SIGKILL)

    assert await bed.process.ended(DEADLINE) == 128 + signal.SIGKILL
    assert bed.left() == []
    assert machine.state() == before
