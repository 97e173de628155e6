"""What kubectl shows of the kinds, and how it finds them."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from daemon import names
from tests.charts.node_manifests import TAG, node_spec
from tests.charts.objects import KINDS, condition, make, make_job, path
from tests.testbed.api import Api


async def test_jobs_are_found_by_their_image(kinds: Api) -> None:
    await make_job(kinds)
    name = await make_job(kinds, image="registry.example/only-here:1")

    found = await kinds.kubectl(
        "get", "pj", "--field-selector=spec.image=registry.example/only-here:1", "--output=name"
    )

    assert found.split() == [f"imagepulljob.{names.KRUISE_GROUP}/{name}"]


@pytest.mark.parametrize("plural", ["imagepulljobs", "imagelistpulljobs"])
async def test_jobs_are_found_by_when_they_end(kinds: Api, plural: str) -> None:
    spec = {"image": "a"} if plural == "imagepulljobs" else {"images": ["a"]}
    made = await make(kinds, plural, {**spec, "completionPolicy": {"type": "Never"}})

    found = await kinds.kubectl(
        "get", plural, "--field-selector=spec.completionPolicy.type=Never", "--output=name"
    )

    assert found.split() == [f"{KINDS[plural].lower()}.{names.KRUISE_GROUP}/{made['metadata']['name']}"]


JOB_STATUS = {
    "desired": 4,
    "active": 1,
    "succeeded": 2,
    "failed": 1,
    "message": "job is running",
    "conditions": [condition("Ready", "False")],
}
LIST_STATUS = {"desired": 2, "succeeded": 1, "completed": 1, "conditions": [condition("Ready", "False")]}
NODE_STATUS = {
    "desired": 4,
    "pulling": 1,
    "waiting": 1,
    "succeeded": 2,
    "failed": 0,
    "agent": {"version": "0.1.0"},
    "conditions": [condition("Ready", "False")],
}


@pytest.mark.parametrize(
    ("plural", "short", "spec", "status", "shown"),
    [
        (
            "imagepulljobs",
            "pj",
            {"image": "nginx:1"},
            JOB_STATUS,
            ["TOTAL 4", "ACTIVE 1", "SUCCEED 2", "FAILED 1", "READY False", "MESSAGE job is running",
             "IMAGE nginx:1", "REASON Pulling"],
        ),
        (
            "imagelistpulljobs",
            "lpj",
            {"images": ["nginx:1"]},
            LIST_STATUS,
            ["TOTAL 2", "SUCCEEDED 1", "COMPLETED 1", "READY False", "REASON Pulling"],
        ),
        (
            "nodeimages",
            "nimg",
            node_spec(TAG),
            NODE_STATUS,
            ["DESIRED 4", "PULLING 1", "SUCCEED 2", "FAILED 0", "READY False", "WAITING 1", "REASON Pulling",
             "AGENT 0.1.0"],
        ),
    ],
)  # fmt: skip
async def test_kubectl_shows_what_matters(
    kinds: Api, plural: str, short: str, spec: Mapping[str, Any], status: Mapping[str, Any], shown: list[str]
) -> None:
    name = (await make(kinds, plural, spec))["metadata"]["name"]
    await kinds.request("PATCH", f"{path(plural, name)}/status", {"status": status})

    head, row = (await kinds.kubectl("get", short, name, "--output=wide")).splitlines()

    for column in shown:
        title, cell = column.split(" ", 1)
        assert row[head.index(title) :].startswith(cell), (title, head, row)


async def test_one_word_lists_all_our_kinds(kinds: Api) -> None:
    job = await make_job(kinds)
    node = (await make(kinds, "nodeimages", node_spec(TAG)))["metadata"]["name"]

    listed = (await kinds.kubectl("get", "inplaced", "--output=name")).split()

    assert {f"imagepulljob.{names.KRUISE_GROUP}/{job}", f"nodeimage.{names.KRUISE_GROUP}/{node}"} <= set(
        listed
    )


async def test_kubectl_waits_for_a_job_to_be_ready(kinds: Api) -> None:
    name = await make_job(kinds)

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(
            kinds.kubectl("wait", "--for=condition=Ready", f"pj/{name}", "--timeout=30s")
        )
        await kinds.request(
            "PATCH",
            f"{path('imagepulljobs', name)}/status",
            {"status": {"conditions": [condition("Ready", "True")]}},
        )

    assert "condition met" in waiting.result()


async def test_kubectl_explains_fields(kinds: Api) -> None:
    explained = await kinds.kubectl("explain", "imagepulljob.spec.parallelism")

    assert "a percentage of the nodes" in " ".join(explained.split())
