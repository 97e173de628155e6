"""Containers that start one after the other, on a real kubelet."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest_asyncio

from daemon import names
from tests.integration.centre import account_of, leading, started_at
from tests.testbed.api import Api
from tests.testbed.cluster import Cluster
from tests.testbed.processes import until
from tests.testbed.pushing import ImageMaker

PODS = "/api/v1/namespaces/default/pods"
UNTIL_TOLD = "while [ ! -f /tmp/stop ]; do sleep 0.1; done"
SLOW: Mapping[str, Any] = {
    "command": ["sh", "-c", f"sleep 2; touch /tmp/ready; {UNTIL_TOLD}"],
    "readinessProbe": {"exec": {"command": ["test", "-f", "/tmp/ready"]}, "periodSeconds": 1},
}
CONFINED: Mapping[str, Any] = {
    "securityContext": {
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
}
QUICK: Mapping[str, Any] = {"command": ["sh", "-c", UNTIL_TOLD]}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def account(cluster: Cluster) -> Api:
    """The cluster as the controller sees it, once the policy is in force."""
    made = await account_of(cluster.api)
    containers = [container("first", "a", 1), container("second", "a", 0)]
    tried = {"metadata": {"name": "tried"}, "spec": {"containers": containers}}

    async def in_force() -> bool:
        stored = await cluster.api.request("POST", f"{PODS}?dryRun=All", tried)
        return len(stored["spec"]["containers"][0]["env"]) > 1

    await until(in_force, timeout=30.0, what="the policy to be in force", pause=0.1)
    return made


@pytest_asyncio.fixture
async def image(cluster: Cluster, prefix: str) -> str:
    return (await ImageMaker(cluster.registry, prefix).make_runnable("app")).ref


def container(name: str, image: str, priority: int | None = None, **fields: Any) -> dict[str, Any]:
    """A container of that priority, or of none."""
    env = [] if priority is None else [{"name": names.PRIORITY_VARIABLE, "value": str(priority)}]
    return {"name": name, "image": image, "env": env, **fields}


def workload(
    kind: str,
    name: str,
    containers: Sequence[Mapping[str, Any]],
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """One pod of those containers."""
    metadata = {"labels": {"app": name}, "annotations": annotations or {}}
    spec = {"containers": containers, "terminationGracePeriodSeconds": 0}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": metadata, "spec": spec},
            **({"serviceName": name} if kind == "StatefulSet" else {}),
        },
    }


async def pod_of(api: Api, name: str) -> dict[str, Any]:
    """The pod of that workload; empty while there is none."""
    found = (await api.get(f"{PODS}?labelSelector=app={name}"))["items"]
    return found[0] if found else {}


async def ready(api: Api, name: str, *, but: str = "") -> dict[str, Any]:
    """Wait until the workload's pod, another than *but*, is ready, and return it."""

    async def holds() -> bool:
        pod = await pod_of(api, name)
        conditions = {each["type"]: each["status"] for each in pod.get("status", {}).get("conditions", ())}
        return conditions.get("Ready") == "True" and pod["metadata"]["uid"] != but

    await until(holds, timeout=60.0, what=f"the pod of {name}", pause=0.1)
    return await pod_of(api, name)


async def test_containers_of_a_deployment_start_by_priority(
    cluster: Cluster, account: Api, image: str, prefix: str
) -> None:
    containers = [
        container("tail", image, -1, **QUICK, **CONFINED),
        container("app", image, **SLOW),  # no priority: 0
        container("proxy", image, 10, **SLOW),
    ]

    async with leading(account):
        await cluster.api.apply(workload("Deployment", prefix, containers))
        pod = await ready(cluster.api, prefix)

    begun = started_at(pod)
    assert sorted(begun, key=begun.__getitem__) == ["proxy", "app", "tail"]
    assert len(set(begun.values())) == 3, "each waited for the one before, which takes two seconds"
    assert pod["metadata"]["annotations"][names.LAUNCH_COMPLETED_ANNOTATION] == "true"
    await cluster.api.kubectl("delete", "deployment", prefix)


async def test_a_successor_of_the_same_name_starts_in_order_too(
    cluster: Cluster, account: Api, image: str
) -> None:
    ordered = {names.LAUNCH_ORDER_ANNOTATION: "Ordered"}
    containers = [container("first", image, **SLOW), container("second", image, **QUICK)]

    async with leading(account):
        # A longer name leaves no room for a revision's hash in a label.
        await cluster.api.apply(workload("StatefulSet", "in-order", containers, ordered))
        before = await ready(cluster.api, "in-order")
        await cluster.api.kubectl("delete", "pod", before["metadata"]["name"], "--wait=false")
        after = await ready(cluster.api, "in-order", but=before["metadata"]["uid"])

    assert before["metadata"]["name"] == after["metadata"]["name"]
    for pod in (before, after):
        begun = started_at(pod)
        assert begun["first"] < begun["second"]
    await cluster.api.kubectl("delete", "statefulset", "in-order")


async def test_nothing_starts_while_the_controller_is_away_and_a_restart_needs_it_no_more(
    cluster: Cluster, account: Api, image: str, prefix: str
) -> None:
    containers = [container("first", image, 1, **QUICK), container("second", image, 0, **QUICK)]
    await cluster.api.apply(workload("Deployment", prefix, containers))

    async def held() -> bool:
        statuses = (await pod_of(cluster.api, prefix)).get("status", {}).get("containerStatuses", ())
        reasons = [each["state"].get("waiting", {}).get("reason") for each in statuses]
        return reasons == ["CreateContainerConfigError"] * 2

    await until(held, timeout=60.0, what="the kubelet to hold both", pause=0.1)
    async with leading(account):
        pod = await ready(cluster.api, prefix)
    await cluster.api.kubectl("exec", pod["metadata"]["name"], "-c", "second", "--", "touch", "/tmp/stop")

    async def restarted() -> bool:
        statuses = (await pod_of(cluster.api, prefix))["status"]["containerStatuses"]
        return [(each["restartCount"], each["ready"]) for each in statuses] == [(0, True), (1, True)]

    await until(restarted, timeout=60.0, what="the second to run again", pause=0.1)
    await cluster.api.kubectl("delete", "deployment", prefix)
