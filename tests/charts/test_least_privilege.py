"""What an agent's stolen token is good for: nothing but what the agent itself does, on its own node."""

import contextlib
from collections.abc import Mapping

import pytest
import pytest_asyncio

from daemon import names
from tests.charts.attempts import (
    ADMINISTRATOR,
    BEYOND,
    ELSEWHERE,
    GRANTED,
    NODE_IMAGES,
    OF_NO_BUSINESS,
    OF_OTHER_NODES,
    OTHER,
    OWN,
    POD_STATUS,
    PODS,
    RBAC,
    RESIZE,
    STATUS,
    Attempt,
)
from tests.charts.fixtures import install
from tests.charts.stages import BY_POLICY, Stage, set_up
from tests.testbed.accounts import as_pod_on, make_bound_pod
from tests.testbed.api import Api, RefusedError
from tests.testbed.processes import until


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(kinds: Api) -> Stage:
    """The release as it is."""
    return await set_up(kinds, "least")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def generous(kinds: Api) -> Stage:
    """The release after somebody made the agents administrators of the cluster."""
    stage = await set_up(kinds, "generous")
    subject = {"kind": "ServiceAccount", "name": stage.account, "namespace": stage.namespace}
    body = {"metadata": {"name": "generous"}, "roleRef": ADMINISTRATOR, "subjects": [subject]}
    await kinds.create_if_missing(f"{RBAC}/clusterrolebindings", body)

    async def reached() -> bool:
        try:
            await stage.agent.get("/api/v1/secrets")
        except RefusedError:
            return False
        return True

    await until(reached, timeout=30.0, what="the role to be in force", pause=0.05)
    await stage.attempt(GRANTED["give a first sign of life"])
    return stage


