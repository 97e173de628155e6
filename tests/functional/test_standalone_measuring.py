"""What the standalone process learns from a registry before it pulls, over a fake registry and containerd."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from tests.fakes.holdings import digest_of
from tests.fakes.registry import FakeRegistry, basic, demanding, serving
from tests.functional.standalone_world import World, world
from tests.testbed.agent import pull_job, secret

KIB = 1024
CONFIG, SMALL, LARGE = digest_of("config"), digest_of("small"), digest_of("large")
MANIFEST = {
    "schemaVersion": 2,
    "config": {"digest": CONFIG, "size": KIB},
    "layers": [{"digest": SMALL, "size": 100 * KIB}, {"digest": LARGE, "size": 300 * KIB}],
}


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    async with serving(FakeRegistry()) as started:
        started.put("app", "v1", MANIFEST)
        yield started


@pytest.fixture
async def here(tmp_path: Path, registry: FakeRegistry) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        made.node.offer(f"{registry.host}/app:v1")
        yield made


@pytest.fixture
def ref(registry: FakeRegistry) -> str:
    return f"{registry.host}/app:v1"


async def test_progress_counts_what_is_missing_and_what_is_reused(here: World, ref: str) -> None:
    here.containerd.blobs[SMALL] = bytes(100 * KIB)
    stuck = here.runtime.hang("PullImage")

    async with here.running(measure_images="true") as process:
        here.write("app", pull_job("app", ref))
        await stuck.met.wait()
        here.containerd.fetch(f"layer-{LARGE}", 150 * KIB, 300 * KIB)
        half = await process.pull(ref, lambda pull: pull.bytes_done > 0, "half fetched")
        here.runtime.heal()
        await process.ended("app")
        reused = await process.metric("inplaced_pull_reused_bytes_total")
        fetched = await process.metric("inplaced_pull_fetched_bytes_total")

    assert (half.bytes_done, half.bytes_total, half.bytes_reused) == (150 * KIB, 301 * KIB, 100 * KIB)
    assert half.percent == 49
    assert {layer.digest: layer.state for layer in half.layers} == {
        CONFIG: "waiting",
        SMALL: "reused",
        LARGE: "fetching",
    }
    assert (reused, fetched) == (100 * KIB, 301 * KIB)


async def test_an_image_that_the_disk_cannot_hold_waits_and_is_told_with_its_size(
    here: World, registry: FakeRegistry, ref: str
) -> None:
    huge = {**MANIFEST, "layers": [{"digest": LARGE, "size": 2**50}]}
    registry.put("app", "v1", huge)

    async with here.running(measure_images="true") as process:
        here.write("app", pull_job("app", ref))
        held = await process.pull(ref, lambda pull: pull.reason == "NoSpace", "held")
        view = await process.view()

    assert here.pulled() == []
    assert (held.phase, held.failures) == ("Waiting", 0)
    assert held.message.startswith("needs 2684354560.0 MiB of disk, ")
    assert "--disk-reserve-percent" in held.remedy
    assert view.disk is not None
    assert view.disk.available <= view.disk.free <= view.disk.capacity


async def test_an_image_that_waits_for_space_follows_once_another_has_brought_its_layers(
    here: World, registry: FakeRegistry, ref: str
) -> None:
    registry.put("app", "v1", {**MANIFEST, "layers": [{"digest": LARGE, "size": 2**50}]})
    other = "registry.test/other:v1"
    here.node.offer(other)

    async with here.running(measure_images="true") as process:
        here.write("app", pull_job("app", ref))
        await process.pull(ref, lambda pull: pull.reason == "NoSpace", "held")
        asked = len(registry.asked)
        here.containerd.blobs[LARGE] = b"whole"
        here.write("other", pull_job("other", other))
        job = await process.ended("app")

    assert job.succeeded == 1
    assert here.pulled() == [other, ref]
    assert len(registry.asked) == asked


@pytest.mark.parametrize("status", [401, 404, 500])
async def test_an_image_whose_size_is_not_told_is_checked_against_the_floor_and_pulled(
    here: World, registry: FakeRegistry, ref: str, status: int
) -> None:
    registry.guard = lambda _asked: web.json_response({}, status=status)

    async with here.running(measure_images="true") as process:
        here.write("app", pull_job("app", ref))
        await process.ended("app")
    async with here.running(measure_images="true", disk_floor_mib=str(2**30)) as process:
        here.write("again", pull_job("again", ref, imagePullPolicy="Always"))
        held = await process.pull(ref, lambda pull: pull.reason == "NoSpace", "held")

    assert len(here.pulled()) == 1
    assert "needs 1073741824.0 MiB" in held.message


async def test_the_registry_is_asked_with_the_credentials_of_the_pull(
    here: World, registry: FakeRegistry, ref: str
) -> None:
    registry.guard = demanding('Basic realm="x"', [basic("robot", "word")])
    keys = secret("keys", registry.host, "robot", "word")

    async with here.running(measure_images="true") as process:
        here.write("app", keys, pull_job("app", ref, pullSecrets=["keys"]))
        await process.ended("app")
        pull = await process.pull(ref, lambda pull: True, "there")

    assert basic("robot", "word") in [asked.authorization for asked in registry.asked]
    assert pull.bytes_total == 401 * KIB


async def test_a_registry_that_does_not_answer_costs_its_timeout_and_no_more(
    here: World, registry: FakeRegistry, ref: str
) -> None:
    async def late(_asked: Any) -> web.StreamResponse:
        await here.runtime.hang("Never").met.wait()
        raise AssertionError

    registry.answers["/v2/app/manifests/v1"] = late

    async with here.running(measure_images="true", registry_timeout="0.1") as process:
        here.write("app", pull_job("app", ref))
        job = await process.ended("app")

    assert job.succeeded == 1


async def test_a_proxy_of_another_kind_is_told_once_and_keeps_no_image_away(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy.test:1080")
    images = [f"r.test/app{number}:v1" for number in range(3)]
    for image in images:
        here.node.offer(image)

    with capture_logs() as logs:
        async with here.running(measure_images="true") as process:
            for number, image in enumerate(images):
                here.write(f"app-{number}", pull_job(f"app-{number}", image))
                await process.ended(f"app-{number}")

    told = [each["error"] for each in logs if "proxy" in each["event"]]
    assert told == ["HTTPS_PROXY is socks5://proxy.test; allowed for what we ask: http, https"]
    assert here.pulled() == images
