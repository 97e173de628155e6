"""Requests of OpenKruise: its own definition of the kind, its webhook and manager, and our agent.

The definition is ours without what OpenKruise does not have. What its webhook and its manager write is
written here; the agent must need nothing else.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from daemon import names
from tests.testbed.cluster_fixtures import MakeCluster
from tests.testbed.openkruise_requests import OURS, REQUESTS, definition_of_openkruise, labels_alone
from tests.testbed.processes import until
from tests.testbed.restarting import Restarting, restarting

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest_asyncio.fixture
async def run(make_cluster: MakeCluster) -> AsyncIterator[Restarting]:
    """An agent in a cluster whose kinds are OpenKruise's, without a controller of ours."""
    cluster = await make_cluster()
    async with restarting(cluster) as made:
        await made.centre.process.kill()
        await made.agent.kill()
        await made.api.apply(definition_of_openkruise())
        await until(lambda: labels_alone(made.api), timeout=30.0, what="its definition", pause=0.05)
        await made.agent.start()
        yield made


async def ask(run: Restarting, pod: dict[str, Any], name: str, **strategy: Any) -> None:
    """Post a request as the webhook leaves it."""
    (status,) = pod["status"]["containerStatuses"]
    context = {"containerID": status["containerID"], "restartCount": status["restartCount"]}
    labels = {
        names.RECREATE_POD_LABEL: pod["metadata"]["uid"],
        names.RECREATE_NODE_LABEL: run.cluster.node,
        names.RECREATE_ACTIVE_LABEL: "true",
    }
    strategy = {"failurePolicy": "Fail", "terminationGracePeriodSeconds": 5, **strategy}
    body = {
        "apiVersion": names.KRUISE_API,
        "kind": "ContainerRecreateRequest",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "podName": pod["metadata"]["name"],
            "containers": [{"name": "app", "statusContext": context}],
            "strategy": strategy,
        },
    }
    await run.api.request("POST", REQUESTS, body)


async def completed(run: Restarting, name: str) -> dict[str, Any]:
    """The request at its end."""
    found: dict[str, Any] = {}

    async def is_so() -> bool:
        found.update(await run.api.get(f"{REQUESTS}/{name}"))
        return bool(found.get("status", {}).get("phase") == "Completed")

    await until(is_so, timeout=60.0, what=f"{name} to end; {run.agent.log[-2000:]}", pause=0.02)
    return found


async def test_the_agent_serves_them_by_force_or_not(run: Restarting) -> None:
    await run.create("web")
    pod = await run.until("web", _is_ready, "ready")

    await ask(run, pod, "first")
    told = (await completed(run, "first"))["status"]
    await ask(run, pod, "second")  # its container was started anew by then
    late = (await completed(run, "second"))["status"]

    async def counted() -> bool:  # before its first command it ends without a word
        return len(run.starts(pod)) == 2

    await until(counted, timeout=10.0, what="the successor to count its start", pause=0.05)
    await ask(run, pod, "third", forceRecreate=True)
    forced = (await completed(run, "third"))["status"]

    states = [each["containerRecreateStates"][0] for each in (told, late, forced)]
    assert [each["phase"] for each in states] == ["Succeeded"] * 3
    assert [each.get("isKilled", False) for each in states] == [True, False, True]
    assert len(run.terms(pod)) == 2
    assert not {*OURS} & told.keys()


def _is_ready(pod: dict[str, Any]) -> bool:
    return any(each["ready"] for each in pod["status"].get("containerStatuses", ()))
