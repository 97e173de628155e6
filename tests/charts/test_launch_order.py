"""The policy that gives the containers of a pod an order: rendered by Helm, applied by the API server."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import pytest_asyncio
import yaml

from daemon import names
from tests.charts.rendering import CHART, KUBERNETES, NAMESPACE, RELEASE, Document, helm
from tests.testbed.api import Api, RefusedError
from tests.testbed.cluster_fixtures import MakeControlPlane
from tests.testbed.processes import until
from tests.testbed.programs import kubernetes_minor

V1 = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"
V1BETA1 = "admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicy"
SERVED = V1BETA1 if kubernetes_minor() == "1.34" else V1
POLICIES = f"/apis/{SERVED.rpartition('/')[0]}/mutatingadmissionpolicies"
PODS = "/api/v1/namespaces/default/pods"
MOUNT = "/dev/inplaced-launched"
_numbers = itertools.count(1)


def launch_order(*arguments: str) -> list[Document]:
    """The documents about launch order where the API server has those kinds."""
    where = (RELEASE, str(CHART), "--namespace", NAMESPACE, "--kube-version", KUBERNETES)
    made = yaml.safe_load_all(helm("template", *where, *arguments))
    return [each for each in made if each and each["metadata"]["name"].endswith("-launch-order")]


@pytest.mark.parametrize("api", [V1, V1BETA1])
def test_the_policy_is_of_the_version_that_is_served(api: str) -> None:
    made = launch_order("--api-versions", api)

    mutating = [each for each in made if each["kind"].startswith("Mutating")]
    assert {each["apiVersion"] for each in mutating} == {api.rpartition("/")[0]}
    assert len(made) == 4


@pytest.mark.parametrize(
    "values",
    [("launchOrder.enabled=false",), ("controller.enabled=false",)],
    ids=["when it is turned off", "without the controller that opens gates"],
)
def test_there_is_no_policy(values: Sequence[str]) -> None:
    assert launch_order("--api-versions", V1, "--set", *values) == []


def test_there_is_none_where_the_kind_is_not_served() -> None:
    assert launch_order() == []


@pytest.mark.parametrize("served", [True, False])
async def test_the_notes_say_where_it_is_left_out(
    make_control_plane: MakeControlPlane, *, served: bool
) -> None:
    lacking = {
        "runtime_config": f"{SERVED.rpartition('/')[0]}/mutatingadmissionpolicies=false",
        "disable_admission_plugins": "MutatingAdmissionPolicy",
    }
    api = (await make_control_plane(**({} if served else lacking))).api
    where = ("--namespace", NAMESPACE, "--create-namespace", "--kubeconfig", str(api.kubeconfig))

    notes = await asyncio.to_thread(helm, "install", RELEASE, str(CHART), *where)

    assert ("has no MutatingAdmissionPolicy: pods that ask for a launch order" in notes) != served


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ordered(control_plane: Api) -> Api:
    """An API server with the policy in force."""
    try:
        await control_plane.get(POLICIES)
    except RefusedError:
        pytest.fail(f"this API server does not serve {SERVED}")
    await control_plane.apply(*launch_order("--api-versions", SERVED))
    await control_plane.create_if_missing(
        "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}}
    )

    async def in_force() -> bool:
        refused = await tried(control_plane, pod([0, "many"]))
        return gates(await tried(control_plane, pod([0, 1]))) != [] and isinstance(refused, str)

    await until(in_force, timeout=30.0, what="the policy to be in force", pause=0.1)
    return control_plane


def pod(priorities: Sequence[int | str | None], **metadata: Any) -> dict[str, Any]:
    """A pod whose containers have those priorities."""
    containers = [
        {"name": f"c{at}", "image": "a", **({} if priority is None else {"env": [variable(priority)]})}
        for at, priority in enumerate(priorities)
    ]
    return {"metadata": {"name": f"ordered-{next(_numbers)}", **metadata}, "spec": {"containers": containers}}


def variable(priority: int | str) -> dict[str, Any]:
    return {"name": names.PRIORITY_VARIABLE, "value": str(priority)}


async def tried(api: Api, body: Mapping[str, Any]) -> Any:
    """The pod as it would be stored, or why it is refused."""
    try:
        return await api.request("POST", f"{PODS}?dryRun=All", body)
    except RefusedError as error:
        return error.message


def gates(stored: Any) -> list[str]:
    """What each container waits for."""
    variables = [each for container in stored["spec"]["containers"] for each in container.get("env", ())]
    return [
        each["valueFrom"]["fieldRef"]["fieldPath"].split("'")[1].removeprefix(names.LAUNCH_GATE_PREFIX)
        for each in variables
        if each["name"] == names.BARRIER_VARIABLE
    ]


BY_POSITION = {"annotations": {names.LAUNCH_ORDER_ANNOTATION: "Ordered"}}


async def test_priorities_become_gates(ordered: Api) -> None:
    assert gates(await tried(ordered, pod([None, 5, "-2"]))) == ["0", "5", "-2"]


async def test_ordered_counts_down_by_position_whatever_the_variables_say(ordered: Api) -> None:
    assert gates(await tried(ordered, pod([None, 5, "x"], **BY_POSITION))) == ["0", "-1", "-2"]


async def test_a_pod_without_a_name_has_its_gates_too(ordered: Api) -> None:
    body = pod([1, 0])
    body["metadata"] = {"generateName": "web-"}

    assert gates(await tried(ordered, body)) == ["1", "0"]


@pytest.mark.parametrize(
    ("priorities", "metadata"),
    [
        ([3, 3], {}),
        ([None, None], {}),
        ([3], BY_POSITION),
        ([None, None], {"annotations": {names.LAUNCH_ORDER_ANNOTATION: "Other"}}),
        ([None, None], {"annotations": {"a": "b"}}),
    ],
    ids=["equal priorities", "no priorities", "one container", "another value", "other annotations"],
)
async def test_a_pod_without_an_order_is_left_as_it_is(
    ordered: Api, priorities: Sequence[int | None], metadata: Mapping[str, Any]
) -> None:
    stored = await tried(ordered, pod(priorities, **metadata))

    assert gates(stored) == []
    assert "inplaced-launch-order" not in {each["name"] for each in stored["spec"].get("volumes", ())}


@pytest.mark.parametrize("wrong", ["many", "1.5", "", "99999999999999999999", "+1"])
async def test_what_is_no_priority_is_refused_with_its_place(ordered: Api, wrong: str) -> None:
    said = await tried(ordered, pod([None, wrong]))

    assert "spec.containers[1] (c1): KRUISE_CONTAINER_PRIORITY is not a priority; allowed: an integer" in said


async def test_a_priority_from_elsewhere_is_refused(ordered: Api) -> None:
    body = pod([1, 0])
    source = {"fieldRef": {"fieldPath": "metadata.name"}}
    body["spec"]["containers"][0]["env"] = [{"name": names.PRIORITY_VARIABLE, "valueFrom": source}]

    assert "not from elsewhere" in await tried(ordered, body)


async def test_what_containers_have_of_their_own_stays(ordered: Api) -> None:
    body = pod([1, 0])
    body["spec"]["volumes"] = [{"name": "own", "emptyDir": {}}]
    body["spec"]["containers"][0]["env"].append({"name": "A", "value": "b"})
    body["spec"]["containers"][0]["volumeMounts"] = [{"name": "own", "mountPath": "/own"}]

    stored = await tried(ordered, body)

    first = stored["spec"]["containers"][0]
    assert [each["name"] for each in first["env"]] == [names.PRIORITY_VARIABLE, "A", names.BARRIER_VARIABLE]
    assert {"/own", MOUNT} <= {each["mountPath"] for each in first["volumeMounts"]}
    assert {"own", "inplaced-launch-order"} <= {each["name"] for each in stored["spec"]["volumes"]}


async def test_the_policy_may_be_applied_again(ordered: Api) -> None:
    """As after a webhook that added something."""
    once = await tried(ordered, pod([2, 1]))
    again = {"metadata": {"name": "again"}, "spec": once["spec"]}

    twice = await tried(ordered, again)

    assert [each["env"] for each in twice["spec"]["containers"]] == [
        each["env"] for each in once["spec"]["containers"]
    ]
    assert twice["spec"]["volumes"] == once["spec"]["volumes"]


async def test_a_manifest_that_was_copied_from_a_pod_begins_with_closed_gates(ordered: Api) -> None:
    opened = {f"{names.LAUNCH_GATE_PREFIX}-1": "true", names.LAUNCH_COMPLETED_ANNOTATION: "true"}
    copied = {names.LAUNCH_ORDER_ANNOTATION: "Ordered", "own": "kept", **opened}

    stored = await tried(ordered, pod([None, None], annotations=copied))

    assert stored["metadata"]["annotations"] == {names.LAUNCH_ORDER_ANNOTATION: "Ordered", "own": "kept"}


async def test_a_pod_that_openkruise_s_webhook_holds_is_left_to_it(ordered: Api) -> None:
    body = pod([1, 0])
    source = {"configMapKeyRef": {"name": "a-barrier", "key": "p_1"}}
    body["spec"]["containers"][0]["env"].append({"name": names.BARRIER_VARIABLE, "valueFrom": source})

    stored = await tried(ordered, body)

    assert stored["spec"]["containers"][0]["env"] == body["spec"]["containers"][0]["env"]
    assert "env" in stored["spec"]["containers"][1]
    assert [each["name"] for each in stored["spec"]["containers"][1]["env"]] == [names.PRIORITY_VARIABLE]
