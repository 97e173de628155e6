"""The release in a real cluster: its pods run as the chart says, and do what they are there for."""

import json
from typing import Any

import pytest

from tests.testbed.product import Installation

pytestmark = pytest.mark.slow
TIMEOUT = 150.0


async def pod_of(installed: Installation, component: str) -> dict[str, Any]:
    selector = f"app.kubernetes.io/component={component}"
    where = ("--namespace", installed.namespace, "--selector", selector)
    found = json.loads(await installed.cluster.api.kubectl("get", "pods", "--output=json", *where))["items"]
    assert found
    pod: dict[str, Any] = found[0]
    return pod


async def read(installed: Installation, component: str, path: str) -> str:
    """What the part answers, asked by way of the API server, as Prometheus would from within the cluster."""
    name = (await pod_of(installed, component))["metadata"]["name"]
    return await installed.cluster.api.kubectl(
        "get", "--raw", f"/api/v1/namespaces/{installed.namespace}/pods/{name}:10231/proxy{path}"
    )


async def test_helm_s_own_test_passes(installed: Installation) -> None:
    said = await installed.helm("test", "inplaced", "--namespace", installed.namespace, timeout=TIMEOUT)

    assert "Phase:          Succeeded" in said


@pytest.mark.parametrize(("component", "group"), [("agent", 0), ("controller", 65532)])
async def test_a_pod_is_not_root(installed: Installation, component: str, group: int) -> None:
    name = (await pod_of(installed, component))["metadata"]["name"]

    script = "import os; print(os.getuid(), os.getgid())"
    said = await installed.cluster.api.kubectl(
        "exec", name, "--namespace", installed.namespace, "--", "python3", "-c", script
    )

    assert said.split() == ["65532", str(group)]


async def test_the_agent_reaches_the_runtime_without_being_root(installed: Installation) -> None:
    said = await read(installed, "agent", "/readyz?verbose")

    assert "[+]runtime ok" in said


async def test_the_agent_is_ready_because_it_follows_its_node_and_the_pods_there(
    installed: Installation,
) -> None:
    said = await read(installed, "agent", "/readyz?verbose")

    assert said.splitlines() == ["[+]runtime ok", "[+]api ok", "[+]pods ok", "readyz check passed"]


async def test_the_agent_sees_the_room_for_images(installed: Installation) -> None:
    said = await read(installed, "agent", "/metrics")

    (line,) = [each for each in said.splitlines() if each.startswith("inplaced_image_filesystem_free_bytes ")]
    assert float(line.split()[1]) > 0


async def test_the_agent_s_pod_shows_its_node_in_a_terminal(installed: Installation) -> None:
    name = (await pod_of(installed, "agent"))["metadata"]["name"]

    said = await installed.cluster.api.kubectl(
        "exec", name, "--namespace", installed.namespace, "--", "inplaced", "status"
    )

    assert "Node:     node-1, ready" in said.splitlines()


async def test_one_controller_leads(installed: Installation) -> None:
    said = await read(installed, "controller", "/readyz?verbose")

    assert "[+]leader ok" in said


async def test_an_upgrade_that_changes_nothing_replaces_no_pod(installed: Installation) -> None:
    before = await pod_of(installed, "agent")

    await installed.install()

    after = await pod_of(installed, "agent")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
