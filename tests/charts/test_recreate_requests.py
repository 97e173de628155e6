"""The kind ContainerRecreateRequest on the API server: what it refuses and takes, and who finds it."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from daemon import names
from daemon.objects.recreates import ContainerRecreateRequest
from tests.charts.manifests import Wrong
from tests.charts.objects import NOW, OTHER, STORED, condition, make, path
from tests.testbed.accounts import make_account
from tests.testbed.api import Api, RefusedError

PLURAL = "containerrecreaterequests"
SPEC: Mapping[str, Any] = {"podName": "web-0", "containers": [{"name": "app"}]}
LONG_NODE = f"{'n' * 63}.{'m' * 63}.{'o' * 63}.example"


def strategy(**words: Any) -> dict[str, Any]:
    return {**SPEC, "strategy": words}


def container(**words: Any) -> dict[str, Any]:
    return {**SPEC, "containers": [{"name": "app", **words}]}


WRONG_REQUESTS: Mapping[str, Wrong] = {
    "no pod": Wrong({"containers": [{"name": "app"}]}, "spec.podName", "Required value"),
    "an empty pod": Wrong(
        {**SPEC, "podName": ""}, "spec.podName", "is no name of a pod; allowed: a DNS name"
    ),
    "a pod of another namespace": Wrong(
        {**SPEC, "podName": "shop/web"}, "spec.podName", "is no name of a pod"
    ),
    "no containers": Wrong({"podName": "web-0"}, "spec.containers", "Required value"),
    "an empty list": Wrong({**SPEC, "containers": []}, "spec.containers", "should have at least 1 items"),
    "no container's name": Wrong({**SPEC, "containers": [{}]}, "spec.containers[0].name", "Required value"),
    "a wrong name": Wrong(
        {**SPEC, "containers": [{"name": "App"}]}, "spec.containers[0].name", "is no name of a container"
    ),
    "a container twice": Wrong(
        {**SPEC, "containers": [{"name": "app"}, {"name": "app"}]}, "spec.containers[1]", "Duplicate value"
    ),
    "a preStop": Wrong(
        container(preStop={"exec": {"command": ["true"]}}),
        "spec.containers[0].preStop",
        "is not the author's to give",
    ),
    "ports": Wrong(
        container(ports=[{"containerPort": 80}]), "spec.containers[0].ports", "is not the author's to give"
    ),
    "a context": Wrong(
        container(statusContext={"containerID": "containerd://c1"}),
        "spec.containers[0].statusContext",
        "is not the author's to give; allowed: the name of the container alone",
    ),
    "an unknown policy": Wrong(
        strategy(failurePolicy="Retry"), "spec.strategy.failurePolicy", 'supported values: "Fail", "Ignore"'
    ),
    **{
        f"a negative {name}": Wrong(
            strategy(**{name: -1}), f"spec.strategy.{name}", "should be greater than or equal to 0"
        )
        for name in ("terminationGracePeriodSeconds", "unreadyGracePeriodSeconds", "minStartedSeconds")
    },
    "a deadline that is too short": Wrong(
        {**SPEC, "activeDeadlineSeconds": 2},
        "spec.activeDeadlineSeconds",
        "should be greater than or equal to 3",
    ),
    "a negative time to live": Wrong(
        {**SPEC, "ttlSecondsAfterFinished": -1},
        "spec.ttlSecondsAfterFinished",
        "should be greater than or equal to 0",
    ),
}
RIGHT_REQUESTS: Mapping[str, Mapping[str, Any]] = {
    "the least": SPEC,
    "several containers": {**SPEC, "containers": [{"name": "app"}, {"name": "proxy"}]},
    "everything": {
        **strategy(
            failurePolicy="Ignore",
            orderedRecreate=True,
            forceRecreate=True,
            terminationGracePeriodSeconds=0,
            unreadyGracePeriodSeconds=3,
            minStartedSeconds=10,
        ),
        "activeDeadlineSeconds": 3,
        "ttlSecondsAfterFinished": 0,
    },
}


def table(cases: Mapping[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases.values(), ids=cases.keys())


async def judged(kinds: Api, written: Mapping[str, Any], version: str = STORED) -> dict[str, Any]:
    """Have the API server judge a request, and keep nothing."""
    document = {
        "apiVersion": f"{names.KRUISE_GROUP}/{version}",
        "kind": "ContainerRecreateRequest",
        "metadata": {"name": "judged"},
        "spec": written,
    }
    at = f"{path(PLURAL, version=version)}?dryRun=All&fieldValidation=Strict"
    answer: dict[str, Any] = await kinds.request("POST", at, document)
    return answer


@table(WRONG_REQUESTS)
async def test_a_wrong_request_is_refused_by_the_field(kinds: Api, case: Wrong) -> None:
    with pytest.raises(RefusedError) as caught:
        await judged(kinds, case.spec)

    assert caught.value.status == 422
    said = caught.value.message
    assert re.search(rf"{re.escape(case.field)}: [^*]*{re.escape(case.words)}", said), said


@table(RIGHT_REQUESTS)
@pytest.mark.parametrize("version", names.KRUISE_VERSIONS)
async def test_a_right_request_is_taken_in_both_versions(
    kinds: Api, case: Mapping[str, Any], version: str
) -> None:
    stored = await judged(kinds, case, version)

    assert msgspec.convert(stored, ContainerRecreateRequest).metadata.uid


async def test_what_is_not_said_is_as_openkruise_has_it(kinds: Api) -> None:
    stored = await judged(kinds, SPEC)

    assert stored["spec"]["strategy"] == {
        "failurePolicy": "Fail",
        "orderedRecreate": False,
        "forceRecreate": False,
        "minStartedSeconds": 0,
    }


@pytest.mark.parametrize(
    "change",
    [
        {"podName": "web-1"},
        {"containers": [{"name": "proxy"}]},
        {"strategy": {"forceRecreate": True}},
        {"activeDeadlineSeconds": 60},
        {"ttlSecondsAfterFinished": 60},
    ],
)
async def test_a_request_never_changes(kinds: Api, change: Mapping[str, Any]) -> None:
    name = (await make(kinds, PLURAL, SPEC))["metadata"]["name"]

    with pytest.raises(RefusedError, match=r"spec: Forbidden: cannot be changed; allowed: a new request"):
        await kinds.request("PATCH", path(PLURAL, name), {"spec": change})


async def test_its_status_is_told_apart_and_the_request_is_found_by_the_node(kinds: Api) -> None:
    name = (await make(kinds, PLURAL, SPEC))["metadata"]["name"]
    status = {
        "phase": "Pending",
        "podUID": "u1",
        "nodeName": LONG_NODE,
        "containerRecreateStates": [
            {"name": "app", "phase": "Pending", "containerID": "containerd://c1", "isKilled": False}
        ],
        "observedGeneration": 1,
        "conditions": [{**condition("Ready", "False"), "reason": "Pending"}],
    }

    await kinds.request("PATCH", f"{path(PLURAL, name)}/status?fieldValidation=Strict", {"status": status})

    found = await kinds.get(f"{path(PLURAL)}?fieldSelector=status.nodeName={LONG_NODE}")
    assert [each["metadata"]["name"] for each in found["items"]] == [name]
    assert found["items"][0]["status"] == status


async def test_what_one_version_stores_the_other_reads(kinds: Api) -> None:
    name = (await make(kinds, PLURAL, RIGHT_REQUESTS["everything"], OTHER))["metadata"]["name"]

    read = [await kinds.get(path(PLURAL, name, version)) for version in (STORED, OTHER)]

    assert read[0]["spec"] == read[1]["spec"] == RIGHT_REQUESTS["everything"]


async def test_people_see_where_it_stands(kinds: Api) -> None:
    name = (await make(kinds, PLURAL, SPEC))["metadata"]["name"]
    told = {
        "status": {
            "phase": "Completed",
            "nodeName": "n1",
            "completionTime": NOW,
            "message": "1 of 1 containers recreated",
            "conditions": [condition("Ready", "True")],
        }
    }
    await kinds.request("PATCH", f"{path(PLURAL, name)}/status", told)

    shown = await kinds.kubectl("get", "crr", name)

    head, line = shown.splitlines()
    assert head.split() == ["NAME", "PHASE", "POD", "NODE", "READY", "AGE", "MESSAGE"]
    assert line.split()[1:5] == ["Completed", "web-0", "n1", "True"]


async def test_who_has_no_rights_in_the_namespace_cannot_ask(kinds: Api) -> None:
    await make_account(kinds, "recreates", "nobody")
    nobody = kinds.with_token(await kinds.token_for("recreates", "nobody"))

    with pytest.raises(RefusedError, match="cannot create resource") as caught:
        await judged(nobody, SPEC)

    assert caught.value.status == 403
