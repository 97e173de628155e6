"""Many pods restarted in place on a real kubelet, as ``kubectl inplaced`` asks for it."""

import asyncio
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from daemon import names
from tests.testbed.cluster import Cluster
from tests.testbed.counting import deployment, planned, restart_count
from tests.testbed.processes import until
from tests.testbed.restarting import Restarting, restarting

pytestmark = pytest.mark.asyncio(loop_scope="session")

RESTARTS = f"/apis/{names.OWN_API}/namespaces/default/workloadrestarts"
GATED = {"readinessProbe": {"exec": {"command": ["test", "-f", "/count/ready"]}, "periodSeconds": 1}}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def run(cluster: Cluster) -> AsyncIterator[Restarting]:
    """Agent and controller, with the rights of the chart."""
    async with restarting(cluster) as made:
        yield made


@dataclass(frozen=True, slots=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str


async def inplaced(run: Restarting, *words: str) -> Said:
    """The plugin, as a person without a terminal runs it."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("kubectl-inplaced")),
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"KUBECONFIG": str(run.api.kubeconfig)},
    )
    async with asyncio.timeout(90.0):
        out, err = await process.communicate()
    return Said(process.returncode or 0, out.decode(), err.decode())


async def deployed(run: Restarting, name: str, replicas: int) -> list[dict[str, Any]]:
    """The pods of a new Deployment, all of them running."""
    await run.deploy(name, replicas)
    return await run.labelled(name)


async def remove(run: Restarting, name: str) -> None:
    await run.api.kubectl("delete", "deployment", name)


async def spans(run: Restarting, pods: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """When each pod's container was asked to end, and when its successor ran: none of them twice."""

    async def counted() -> bool:  # a container is ready before it has run its first command
        return all(len(run.starts(pod)) > 1 for pod in pods)

    await until(counted, timeout=10.0, what="each pod to count a second start", pause=0.05)
    found = []
    for pod in pods:
        (ended,), (_, begun) = run.terms(pod), run.starts(pod)
        found.append((ended, begun.at))
    return sorted(found)


async def test_a_deployment_is_restarted_one_pod_at_a_time_and_its_pods_stay(
    run: Restarting, prefix: str
) -> None:
    before = await deployed(run, prefix, 3)

    said = await inplaced(run, "restart", f"deploy/{prefix}")
    after = await run.labelled(prefix)

    assert said.code == 0, said
    assert f"ok      deployment/{prefix}  3 of 3 pods restarted in" in said.out
    times = await spans(run, before)
    assert all(begun <= ended for (_, begun), (ended, _) in itertools.pairwise(times))
    assert {each["metadata"]["uid"] for each in after} == {each["metadata"]["uid"] for each in before}
    assert [(planned(each), restart_count(each)) for each in after] == [(1, 1)] * 3
    await remove(run, prefix)


async def test_several_go_at_the_same_time_when_that_is_allowed(run: Restarting, prefix: str) -> None:
    pods = await deployed(run, prefix, 3)

    said = await inplaced(run, "restart", "-l", f"app={prefix}", "--max-unavailable", "100%", "-o", "json")

    assert said.code == 0, said
    told = json.loads(said.out)
    assert (told["kind"], told["result"], told["restarted"]) == ("WorkloadRestart", "Succeeded", 3)
    times = await spans(run, pods)
    assert max(ended for ended, _ in times) < min(begun for _, begun in times)
    await remove(run, prefix)


async def test_nobody_follows_before_a_restarted_pod_is_ready(run: Restarting, prefix: str) -> None:
    await run.deploy(prefix, 2, container=GATED)
    pods = await run.labelled(prefix)
    for pod in pods:
        (run.directory(pod) / "ready").touch()
    await run.api.kubectl("wait", "--for=condition=Ready", "pod", "-l", f"app={prefix}", "--timeout=60s")
    for pod in pods:
        (run.directory(pod) / "ready").unlink()

    asked = await inplaced(run, "restart", f"deploy/{prefix}", "--no-wait")
    name = asked.out.split()[0].partition("/")[2]
    first = await _first_restarted(run, pods)
    (second,) = [pod for pod in pods if pod["metadata"]["uid"] != first["metadata"]["uid"]]
    await run.until(first["metadata"]["name"], lambda pod: restart_count(pod) == 1, "restarted")
    why = await inplaced(run, "why", f"pod/{first['metadata']['name']}")
    assert run.terms(second) == []
    assert "is not ready\n  container app runs and is not ready\n  containerrecreaterequest/" in why.out
    for pod in pods:
        (run.directory(pod) / "ready").touch()
    await run.api.kubectl("wait", "--for=condition=Ready", f"wr/{name}", "--timeout=60s")

    assert len(await spans(run, pods)) == 2
    await remove(run, prefix)


async def _first_restarted(run: Restarting, pods: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    async def begun() -> bool:
        return any(len(run.starts(pod)) == 2 for pod in pods)

    await until(begun, timeout=60.0, what="one pod to be restarted", pause=0.05)
    (found,) = [pod for pod in pods if len(run.starts(pod)) == 2]
    return found


async def test_a_controller_that_dies_in_between_restarts_nothing_twice(run: Restarting, prefix: str) -> None:
    pods = await deployed(run, prefix, 4)

    asked = await inplaced(run, "restart", f"deploy/{prefix}", "--no-wait")
    name = asked.out.split()[0].partition("/")[2]
    await _first_restarted(run, pods)
    await run.centre.process.kill()
    run.centre.process.start()
    await run.api.kubectl("wait", "--for=condition=Ready", f"wr/{name}", "--timeout=90s", timeout=100.0)

    assert len(await spans(run, pods)) == 4
    requests = await run.api.get(f"/apis/{names.KRUISE_API}/namespaces/default/containerrecreaterequests")
    owned = [each for each in requests["items"] if each["metadata"]["name"].startswith(f"{name}-")]
    assert len({each["spec"]["podName"] for each in owned}) == len(owned) == 4
    await remove(run, prefix)


async def test_one_pod_is_restarted_and_told_from_one_that_crashed(run: Restarting, prefix: str) -> None:
    """Two pods, as the kubelet would make a second restart of one wait."""
    asked, crashed = await deployed(run, prefix, 2)
    name, other = (each["metadata"]["name"] for each in (asked, crashed))

    said = await inplaced(run, "restart", name)
    await run.api.kubectl("exec", other, "--", "kill", "-TERM", "1")
    await run.until(other, lambda now: restart_count(now) == 1, "crashed")
    listed = await inplaced(run, "get", "pods", "-l", f"app={prefix}")

    assert said.code == 0, said
    assert f"ok      pod/{name}  1 of 1 containers restarted in" in said.out
    assert len(await spans(run, [asked])) == 1
    counts = {line.split()[0]: line.split()[3:5] for line in listed.out.splitlines()[1:]}
    assert counts == {name: ["1", "0"], other: ["1", "1"]}
    await remove(run, prefix)


async def test_pods_of_a_clone_set_are_restarted_and_keep_their_revision(
    run: Restarting, prefix: str
) -> None:
    body = deployment(prefix, run.image.ref, 2)
    clone_set = {**body, "apiVersion": names.KRUISE_API, "kind": "CloneSet"}
    await run.api.request("POST", f"/apis/{names.KRUISE_API}/namespaces/default/clonesets", clone_set)
    await run.api.kubectl(
        "wait", "--for=jsonpath={.status.readyReplicas}=2", f"cloneset/{prefix}", "--timeout=60s"
    )
    before = await run.labelled(prefix)

    said = await inplaced(run, "restart", f"cloneset/{prefix}", "--max-unavailable", "100%")
    after = await run.labelled(prefix)

    assert said.code == 0, said
    assert len(await spans(run, before)) == 2
    assert {_identity(each) for each in after} == {_identity(each) for each in before}
    await run.api.kubectl("delete", "cloneset", prefix)


def _identity(pod: Mapping[str, Any]) -> tuple[str, str]:
    return pod["metadata"]["uid"], pod["metadata"]["labels"]["controller-revision-hash"]


async def test_what_cannot_be_restarted_is_told_at_once(run: Restarting, prefix: str) -> None:
    said = await inplaced(run, "restart", f"deploy/{prefix}")

    assert said.code == 1
    assert f"spec.workloadRef: there is no deployment/{prefix} in namespace default" in said.out
