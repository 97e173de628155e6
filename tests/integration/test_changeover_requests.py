"""A ContainerRecreateRequest that OpenKruise's webhook and manager have left half-way, on a real kubelet."""

from typing import Any

import pytest

from daemon import names
from tests.testbed.counting import restart_count
from tests.testbed.go_documents import go_time
from tests.testbed.openkruise_requests import (
    REQUESTS,
    definition_of_openkruise,
    definition_of_ours,
    labels_alone,
)
from tests.testbed.processes import until
from tests.testbed.restarting import Restarting
from tests.testbed.sets import condition

pytestmark = pytest.mark.asyncio(loop_scope="session")

GATE = {"conditionType": names.KRUISE_POD_READY}


def of_webhook_and_manager(pod: dict[str, Any], name: str) -> dict[str, Any]:
    """The request once its pod is out of traffic."""
    (status,) = pod["status"]["containerStatuses"]
    context = {"containerID": status["containerID"], "restartCount": status["restartCount"]}
    return {
        "apiVersion": names.KRUISE_API,
        "kind": "ContainerRecreateRequest",
        "metadata": {
            "name": name,
            "labels": {
                "crr.apps.kruise.io/active": "true",
                "crr.apps.kruise.io/node-name": pod["spec"]["nodeName"],
                "crr.apps.kruise.io/pod-uid": pod["metadata"]["uid"],
            },
            "finalizers": ["crr.apps.kruise.io/unready-acquired"],
        },
        "spec": {
            "podName": pod["metadata"]["name"],
            "containers": [{"name": "app", "statusContext": context}],
            "strategy": {
                "failurePolicy": "Fail",
                "terminationGracePeriodSeconds": 5,
                "unreadyGracePeriodSeconds": 1,
            },
        },
    }


async def leave(bed: Restarting, name: str) -> None:
    """Have a pod that is out of traffic for the sake of a request which nobody serves."""
    await bed.create(name, spec={"readinessGates": [GATE]})
    runs = "ContainersReady"
    pod = await bed.until(name, lambda pod: condition(pod, runs).get("status") == "True", "running")
    key = f'[{{"userAgent":"ContainerRecreateRequest","key":"default/{name}"}}]'
    blocked = {"type": names.KRUISE_POD_READY, "status": "False", "message": key}
    await bed.patch(f"{name}/status", {"status": {"conditions": [blocked]}}, "strategic")
    await bed.api.request("POST", REQUESTS, of_webhook_and_manager(pod, name))
    acquired = {
        "type": "PreRecreateGrace",
        "status": "True",
        "reason": "PreRecreateGrace",
        "message": "",
        "lastTransitionTime": go_time(),
    }
    states = [{"name": "app", "phase": "Pending"}]
    told = {"phase": "Recreating", "containerRecreateStates": states, "conditions": [acquired]}
    await bed.api.request("PATCH", f"{REQUESTS}/{name}/status", {"status": told})


@pytest.mark.usefixtures("left")  # nobody works in the cluster at first
async def test_its_pod_is_recreated_once_and_comes_back_into_traffic(bed: Restarting, web: str) -> None:
    api = bed.api
    await api.apply(definition_of_openkruise())
    try:
        await until(lambda: labels_alone(api), timeout=30.0, what="its definition", pause=0.05)
        await leave(bed, web)
    finally:
        await api.apply(definition_of_ours())

    async def is_ours() -> bool:
        return not await labels_alone(api)

    await until(is_ours, timeout=30.0, what="our definition", pause=0.05)
    await bed.start()
    after = await bed.until(web, lambda pod: condition(pod, names.READY).get("status") == "True", "ready")
    ended = await api.get(f"{REQUESTS}/{web}")
    await api.request("DELETE", f"{REQUESTS}/{web}")
    left = [each["metadata"]["name"] for each in (await api.get(REQUESTS))["items"]]
    await bed.delete(web)

    assert restart_count(after) == 1
    assert condition(after, names.KRUISE_POD_READY)["status"] == "True"
    assert ended["status"]["phase"] == "Completed"
    assert [each["phase"] for each in ended["status"]["containerRecreateStates"]] == ["Succeeded"]
    assert web not in left
