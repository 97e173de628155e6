"""What is asked of the standalone process over its socket, and what it shows there."""

import asyncio
import base64
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.functional.standalone_world import World, world
from tests.testbed.agent import pull_job

REF = "registry.test/app:v1"


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        made.node.offer(REF)
        yield made


async def test_what_is_asked_for_becomes_a_job_of_its_own(here: World) -> None:
    async with here.running() as process:
        status, answer = await process.post("/v1/pulls", {"images": [REF], "priority": 7})
        (name,) = answer["jobs"]
        job = await process.ended(name.partition("/")[2])
        view = await process.view()

    assert (status, job.succeeded) == (201, 1)
    assert (view.pulls[0].priority, view.pulls[0].owners) == (7, (f"ImagePullJob/{name}",))


async def test_credentials_of_a_request_are_seen_nowhere_and_go_with_its_job(here: World) -> None:
    word = "correct-horse"
    auth = base64.b64encode(f"robot:{word}".encode()).decode()
    asked = {
        "images": [REF],
        "dockerConfig": json.dumps({"auths": {"registry.test": {"auth": auth}}}),
        "ttlSecondsAfterFinished": 1,
    }

    def holders() -> list[Path]:
        return [path for path in here.state.rglob("*") if path.is_file() and auth in path.read_text()]

    async with here.running() as process:
        _, answer = await process.post("/v1/pulls", asked)
        await process.ended(answer["jobs"][0].partition("/")[2])
        (kept,) = holders()
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (kept, kept.parent)]
        shown = [await process.get(path) for path in ("/statusz", "/debug/jobs", "/debug/config", "/flagz")]
        await process.until(lambda view: not view.jobs, "expired")
        await process.until(lambda _view: not holders(), "the credential is gone")

    (request,) = here.runtime.requests("PullImage")
    assert (request.auth.username, request.auth.password) == ("robot", word)
    assert modes == [0o600, 0o700]
    assert [text for text in shown if word in text or auth in text] == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"images": ["registry.test/UPPER"]}, "repository"),
        ({"images": [REF], "imagePullPolicy": "Sometimes"}, "IfNotPresent, Always"),
        ({"images": [REF], "timeoutSeconds": 60, "activeDeadlineSeconds": 5}, "activeDeadlineSeconds"),
        ({"images": [REF], "dockerConfig": "{"}, "dockerConfig"),
        ({"images": [REF], "dockerConfig": "[]"}, "a JSON object"),
    ],
)
async def test_a_wrong_wish_is_refused_with_its_field(
    here: World, body: dict[str, object], words: str
) -> None:
    async with here.running() as process:
        async with process.client.post("http://agent/v1/pulls", json=body) as answer:
            status, text = answer.status, await answer.text()
        view = await process.view()

    assert (status, view.jobs) == (400, ())
    assert words in text


async def test_whoever_listens_hears_of_each_change(here: World) -> None:
    async with (
        here.running() as process,
        process.client.get("http://agent/events") as stream,
        asyncio.timeout(10.0),
    ):
        first = await stream.content.readuntil(b"\n\n") + await stream.content.readuntil(b"\n\n")
        here.write("app", pull_job("app", REF))
        seen = b""
        while b'"Succeeded"' not in seen:
            seen = await stream.content.readuntil(b"\n\n")

    assert REF.encode() not in first
    assert b'"name":"app"' in seen


async def test_everything_that_is_shown_can_be_asked_for(here: World) -> None:
    async with here.running(node_name="here", node_labels="pool=gpu") as process:
        here.write("app", pull_job("app", REF), {"kind": "ImagePullJob", "spec": 5})
        await process.ended("app")
        jobs, pulls = [json.loads(await process.get(f"/debug/{name}")) for name in ("jobs", "pulls")]
        flags = json.loads(await process.get("/debug/config"))
        refused = await process.metric("inplaced_refused_documents")
        ready = await process.metric('inplaced_runtime_ready{runtime="containerd"}')
        page = await process.get("/")

    assert [job["name"] for job in jobs] == ["app"]
    assert [pull["image"] for pull in pulls] == [REF]
    assert (flags["node-name"], flags["node-labels"]) == ("here", {"pool": "gpu"})
    assert (refused, ready) == (1, 1)
    assert "registry.test/app:v1" in page
    assert (here.state / "nodeimages").is_dir()


async def test_without_a_cluster_it_says_so_where_pods_would_be_shown(here: World) -> None:
    async with here.running() as process:
        told = json.loads(await process.get("/debug/pods"))
        page = await process.get("/")

    assert told["problem"] == "standalone: no cluster tells this node of pods"
    assert told["problem"] in page
    assert told["restarts"] == told["updates"] == told["resizes"] == []


async def test_a_list_shows_its_images_and_which_of_them_failed(here: World) -> None:
    missing = "registry.test/missing:v1"
    job = pull_job("all", "") | {"kind": "ImageListPullJob"}
    job["spec"] = {"images": [REF, missing], "pullPolicy": {"backoffLimit": 0}}

    async with here.running() as process:
        here.write("all", job)
        ended = await process.ended("all")

    assert (ended.kind, ended.images) == ("ImageListPullJob", (REF, missing))
    assert (ended.desired, ended.succeeded, ended.failed) == (2, 1, 1)
    assert ended.source == "all.yaml:1"


async def test_labels_of_the_node_follow_its_settings(here: World) -> None:
    job_for_gpus = pull_job(
        "app", REF, selector={"matchLabels": {"pool": "gpu"}}, completionPolicy={"type": "Never"}
    )
    async with here.running(node_labels="pool=cpu") as process:
        here.write("app", job_for_gpus)
        view = await process.until(lambda view: bool(view.jobs and view.jobs[0].conditions), "told")

    async with here.running(node_labels="pool=gpu") as process:
        after = await process.until(lambda view: view.jobs[0].succeeded == 1, "pulled")

    assert view.jobs[0].desired == 0
    assert after.jobs[0].desired == 1
