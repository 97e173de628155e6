"""The kind CloneSet on the API server: what it refuses and takes, its defaults, and how it is scaled."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from daemon import names
from daemon.objects.workloads import CloneSet
from tests.charts.clone_sets import RIGHT_SETS, SPEC, WRONG_SETS, spec
from tests.charts.manifests import Wrong
from tests.charts.objects import OTHER, STORED, make, path
from tests.testbed.api import Api, RefusedError

PLURAL = "clonesets"


def table(cases: Mapping[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases.values(), ids=cases.keys())


async def judged(kinds: Api, written: Mapping[str, Any], version: str = STORED) -> dict[str, Any]:
    """Have the API server judge a CloneSet, and keep nothing."""
    document = {
        "apiVersion": f"{names.KRUISE_GROUP}/{version}",
        "kind": "CloneSet",
        "metadata": {"name": "judged"},
        "spec": written,
    }
    at = f"{path(PLURAL, version=version)}?dryRun=All&fieldValidation=Strict"
    answer: dict[str, Any] = await kinds.request("POST", at, document)
    return answer


@table(WRONG_SETS)
async def test_a_wrong_set_is_refused_by_the_field(kinds: Api, case: Wrong) -> None:
    with pytest.raises(RefusedError) as caught:
        await judged(kinds, case.spec)

    assert caught.value.status == 422
    said = caught.value.message
    assert re.search(rf"{re.escape(case.field)}: [^*]*{re.escape(case.words)}", said), said


@table(RIGHT_SETS)
@pytest.mark.parametrize("version", names.KRUISE_VERSIONS)
async def test_a_right_set_is_taken_in_both_versions(
    kinds: Api, case: Mapping[str, Any], version: str
) -> None:
    stored = await judged(kinds, case, version)

    assert msgspec.convert(stored, CloneSet).metadata.uid


async def test_every_part_is_stored_as_it_was_written(kinds: Api) -> None:
    for written in RIGHT_SETS.values():
        stored = await judged(kinds, written)

        assert stored["spec"]["template"] == written["template"]
        assert stored["spec"].get("updateStrategy") == written.get("updateStrategy")


@pytest.mark.parametrize(("version", "disabled"), [(STORED, True), (OTHER, False)])
async def test_claims_are_used_again_by_the_version_s_default(
    kinds: Api, version: str, disabled: bool
) -> None:
    made = await make(kinds, PLURAL, SPEC, version)

    stored = await kinds.get(path(PLURAL, made["metadata"]["name"]))

    assert stored["spec"] == {
        **SPEC,
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "scaleStrategy": {"disablePVCReuse": disabled},
    }


async def test_the_selector_cannot_be_changed(kinds: Api) -> None:
    made = await make(kinds, PLURAL, SPEC)
    other = {"matchLabels": {"app": "db"}}
    wanted = {"spec": {"selector": other, "template": {"metadata": {"labels": {"app": "db"}}}}}

    with pytest.raises(RefusedError, match=r"spec\.selector: Forbidden: cannot be changed"):
        await kinds.request("PATCH", path(PLURAL, made["metadata"]["name"]), wanted)


async def test_everything_else_can_be_changed(kinds: Api) -> None:
    made = await make(kinds, PLURAL, SPEC)
    name = made["metadata"]["name"]

    for written in RIGHT_SETS.values():
        change = {key: value for key, value in written.items() if key != "selector"}
        await kinds.request("PATCH", path(PLURAL, name), {"spec": change | {"updateStrategy": None}})

    assert (await kinds.get(path(PLURAL, name)))["metadata"]["generation"] >= 5


async def test_an_unknown_field_is_refused_by_name(kinds: Api) -> None:
    with pytest.raises(RefusedError, match=r'unknown field "spec\.paralelism"'):
        await judged(kinds, spec(paralelism=5))


async def test_it_is_scaled_as_autoscalers_do(kinds: Api) -> None:
    name = (await make(kinds, PLURAL, SPEC))["metadata"]["name"]
    told = {"status": {"replicas": 2, "labelSelector": "app=web"}}
    await kinds.request("PATCH", f"{path(PLURAL, name)}/status", told)

    await kinds.request("PATCH", f"{path(PLURAL, name)}/scale", {"spec": {"replicas": 3}})

    scale = await kinds.get(f"{path(PLURAL, name)}/scale")
    assert (scale["spec"]["replicas"], scale["status"]) == (3, {"replicas": 2, "selector": "app=web"})
    assert (await kinds.get(path(PLURAL, name)))["spec"]["replicas"] == 3


async def test_its_short_name_is_openkruise_s(kinds: Api) -> None:
    name = (await make(kinds, PLURAL, SPEC))["metadata"]["name"]

    told = await kinds.kubectl("get", "clone", name)

    columns = ("NAME", "DESIRED", "UPDATED", "UPDATED_READY", "UPDATED_AVAILABLE", "READY", "TOTAL", "AGE")
    assert tuple(told.split())[: len(columns)] == columns
