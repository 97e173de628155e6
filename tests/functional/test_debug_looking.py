from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from daemon.debug.sources import Check
from daemon.debug.views import JobView, NodeView, PodsView, PullView
from tests.fakes.node import troubled_view
from tests.functional.debug_client import Served, serving, unix_client

PATHS = (
    "/", "/healthz", "/livez", "/readyz", "/metrics", "/statusz", "/flagz",
    "/debug/pods", "/debug/pulls", "/debug/jobs", "/debug/tasks", "/debug/config",
)  # fmt: skip
OK = Check(name="manifests", ok=True)
DOWN = Check(name="runtime", ok=False, message="nobody listens")


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as server:
        yield server


@pytest.fixture
async def client(served: Served) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(served.url) as session:
        yield session


async def text(client: aiohttp.ClientSession, path: str) -> tuple[int, str]:
    async with client.get(path) as reply:
        return reply.status, await reply.text()


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
async def test_a_probe_without_trouble_is_a_short_ok(
    served: Served, client: aiohttp.ClientSession, path: str
) -> None:
    served.node.checks = (OK,)

    assert await text(client, path) == (200, "ok")


async def test_a_probe_tells_every_check_when_asked_to(served: Served, client: aiohttp.ClientSession) -> None:
    served.node.checks = (OK,)

    assert await text(client, "/readyz?verbose") == (200, "[+]manifests ok\nreadyz check passed\n")


async def test_a_failing_probe_names_the_failing_check_unasked(
    served: Served, client: aiohttp.ClientSession
) -> None:
    served.node.checks = (OK, DOWN)

    status, said = await text(client, "/readyz")

    assert status == 503
    assert said == "[+]manifests ok\n[-]runtime failed: nobody listens\nreadyz check failed\n"


async def test_an_excluded_check_cannot_fail_a_probe(served: Served, client: aiohttp.ClientSession) -> None:
    served.node.checks = (OK, DOWN)

    assert await text(client, "/readyz?exclude=runtime") == (200, "ok")
    status, said = await text(client, "/readyz?verbose&exclude=runtime&exclude=rumtime")
    assert status == 200
    assert "[+]runtime excluded: ok\n" in said
    assert "warn: nothing to exclude is named rumtime\n" in said


async def test_metrics_are_in_the_form_that_prometheus_reads(client: aiohttp.ClientSession) -> None:
    async with client.get("/metrics") as reply:
        assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert await reply.read() == b"# TYPE up gauge\nup 1.0\n"


async def test_the_status_is_text_for_people(served: Served, client: aiohttp.ClientSession) -> None:
    await served.node.show(troubled_view())

    status, said = await text(client, "/statusz")

    assert status == 200
    assert said.startswith("inplaced 0.1.0 on edge-7: not ready, up 3d4h\n")
    for part in (
        "containerd 2.1.4 at /run/containerd/containerd.sock: ready",
        "46.3 GiB available to pulls",
        "168.9 / 412.0 MiB, 96.1 MiB/s, 3s left, 1.2 GiB reused",
        "ImageNotFound: registry.example.com:5000 knows no shop/cart:v9",
        "what to do: Check the name and the tag",
        "ImagePullJob default/base: 1/1 done, 0 active, 0 failed",
        "/etc/inplaced/manifests/broken.yaml:9 (ImagePullJob default/broken): spec.pullPolicy",
        "default/web-7d9f4-b8kxn to web-6d9f: Pulling, registry.example.com:5000/shop/web:v2: 41 %, for 4s",
        "default/web-7d9f4-q9zrt/app: labels or annotations of the pod changed GREETING, COLOUR: PreStop",
        "COLOUR: Done, took 1.0s",
        "default/cache-2: app cpu request 100m -> 250m; app memory limit 128Mi -> 256Mi: Infeasible: the",
        "default/cache-2: ResizeInfeasible: the node can never hold it",
    ):
        assert part in said


async def test_without_a_cluster_the_status_says_why_no_pods_are_shown(
    served: Served, client: aiohttp.ClientSession
) -> None:
    await served.node.show(replace(troubled_view(), pods=PodsView(problem="no cluster")))

    _, said = await text(client, "/statusz")

    assert "\nPods\n  no cluster\n" in said
    assert "Restarts" not in said


