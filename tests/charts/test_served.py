"""The kinds as the API server serves them: defaults, versions, and what cannot be changed."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from daemon import names
from daemon.objects.decoding import decode
from daemon.objects.images import ImagePullJob, NodeImage
from tests.charts.node_manifests import TAG, node_spec
from tests.charts.objects import NOW, OTHER, STORED, condition, make, make_job, path
from tests.testbed.api import Api, RefusedError


async def test_a_job_has_openkruise_s_defaults_but_for_its_timeout(kinds: Api) -> None:
    stored = await make(kinds, "imagepulljobs", {"image": "nginx:1"})

    assert stored["spec"] == {
        "image": "nginx:1",
        "parallelism": 1,
        "pullPolicy": {"backoffLimit": 3},
        "completionPolicy": {"type": "Always"},
        "imagePullPolicy": "IfNotPresent",
    }


async def test_a_list_has_the_same_defaults(kinds: Api) -> None:
    job = await make(kinds, "imagepulljobs", {"image": "nginx:1"})
    stored = await make(kinds, "imagelistpulljobs", {"images": ["nginx:1"]})

    of_job = {key: value for key, value in job["spec"].items() if key != "image"}
    assert stored["spec"] == {"images": ["nginx:1"], **of_job}


@pytest.mark.parametrize("deadline", [None, 30, 600, 3600])
async def test_the_defaults_are_those_of_manifests_in_files(kinds: Api, deadline: int | None) -> None:
    completion = {} if deadline is None else {"completionPolicy": {"activeDeadlineSeconds": deadline}}
    stored = await make(kinds, "imagepulljobs", {"image": "nginx:1", **completion})

    served = msgspec.convert(stored, ImagePullJob)
    written = decode({**stored, "status": None, "spec": {"image": "nginx:1", **completion}})

    assert isinstance(written, ImagePullJob)
    # What stands in neither says the same: one node at a time, and no attempt longer than the job.
    assert (served.spec.parallelism, written.spec.parallelism) == (1, None)
    assert written.spec.pull_policy.timeout_seconds == min(600, deadline or 600)
    same = msgspec.structs.replace(served.spec, parallelism=None, pull_policy=written.spec.pull_policy)
    assert same == written.spec


async def test_a_tag_of_a_node_has_openkruise_s_defaults(kinds: Api) -> None:
    stored = await make(kinds, "nodeimages", node_spec(TAG))

    assert stored["spec"]["images"]["nginx"]["tags"] == [
        {
            **TAG,
            "pullPolicy": {"backoffLimit": 3, "timeoutSeconds": 600, "ttlSecondsAfterFinished": 300},
            "imagePullPolicy": "IfNotPresent",
            "version": 0,
        }
    ]


async def test_a_node_without_images_is_one(kinds: Api) -> None:
    body = {"apiVersion": names.KRUISE_API, "kind": "NodeImage", "metadata": {"name": "empty"}}

    stored = await kinds.request("POST", path("nodeimages"), body)

    assert msgspec.convert(stored, NodeImage).spec.images == {}


@pytest.mark.parametrize("written", [STORED, OTHER])
@pytest.mark.parametrize(
    ("plural", "spec"),
    [
        ("imagepulljobs", {"image": "nginx:1", "parallelism": "10%", "selector": {"names": ["a"]}}),
        ("imagelistpulljobs", {"images": ["nginx:1", "redis"], "podSelector": {"matchLabels": {"a": "b"}}}),
        ("nodeimages", node_spec(TAG)),
    ],
)
async def test_both_versions_show_the_same(
    kinds: Api, plural: str, spec: Mapping[str, Any], written: str
) -> None:
    made = await make(kinds, plural, spec, written)

    shown = [await kinds.get(path(plural, made["metadata"]["name"], version)) for version in (STORED, OTHER)]

    versions = [each.pop("apiVersion") for each in shown]
    assert versions == [f"{names.KRUISE_GROUP}/{version}" for version in (STORED, OTHER)]
    for each in shown:
        each["metadata"].pop("managedFields")
    assert shown[0] == shown[1]


async def test_pull_secrets_of_a_job_cannot_be_changed(kinds: Api) -> None:
    name = await make_job(kinds, pullSecrets=["a"])

    for changed in (["b"], ["a", "b"], [], None):
        with pytest.raises(RefusedError, match=r"spec\.pullSecrets: Forbidden: cannot be changed") as caught:
            await kinds.request("PATCH", path("imagepulljobs", name), {"spec": {"pullSecrets": changed}})
        assert caught.value.status == 422


async def test_pull_secrets_cannot_be_added_later(kinds: Api) -> None:
    name = await make_job(kinds)

    with pytest.raises(RefusedError, match=r"spec\.pullSecrets: Forbidden: cannot be changed"):
        await kinds.request("PATCH", path("imagepulljobs", name), {"spec": {"pullSecrets": ["a"]}})


async def test_no_pull_secrets_may_be_written_in_two_ways(kinds: Api) -> None:
    name = await make_job(kinds)

    changed = await kinds.request("PATCH", path("imagepulljobs", name), {"spec": {"pullSecrets": []}})

    assert changed["spec"]["pullSecrets"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"image": "nginx:2"},
        {"parallelism": "50%"},
        {"selector": {"names": ["a"]}},
        {"pullPolicy": {"timeoutSeconds": 60}},
        {"completionPolicy": {"ttlSecondsAfterFinished": 60}},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_the_rest_of_a_job_can_be_changed(kinds: Api, change: Mapping[str, Any]) -> None:
    name = await make_job(kinds, pullSecrets=["a"])

    changed = await kinds.request("PATCH", path("imagepulljobs", name), {"spec": change})

    assert changed["metadata"]["generation"] == 2


async def test_pull_secrets_of_a_list_can_be_changed(kinds: Api) -> None:
    made = await make(kinds, "imagelistpulljobs", {"images": ["a"], "pullSecrets": ["a"]})

    changed = await kinds.request(
        "PATCH", path("imagelistpulljobs", made["metadata"]["name"]), {"spec": {"pullSecrets": ["b"]}}
    )

    assert changed["spec"]["pullSecrets"] == ["b"]


async def test_a_write_of_the_spec_leaves_the_status_alone(kinds: Api) -> None:
    name = await make_job(kinds)

    changed = await kinds.request(
        "PATCH", path("imagepulljobs", name), {"spec": {"parallelism": 2}, "status": {"desired": 5}}
    )

    assert "status" not in changed
    assert changed["spec"]["parallelism"] == 2


async def test_a_write_of_the_status_leaves_everything_else_alone(kinds: Api) -> None:
    made = await make(kinds, "nodeimages", node_spec(TAG))
    status = {"desired": 1, "conditions": [condition("Ready", "False")]}

    changed = await kinds.request(
        "PATCH",
        f"{path('nodeimages', made['metadata']['name'])}/status",
        {
            "spec": {"images": {}},
            "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
            "status": status,
        },
    )

    assert changed["status"] == status
    assert changed["spec"] == made["spec"]
    assert changed["metadata"]["generation"] == 1
    assert not {"labels", "annotations"} & changed["metadata"].keys()


async def test_what_the_structs_tell_of_is_stored_whole(kinds: Api) -> None:
    made = await make(kinds, "nodeimages", node_spec(TAG))
    told = msgspec.convert(_told(made), NodeImage)

    stored = await kinds.request(
        "PATCH",
        f"{path('nodeimages', made['metadata']['name'])}/status",
        msgspec.to_builtins({"status": told.status}),
    )

    assert msgspec.convert(stored, NodeImage).status == told.status


def _told(made: Mapping[str, Any]) -> dict[str, Any]:
    tag = {
        "tag": "1",
        "phase": "Succeeded",
        "version": 3,
        "progress": 100,
        "startTime": NOW,
        "completionTime": NOW,
        "imageID": "nginx@sha256:1",
        "message": "pulled",
        "reason": "Pulled",
        "failures": 1,
    }
    status = {
        "desired": 1,
        "succeeded": 1,
        "imageStatuses": {"nginx": {"tags": [tag]}},
        "agent": {"version": "1", "publicKey": "AAAA"},
        "observedGeneration": 1,
        "conditions": [condition("Ready", "True")],
    }
    return {**made, "status": status}


async def test_nothing_is_written_where_nothing_is_known(kinds: Api) -> None:
    name = await make_job(kinds)
    status = {
        "startTime": None,
        "desired": 1,
        "conditions": [{**condition("Ready", "True"), "lastTransitionTime": None}],
    }

    stored = await kinds.request(
        "PUT", f"{path('imagepulljobs', name)}/status", {**await _read(kinds, name), "status": status}
    )

    assert "startTime" not in stored["status"]
    assert "lastTransitionTime" not in stored["status"]["conditions"][0]


async def _read(api: Api, name: str) -> dict[str, Any]:
    found: dict[str, Any] = await api.get(path("imagepulljobs", name))
    return found


async def test_a_condition_is_there_once(kinds: Api) -> None:
    name = await make_job(kinds)
    twice = {"status": {"conditions": [condition("Ready", "True"), condition("Ready", "False")]}}

    with pytest.raises(RefusedError, match=r"status\.conditions\[1\]: Duplicate value"):
        await kinds.request("PATCH", f"{path('imagepulljobs', name)}/status", twice)


async def test_a_phase_is_one_of_four(kinds: Api) -> None:
    made = await make(kinds, "nodeimages", node_spec(TAG))
    wrong = {"status": {"imageStatuses": {"nginx": {"tags": [{"tag": "1", "phase": "Done"}]}}}}

    with pytest.raises(RefusedError, match='Unsupported value: "Done"'):
        await kinds.request("PATCH", f"{path('nodeimages', made['metadata']['name'])}/status", wrong)


async def test_times_are_kept_to_the_second_that_was_told(kinds: Api) -> None:
    name = await make_job(kinds)
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)

    stored = await kinds.request(
        "PATCH", f"{path('imagepulljobs', name)}/status", msgspec.to_builtins({"status": {"startTime": at}})
    )

    assert msgspec.convert(stored, ImagePullJob).status.start_time == at