def each_of(attempts: Mapping[str, Attempt]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("attempt", attempts.values(), ids=attempts.keys())


@each_of(GRANTED)
async def test_an_agent_can(stage: Stage, attempt: Attempt) -> None:
    await stage.attempt(attempt)


@each_of(OF_OTHER_NODES)
async def test_the_policy_keeps_an_agent_on_its_node(stage: Stage, attempt: Attempt) -> None:
    with pytest.raises(RefusedError, match=f"the agent on node {OWN} {BY_POLICY}") as caught:
        await stage.attempt(attempt)

    assert caught.value.status == 403


@each_of({**OF_NO_BUSINESS, **ELSEWHERE})
async def test_an_agent_is_not_granted_to(stage: Stage, attempt: Attempt) -> None:
    with pytest.raises(RefusedError, match=r"cannot \w+ resource") as caught:
        await stage.attempt(attempt)

    assert caught.value.status == 403


@each_of({**OF_OTHER_NODES, **OF_NO_BUSINESS})
async def test_the_policy_holds_where_roles_do_not(generous: Stage, attempt: Attempt) -> None:
    with pytest.raises(RefusedError, match=f"the agent on node {OWN} {BY_POLICY}") as caught:
        await generous.attempt(attempt)

    assert caught.value.status == 403


@each_of({
    "tell its own pod's status": Attempt("PATCH", f"{PODS}/own-pod/status", POD_STATUS),
    "resize its own pod": Attempt("PATCH", f"{PODS}/own-pod/resize", RESIZE),
})  # fmt: skip
async def test_what_a_role_grants_on_its_own_node_is_left_to_it(generous: Stage, attempt: Attempt) -> None:
    await generous.attempt(attempt)


@each_of(
    {key: GRANTED[key] for key in ("tell its node's status", "give a first sign of life", "record an event")}
)
async def test_a_token_that_is_bound_to_no_node_writes_nothing(stage: Stage, attempt: Attempt) -> None:
    unbound = stage.admin.with_token(await stage.admin.token_for(stage.namespace, stage.account))

    with pytest.raises(RefusedError, match="an agent's token must be bound to a pod on a node"):
        await stage.attempt(attempt, unbound)


async def test_a_token_ends_with_its_pod(stage: Stage) -> None:
    pod = await make_bound_pod(stage.admin, stage.namespace, stage.account, OWN)
    token = await stage.admin.token_for(
        stage.namespace, stage.account, bound_to={"apiVersion": "v1", "kind": "Pod", **pod}
    )
    stolen = stage.admin.with_token(token)
    await stolen.get(f"{NODE_IMAGES}/{OWN}")
    path = f"/api/v1/namespaces/{stage.namespace}/pods/{pod['metadata']['name']}"

    await stage.admin.request("DELETE", path, {"gracePeriodSeconds": 0})

    async def refused() -> bool:
        try:
            await stolen.get(f"{NODE_IMAGES}/{OWN}")
        except RefusedError as error:
            return error.status == 401
        return False

    # Answers to tokens are remembered for 10 s.
    await until(refused, timeout=30.0, what="the token to end", pause=0.2)


async def test_the_policy_concerns_agents_alone(stage: Stage) -> None:
    changed = await stage.admin.request("PATCH", f"{NODE_IMAGES}/{OTHER}/status", {"status": {"failed": 1}})

    assert changed["status"]["failed"] == 1


async def test_a_write_of_the_status_changes_nothing_else(stage: Stage) -> None:
    before = await stage.admin.get(f"{NODE_IMAGES}/{OWN}")
    sneaky = {
        "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["e/f"]},
        "spec": {"images": {"stolen": {"tags": []}}},
        **STATUS,
    }

    await stage.agent.request("PATCH", f"{NODE_IMAGES}/{OWN}/status", sneaky)

    after = await stage.admin.get(f"{NODE_IMAGES}/{OWN}")
    assert after.get("spec") == before.get("spec")
    assert not {"labels", "annotations", "finalizers"} & after["metadata"].keys()


@pytest.mark.parametrize("resource", ["ephemeral-storage", "example.com/gpu"])
async def test_a_resize_is_of_cpu_and_memory_alone(stage: Stage, resource: str) -> None:
    resources = {"requests": {resource: "1"}, "limits": {resource: "1"}}
    body = {"spec": {"containers": [{"name": "holder", "resources": resources}]}}

    with pytest.raises(RefusedError, match="only cpu and memory resources are mutable"):
        await stage.attempt(Attempt("PATCH", f"{PODS}/own-pod/resize", body))


async def test_nothing_else_is_changed_by_a_resize(stage: Stage) -> None:
    path = f"{PODS.replace('NAMESPACE', stage.namespace)}/own-pod"
    before = await stage.admin.get(path)

    with contextlib.suppress(RefusedError):
        await stage.attempt(Attempt("PATCH", f"{PODS}/own-pod/resize", BEYOND))

    after = await stage.admin.get(path)
    for each in (before, after):
        each["spec"]["containers"][0]["resources"] = {}
    assert after["spec"] == before["spec"]
    assert not {"finalizers", "labels"} & after["metadata"].keys()
    assert "tried" not in after["metadata"].get("annotations", {})


async def test_the_policy_can_be_left_out(kinds: Api) -> None:
    await install(kinds, "lenient", {"agent": {"policy": False}})
    agent = await as_pod_on(kinds, "lenient", "lenient-inplaced-agent", OWN)
    await kinds.create_if_missing(
        NODE_IMAGES, {"apiVersion": names.KRUISE_API, "kind": "NodeImage", "metadata": {"name": OTHER}}
    )

    said: list[str] = []

    async def written() -> bool:
        try:
            await agent.request("PATCH", f"{NODE_IMAGES}/{OTHER}/status", STATUS)
        except RefusedError as error:
            said.append(error.message)
            return False
        return True

    await until(written, timeout=30.0, what="the agent's role to be in force", pause=0.05)
    assert [each for each in said if BY_POLICY in each] == []