async def test_what_changes_in_place_is_json(served: Served, client: aiohttp.ClientSession) -> None:
    await served.node.show(troubled_view())

    async with client.get("/debug/pods") as reply:
        assert reply.content_type == "application/json"
        assert msgspec.json.decode(await reply.read(), type=PodsView) == served.node.shown.pods


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("/statusz?output=json", "*/*"),
        ("/statusz", "application/json"),
        ("/statusz", "text/html, application/json;q=0.9"),
    ],
)
async def test_the_status_is_json_for_programs(
    served: Served, client: aiohttp.ClientSession, path: str, accept: str
) -> None:
    async with client.get(path, headers={"Accept": accept}) as reply:
        assert reply.content_type == "application/json"
        assert msgspec.json.decode(await reply.read(), type=NodeView) == served.node.shown


async def test_flags_are_text_or_json(served: Served, client: aiohttp.ClientSession) -> None:
    served.node.settings = {
        "pull-workers": 2,
        "docker-config": None,
        "node-labels": {"a": "b"},
        "runtime": ["x", "y"],
    }

    assert await text(client, "/flagz") == (
        200,
        "docker-config=\nnode-labels=a=b\npull-workers=2\nruntime=x,y\n",
    )
    async with client.get("/flagz?output=json") as reply:
        assert await reply.json() == served.node.settings
    async with client.get("/debug/config") as reply:
        assert await reply.json() == served.node.settings


async def test_a_credential_that_slipped_into_a_setting_is_not_shown(
    served: Served, client: aiohttp.ClientSession
) -> None:
    served.node.settings = {"mirror": "https://robot:hunter2@mirror.example.com"}

    for path in ("/flagz", "/flagz?output=json", "/debug/config"):
        _, said = await text(client, path)
        assert "mirror.example.com" in said
        assert "hunter2" not in said


async def test_pulls_and_jobs_are_lists(served: Served, client: aiohttp.ClientSession) -> None:
    _, pulls = await text(client, "/debug/pulls")
    _, jobs = await text(client, "/debug/jobs")

    assert msgspec.json.decode(pulls, type=tuple[PullView, ...]) == served.node.shown.pulls
    assert msgspec.json.decode(jobs, type=tuple[JobView, ...]) == served.node.shown.jobs


async def test_every_task_is_shown_with_the_place_where_it_waits(
    served: Served, client: aiohttp.ClientSession
) -> None:
    async with client.get("/debug/tasks") as reply:
        tasks: list[dict[str, Any]] = await reply.json()

    running = [task for task in tasks if task["state"] == "running"]
    assert len(running) == 1
    assert running[0]["stack"][0].startswith("aiohttp.web_protocol:")
    mine = [task for task in tasks if "test_every_task_is_shown" in task["coroutine"]]
    assert len(mine) == 1
    assert any(place.startswith("aiohttp.client") for place in mine[0]["stack"])


@pytest.mark.parametrize("path", PATHS)
async def test_head_answers_as_get_without_the_body(client: aiohttp.ClientSession, path: str) -> None:
    async with client.head(path) as head, client.get(path) as get:
        assert head.status == get.status == 200
        assert head.headers["Content-Type"] == get.headers["Content-Type"]
        assert await head.read() == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", PATHS)
async def test_nothing_can_be_changed_on_loopback(
    served: Served, client: aiohttp.ClientSession, method: str, path: str
) -> None:
    async with client.request(method, path, data=b"{}") as reply:
        assert reply.status == 405
        assert reply.headers["Allow"] == "GET, HEAD"


async def test_pulls_cannot_be_asked_for_on_loopback(served: Served, client: aiohttp.ClientSession) -> None:
    async with client.post("/v1/pulls", json={"images": ["busybox"]}) as reply:
        assert reply.status == 404
    assert served.asks.asked == []


async def test_a_wrong_path_tells_the_right_ones(client: aiohttp.ClientSession) -> None:
    status, said = await text(client, "/debug/pull")

    assert status == 404
    assert "/debug/pulls" in said


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
async def test_every_answer_is_closed_to_other_sites(client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(path) as reply:
        headers = reply.headers

    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "aiohttp" not in headers["Server"]


async def test_the_unix_socket_shows_all_that_loopback_shows(served: Served) -> None:
    async with unix_client(served.socket_path) as client:
        for path in PATHS:
            async with client.get(path) as reply:
                assert reply.status == 200, path


async def test_a_source_that_fails_is_logged_and_ends_nothing(
    served: Served, client: aiohttp.ClientSession
) -> None:
    served.node.settings = {1: "not a name"}  # type: ignore[dict-item]  # a mistake of the process around
    served.node.settings |= {"a": 1}

    with capture_logs() as logs:
        status, said = await text(client, "/flagz")

    assert status == 500
    assert "not a name" not in said
    assert [entry["log_level"] for entry in logs] == ["error"]
    served.node.settings = {}
    assert await text(client, "/flagz") == (200, "")
