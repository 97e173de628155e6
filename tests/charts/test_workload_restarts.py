"""The kind WorkloadRestart on the API server: what it refuses and takes, and what people see of it."""

import itertools
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from daemon import names
from daemon.objects.workload_restarts import WorkloadRestart
from tests.charts.manifests import Wrong
from tests.charts.objects import NOW, condition
from tests.testbed.api import Api, RefusedError

RESTARTS = f"/apis/{names.OWN_API}/namespaces/default/workloadrestarts"
REFERENCE = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
SPEC: Mapping[str, Any] = {"workloadRef": REFERENCE}
SELECTOR = {"matchLabels": {"app": "web"}}
_numbers = itertools.count(1)


def reference(**words: Any) -> dict[str, Any]:
    return {"workloadRef": {**REFERENCE, **words}}


WRONG: Mapping[str, Wrong] = {
    "nothing": Wrong({}, "spec", "names no pods, or names them twice; allowed: one of"),
    "both": Wrong({**SPEC, "selector": SELECTOR}, "spec", "names no pods, or names them twice"),
    "an empty selector": Wrong({"selector": {}}, "spec.selector", "is empty and would mean every pod"),
    "a selector of nothing": Wrong({"selector": {"matchLabels": {}}}, "spec.selector", "is empty"),
    "a wrong label": Wrong(
        {"selector": {"matchLabels": {"app": "a b"}}},
        "spec.selector.matchLabels[app]",
        "is not a valid label value",
    ),
    "a kind that makes no pods": Wrong(
        reference(apiVersion="v1", kind="Service"),
        "spec.workloadRef",
        "is no workload that can be restarted; allowed",
    ),
    "a kind of another group": Wrong(reference(kind="CloneSet"), "spec.workloadRef", "is no workload"),
    "an unknown version": Wrong(
        reference(apiVersion="apps.kruise.io/v1", kind="CloneSet"), "spec.workloadRef", "is no workload"
    ),
    "no name": Wrong(reference(name=""), "spec.workloadRef.name", "is no name of a workload"),
    "a wrong name": Wrong(reference(name="a/b"), "spec.workloadRef.name", "is no name of a workload"),
    "a container twice": Wrong({**SPEC, "containers": ["a", "a"]}, "spec.containers[1]", "Duplicate value"),
    "a wrong container": Wrong(
        {**SPEC, "containers": ["A"]}, "spec.containers[0]", "is no name of a container"
    ),
    "no room": Wrong({**SPEC, "maxUnavailable": 0}, "spec.maxUnavailable", "is no number of pods; allowed"),
    "no share": Wrong({**SPEC, "maxUnavailable": "0%"}, "spec.maxUnavailable", "is no number of pods"),
    "too large a share": Wrong({**SPEC, "maxUnavailable": "101%"}, "spec.maxUnavailable", "is no number"),
    "a number in quotes": Wrong(
        {**SPEC, "maxUnavailable": "2"}, "spec.maxUnavailable", "is no number of pods"
    ),
    "another order": Wrong({**SPEC, "order": "Random"}, "spec.order", "supported values"),
    "a deadline too near": Wrong(
        {**SPEC, "activeDeadlineSeconds": 2},
        "spec.activeDeadlineSeconds",
        "should be greater than or equal to 3",
    ),
    "a negative time to live": Wrong(
        {**SPEC, "ttlSecondsAfterFinished": -1}, "spec.ttlSecondsAfterFinished", "greater than or equal to 0"
    ),
    "a negative grace": Wrong(
        {**SPEC, "strategy": {"terminationGracePeriodSeconds": -1}},
        "spec.strategy.terminationGracePeriodSeconds",
        "greater than or equal to 0",
    ),
}
RIGHT: Mapping[str, Mapping[str, Any]] = {
    "a reference": SPEC,
    "a selector": {"selector": SELECTOR},
    "an expression": {"selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}},
    **{f"a {kind}": reference(kind=kind) for kind in ("StatefulSet", "DaemonSet", "ReplicaSet")},
    **{
        f"a {kind} of OpenKruise": reference(apiVersion=names.KRUISE_API, kind=kind)
        for kind in ("CloneSet", "StatefulSet", "DaemonSet")
    },
    "a share": {**SPEC, "maxUnavailable": "25%"},
    "all at once": {**SPEC, "maxUnavailable": "100%"},
    "everything": {
        **SPEC,
        "containers": ["app", "log"],
        "maxUnavailable": 3,
        "order": "NameDescending",
        "paused": True,
        "strategy": {
            "terminationGracePeriodSeconds": 0,
            "unreadyGracePeriodSeconds": 5,
            "minStartedSeconds": 10,
            "orderedRecreate": True,
        },
        "activeDeadlineSeconds": 600,
        "ttlSecondsAfterFinished": 0,
    },
}


def table(cases: Mapping[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases.values(), ids=cases.keys())


async def make(kinds: Api, spec: Mapping[str, Any], query: str = "") -> dict[str, Any]:
    name = f"restart-{next(_numbers)}"
    body = {"apiVersion": names.OWN_API, "kind": "WorkloadRestart", "metadata": {"name": name}, "spec": spec}
    made: dict[str, Any] = await kinds.request("POST", f"{RESTARTS}{query}", body)
    return made


@table(WRONG)
async def test_a_wrong_restart_is_refused_by_the_field(kinds: Api, case: Wrong) -> None:
    with pytest.raises(RefusedError) as caught:
        await make(kinds, case.spec, "?dryRun=All&fieldValidation=Strict")

    assert caught.value.status == 422
    said = caught.value.message
    assert re.search(rf"{re.escape(case.field)}: [^*]*{re.escape(case.words)}", said), said


@table(RIGHT)
async def test_a_right_restart_is_taken(kinds: Api, case: Mapping[str, Any]) -> None:
    stored = await make(kinds, case, "?dryRun=All&fieldValidation=Strict")

    assert {**stored["spec"], **case} == stored["spec"]
    assert msgspec.convert(stored, WorkloadRestart).metadata.uid


async def test_what_is_not_said_is_cautious(kinds: Api) -> None:
    stored = await make(kinds, SPEC, "?dryRun=All")

    assert stored["spec"] == {
        **SPEC,
        "maxUnavailable": 1,
        "paused": False,
        "strategy": {"minStartedSeconds": 0, "orderedRecreate": False},
    }


@pytest.mark.parametrize(
    "change",
    [
        {"workloadRef": {"name": "other"}},
        {"containers": ["app"]},
        {"order": "NewestFirst"},
        {"strategy": {"minStartedSeconds": 5}},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_what_is_restarted_and_how_cannot_be_changed(kinds: Api, change: Mapping[str, Any]) -> None:
    name = (await make(kinds, SPEC))["metadata"]["name"]

    with pytest.raises(RefusedError, match=r"cannot be changed; allowed: a new restart"):
        await kinds.request("PATCH", f"{RESTARTS}/{name}", {"spec": change})


async def test_a_reference_cannot_become_a_selector(kinds: Api) -> None:
    name = (await make(kinds, SPEC))["metadata"]["name"]

    with pytest.raises(RefusedError, match="cannot be changed"):
        await kinds.request(
            "PATCH", f"{RESTARTS}/{name}", {"spec": {"workloadRef": None, "selector": SELECTOR}}
        )


@pytest.mark.parametrize(
    "change",
    [
        {"paused": True},
        {"maxUnavailable": "50%"},
        {"activeDeadlineSeconds": 60},
        {"ttlSecondsAfterFinished": 1},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_how_fast_it_goes_can_be_changed(kinds: Api, change: Mapping[str, Any]) -> None:
    name = (await make(kinds, SPEC))["metadata"]["name"]

    changed = await kinds.request("PATCH", f"{RESTARTS}/{name}", {"spec": change})

    assert changed["metadata"]["generation"] == 2


async def test_people_see_where_it_stands(kinds: Api) -> None:
    name = (await make(kinds, SPEC))["metadata"]["name"]
    status = {
        "startTime": NOW,
        "desired": 5,
        "restarted": 2,
        "restarting": 1,
        "failed": 1,
        "unavailable": 2,
        "message": "2 of 5 pods restarted, 1 failed, 1 under way",
        "failures": [{"pod": "web-0", "reason": "RecreateFailed", "message": "said"}],
        "observedGeneration": 1,
        "conditions": [condition("Ready", "False")],
    }

    await kinds.request("PATCH", f"{RESTARTS}/{name}/status?fieldValidation=Strict", {"status": status})

    head, line = (await kinds.kubectl("get", "wr", name)).splitlines()
    assert head.split() == ["NAME", "PODS", "RESTARTED", "RESTARTING", "FAILED", "READY", "AGE", "MESSAGE"]
    assert line.split()[1:6] == ["5", "2", "1", "1", "False"]
    stored = await kinds.get(f"{RESTARTS}?fieldSelector=spec.workloadRef.name=web")
    assert name in {each["metadata"]["name"] for each in stored["items"]}
