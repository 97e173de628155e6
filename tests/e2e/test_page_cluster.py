"""The status page of a cluster's node, in a real Chromium, while its pods really change."""

import json
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from daemon import names
from tests.e2e.browser import CHROMIUM, Page, browsing
from tests.testbed import images
from tests.testbed.counting import counter
from tests.testbed.faults import hold
from tests.testbed.faulty import FaultyRegistry
from tests.testbed.pushing import Image, ImageMaker
from tests.testbed.restarting import PAGE, Restarting
from tests.testbed.sets import RealSet

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs Debian's package chromium"),
]

LIVE = "document.getElementById('live').textContent === 'Live'"
SECRET = "hunter2-of-the-database"
ATTACK = "<script>window.pwned = 1</script>"
LAYER = 40 * 2**20
REPLICAS = 3
PATIENCE = 60
"""Seconds; a machine under load takes its time."""
VARIABLES = (
    {"name": "PASSWORD", "value": SECRET},
    {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "of-the-page", "key": "token"}}},
)
LINGERING = {"lifecycle": {"preStop": {"exec": {"command": ["sleep", "1"]}}}}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def secret(bed: Restarting) -> AsyncIterator[None]:
    """What the pods of this module read a variable from."""
    document = {"metadata": {"name": "of-the-page"}, "stringData": {"token": SECRET}}
    path = "/api/v1/namespaces/default/secrets"
    await bed.api.request("POST", path, document)
    yield
    await bed.api.request("DELETE", f"{path}/of-the-page")


@pytest_asyncio.fixture(loop_scope="session")
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with browsing(tmp_path / "profile") as opened:
        await opened.look()
        await opened.open(f"http://{PAGE}/")
        await opened.until(LIVE)
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def registry(bed: Restarting) -> AsyncIterator[FaultyRegistry]:
    """One that may be slow."""
    started = FaultyRegistry()
    await started.start()
    try:
        yield started
    finally:
        await started.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def shop(bed: Restarting, prefix: str) -> AsyncIterator[RealSet]:
    made = RealSet(bed.api, f"shop-{zlib.crc32(prefix.encode()):x}")
    yield made
    await made.discard()


async def two_images(registry: FaultyRegistry) -> tuple[Image, Image]:
    maker = ImageMaker(registry, "page")
    layers = [[images.busybox_layer(), images.random_layer(f"page/{tag}", LAYER)] for tag in ("v1", "v2")]
    return (
        await maker.make("web", layers[0], tags=["v1"]),
        await maker.make("web", layers[1], tags=["v2"]),
    )


def rows(section: str, *words: str) -> str:
    """How many rows of that section contain all these words, for the page's script."""
    texts = f"[...document.querySelectorAll('.{section} tbody tr')].map((row) => row.innerText)"
    return f"{texts}.filter((text) => {json.dumps(words)}.every((word) => text.includes(word))).length"


async def shown(page: Page) -> dict[str, Any]:
    """What programs are told."""
    found: dict[str, Any] = await page.run("fetch('/debug/pods').then((answer) => answer.json())")
    return found


async def is_discreet(page: Page) -> bool:
    """Whether no form of what is shown holds the secret, and no text became markup."""
    paths = json.dumps(["/", "/debug/pods", "/debug/config", "/statusz", "/flagz", "/metrics"])
    texts = await page.run(f"Promise.all({paths}.map((path) => fetch(path).then((answer) => answer.text())))")
    texts.append(await page.run("document.documentElement.outerHTML"))
    return not any(SECRET in text for text in texts) and await page.run("window.pwned === undefined")


async def test_a_rollout_is_seen_from_its_preparation_to_its_last_restart(
    bed: Restarting, shop: RealSet, registry: FaultyRegistry, secret: None, page: Page
) -> None:
    first, second = await two_images(registry)
    app = {**counter("app", first.ref, VARIABLES), **LINGERING}
    template = {
        "metadata": {"annotations": {"colour": "red", "note": ATTACK}},
        "spec": {"volumes": [{"name": "count", "emptyDir": {}}]},
    }
    one_by_one = {"type": "InPlaceIfPossible", "maxUnavailable": 1}
    await shop.apply(shop.document([app], replicas=REPLICAS, updateStrategy=one_by_one, template=template))
    await shop.settled()
    registry.go_wrong(hold(LAYER // 2, f"/blobs/{second.build.layers[1].blob.digest}"))

    await shop.set_image(second.ref)
    half = ("Pulling", f"{second.ref.rpartition('/')[2]}", "20.0 / 40.0 MiB")
    await page.until(f"{rows('updates', shop.name, *half)} === {REPLICAS}", seconds=PATIENCE)
    assert await page.run("document.querySelector('.updates progress').value") in range(45, 51)
    registry.recover()
    await page.until(f"{rows('updates', shop.name, 'Prepared', 'on the node')} > 0", seconds=PATIENCE)
    await page.until(f"{rows('restarts', shop.name, 'its image changed')} > 0", seconds=PATIENCE)
    await page.until(f"{rows('restarts', shop.name, 'Done', 'took')} === {REPLICAS}", seconds=PATIENCE)
    await page.until(f"{rows('updates', shop.name)} === 0", seconds=PATIENCE)

    told = [each for each in (await shown(page))["restarts"] if each["pod"].startswith(shop.name)]
    assert [each["step"] for each in told] == ["Done"] * REPLICAS
    assert all(0 < each["seconds"] < PATIENCE for each in told)
    assert await is_discreet(page)
    assert page.complaints() == []


async def test_a_restart_and_resizes_are_seen_while_they_happen(
    bed: Restarting, web: str, secret: None, page: Page
) -> None:
    resources = {"requests": {"cpu": "10m"}}
    await bed.create(
        web, env=VARIABLES, annotations={"note": ATTACK}, container={**LINGERING, "resources": resources}
    )
    await bed.in_sync(web)
    try:
        await bed.annotate(web, colour="blue")
        why = "labels or annotations of the pod changed COLOUR"
        await page.until(rows("restarts", web, "preStop runs", why), seconds=PATIENCE)
        await page.until(rows("restarts", web, "Waits for the successor"), seconds=PATIENCE)
        await page.until(rows("restarts", web, "Done", "took"), seconds=PATIENCE)
        assert "Restart of default/" in await page.run("document.getElementById('announcements').textContent")

        await bed.annotate(web, **{names.RESOURCES_ANNOTATION: asking("20m")})
        await page.until(rows("resizes", web, "InSync", "cpu request 10m → 20m"), seconds=PATIENCE)
        await bed.annotate(web, **{names.RESOURCES_ANNOTATION: asking("64000")})
        await page.until(rows("resizes", web, "Infeasible", "cpu request 20m → 64000"), seconds=PATIENCE)
        await page.until(rows("errors", web, "ResizeInfeasible", "is allocatable"), seconds=PATIENCE)
        assert "Resize: Infeasible" in await page.run("document.querySelector('.troubles').innerText")

        await page.look(width=380, scheme="dark")
        assert await page.run("document.documentElement.scrollWidth") <= 380
        assert await is_discreet(page)
        assert page.complaints() == []
    finally:
        await bed.delete(web)
    await page.until(f"{rows('resizes', web)} === 0", seconds=PATIENCE)


def asking(cpu: str) -> str:
    """The annotation that asks for so much."""
    return json.dumps({"containers": {"app": {"requests": {"cpu": cpu}}}})
