"""Requests of OpenKruise: its own definition of the kind, its webhook and manager, and our agent.

The definition is ours without what OpenKruise does not have. What its webhook and its manager write is
written here; the agent must need nothing else.
"""

import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from daemon import names
from tests.charts.rendering import the
from tests.testbed.api import Api, RefusedError
from tests.testbed.cluster_fixtures import MakeCluster
from tests.testbed.processes import until
from tests.testbed.restarting import Restarting, restarting

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PLURAL = "containerrecreaterequests"
REQUESTS = f"/apis/{names.KRUISE_API}/namespaces/default/{PLURAL}"
OURS = ("podUID", "nodeName", "observedGeneration")


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


def definition_of_openkruise() -> dict[str, Any]:
    """The kind without rules, selectable fields, and fields of our own."""
    definition: dict[str, Any] = copy.deepcopy(
        dict(the("CustomResourceDefinition", f"{PLURAL}.{names.KRUISE_GROUP}"))
    )
    for version in definition["spec"]["versions"]:
        del version["selectableFields"]
        root = version["schema"]["openAPIV3Schema"]["properties"]
        _without_rules(root)
        status = root["status"]["properties"]
        for field in OURS:
            del status[field]
        del status["containerRecreateStates"]["items"]["properties"]["containerID"]
        status["containerRecreateStates"]["items"]["required"] = ["name", "phase"]
        root["status"]["required"] = ["phase"]
    return definition


def _without_rules(part: Any) -> None:
    if isinstance(part, dict):
        part.pop("x-kubernetes-validations", None)
        for each in part.values():
            _without_rules(each)


async def labels_alone(api: Api) -> bool:
    """Whether the API server has taken the definition: it selects by our field no more."""
    try:
        await api.get(f"{REQUESTS}?fieldSelector=status.nodeName=a")
    except RefusedError as error:
        return "field label not supported" in error.message
    return False


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
    await ask(run, pod, "third", forceRecreate=True)
    forced = (await completed(run, "third"))["status"]

    states = [each["containerRecreateStates"][0] for each in (told, late, forced)]
    assert [each["phase"] for each in states] == ["Succeeded"] * 3
    assert [each.get("isKilled", False) for each in states] == [True, False, True]
    assert len(run.terms(pod)) == 2
    assert not {*OURS} & told.keys()


def _is_ready(pod: dict[str, Any]) -> bool:
    return any(each["ready"] for each in pod["status"].get("containerStatuses", ()))
