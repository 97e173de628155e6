"""The status page as a reader meets it: in a real Chromium."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from daemon.debug.server import DebugServer
from daemon.debug.views import (
    ChangeView,
    NextImageView,
    NodeView,
    PodsView,
    ProblemView,
    PullView,
    RestartView,
)
from tests.e2e.browser import CHROMIUM, BrowserError, Page, browsing
from tests.fakes.node import FakeAsks, FakeNode, busy_view, empty_view, pulling, succeeded, troubled_view
from tests.functional.debug_client import Served, serving, streaming

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs Debian's package chromium"),
]

IMAGE = "registry.example.com:5000/shop/web:v2"
BAR = f"document.querySelector('tbody[data-key=\"{IMAGE}\"] .bar progress')"
LIVE = "document.getElementById('live').textContent === 'Live'"
VIEWS = {"empty": empty_view(), "busy": busy_view(), "troubled": troubled_view()}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as server:
        yield server


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with browsing(tmp_path / "profile") as opened:
        await opened.look()
        yield opened


async def open_live(page: Page, served: Served) -> None:
    await page.open(served.url)
    await page.until(LIVE)
    await served.node.until_watched(1)


def at(percent: int) -> NodeView:
    view = busy_view()
    return replace(view, pulls=(pulling(IMAGE, percent), *view.pulls[1:]))


async def test_the_bar_moves_while_the_image_is_pulled(page: Page, served: Served) -> None:
    await open_live(page, served)
    assert await page.run(f"{BAR}.value") == 41

    await served.node.show(at(78))

    await page.until(f"{BAR}.value === 78")
    row = await page.run(f"{BAR}.closest('tr').innerText")
    assert "321.4 / 412.0 MiB" in row
    assert "96.1 MiB/s" in row
    assert await page.run("document.title") == "89% of 2 · edge-7 · inplaced"
    assert page.complaints() == []


async def test_the_bar_gives_way_when_the_image_is_there(page: Page, served: Served) -> None:
    await open_live(page, served)
    done = replace(succeeded(IMAGE, 0), created_at=pulling(IMAGE, 0).created_at)

    await served.node.show(replace(at(100), pulls=(done, *busy_view().pulls[1:])))

    await page.until(f"!{BAR}")
    row = await page.run(f"document.querySelector('tbody[data-key=\"{IMAGE}\"]').innerText")
    assert "On the node" in row
    assert "pinned" in row


async def test_what_the_reader_opened_and_focused_stays_so(page: Page, served: Served) -> None:
    await open_live(page, served)
    details = f"document.querySelector('tbody[data-key=\"{IMAGE}\"] details')"
    await page.run(
        f"{details}.open = true; {details}.querySelector('summary').focus(); window.kept = {details}"
    )
    added = replace(pulling("docker.io/library/new:1", 5), created_at=busy_view().now)

    await served.node.show(replace(at(60), pulls=(added, *at(60).pulls)))

    await page.until("document.querySelectorAll('.images tbody').length === 7")
    assert await page.run(f"{details} === window.kept && {details}.open") is True
    assert await page.run("document.activeElement === window.kept.querySelector('summary')") is True
    assert (
        await page.run(f"{details}.querySelector('progress').value / {details}.querySelector('progress').max")
        == 0.6
    )


async def test_nothing_jumps_while_numbers_change(page: Page, served: Served) -> None:
    await open_live(page, served)
    places = """JSON.stringify(
        [...document.querySelectorAll('.images th, .images td, .figures > div, h2')].map((cell) => {
            const box = cell.getBoundingClientRect();
            return [box.x, box.y, box.width, box.height];
        }))"""
    before = await page.run(places)
    digits = (
        "[...document.querySelectorAll('.number')].map((each) => getComputedStyle(each).fontVariantNumeric)"
    )
    assert set(await page.run(digits)) == {"tabular-nums"}

    for percent in (0, 7, 99):
        await served.node.show(at(percent))
        await page.until(f"{BAR}.value === {percent}")
        assert await page.run(places) == before


async def test_readers_without_script_see_everything_and_a_reload(page: Page, served: Served) -> None:
    await served.node.show(troubled_view())
    await page.send("Emulation.setScriptExecutionDisabled", value=True)

    await page.open(served.url)

    text = await accessible_text(page)
    for part in (
        "edge-7", "Not ready", "containerd 2.1.4", "/run/crio/crio.sock", "46.3 GiB", "web:v2", "41%",
        "168.9 / 412.0 MiB", "3s left", "ImageNotFound", "Check the name and the tag",
        "2 attempts failed, next in ",
        "5 layers, 2 reused", "/etc/inplaced/manifests/broken.yaml:9", "1 to 2147483647, seconds", "nightly",
        "As of 12:30:15 UTC",
    ):  # fmt: skip
        assert part in text, part
    before = len(page.events)
    await served.node.show(empty_view())
    await page.until_event(lambda event: event["method"] == "Page.loadEventFired", after=before)
    assert "inplaced pull " in await accessible_text(page)


async def accessible_text(page: Page) -> str:
    """What assistive technology reads."""
    nodes = await accessible(page)
    return " ".join(str(node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"])


async def accessible(page: Page) -> list[dict[str, Any]]:
    tree = await page.send("Accessibility.getFullAXTree")
    nodes: list[dict[str, Any]] = tree["nodes"]
    return nodes


async def named(page: Page, role: str) -> list[str]:
    nodes = await accessible(page)
    return [node["name"]["value"] for node in nodes if not node["ignored"] and node["role"]["value"] == role]


ATTACKS = (
    "<script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 1'>",
    "\"><svg onload='window.pwned = 1'>",
    "'-window.pwned-'",
    "</title></style></script><script>window.pwned = 1</script>",
    "javascript:window.pwned=1",
    "\n\ndata: <script>window.pwned = 1</script>\n\n",
)


def spoilt(attack: str) -> PodsView:
    """Pods all of whose texts are an attack."""
    pods = troubled_view().pods
    assert pods is not None
    names = {"namespace": attack, "pod": attack}
    image = NextImageView(container=attack, image=attack, phase="Pulling", percent=3, bytes_total=9)
    return replace(
        pods,
        updates=tuple(
            replace(each, **names, revision=attack, reason=attack, message=attack, images=(image,))
            for each in pods.updates
        ),
        restarts=tuple(
            replace(each, **names, container=attack, why=attack, detail=attack) for each in pods.restarts
        ),
        resizes=tuple(
            replace(
                each,
                **names,
                state=attack,
                message=attack,
                changes=(ChangeView(container=attack, name=attack, wanted=attack, before=attack),),
            )
            for each in pods.resizes
        ),
        errors=tuple(replace(each, **names, reason=attack, message=attack) for each in pods.errors),
    )


@pytest.mark.parametrize("attack", ATTACKS)
async def test_data_cannot_become_markup(page: Page, served: Served, attack: str) -> None:
    pull = PullView(
        image=attack,
        phase="Failed",
        reason=attack,
        message=attack,
        remedy=attack,
        owners=(attack,),
        image_id=attack,
    )
    problem = ProblemView(
        file=attack, line=1, message=attack, object=attack, field=attack, value=attack, allowed=attack
    )
    view = troubled_view()
    bad = replace(
        view,
        node=attack,
        version=attack,
        runtimes=tuple(replace(each, name=attack, socket=attack, message=attack) for each in view.runtimes),
        pulls=(pull, *(replace(each, image=f"{each.image}{attack}") for each in view.pulls)),
        jobs=tuple(
            replace(each, name=attack, namespace=attack, images=(attack,), source=attack)
            for each in view.jobs
        ),
        problems=(problem,),
        pods=spoilt(attack),
    )
    harmless = (
        "window.pwned === undefined && document.scripts.length === 1"
        " && !document.querySelector('img, [onload], [onerror]')"
    )

    await served.node.show(bad)
    await open_live(page, served)
    assert await page.run(harmless) is True
    await served.node.show(replace(bad, pulls=(*bad.pulls, pull)))
    await page.until("document.querySelectorAll('.images tbody').length === 10")

    assert await page.run(harmless) is True
    assert attack.split(maxsplit=1)[0] in await page.run("document.querySelector('h1').textContent")
    assert page.complaints() == []


async def test_the_policy_stops_a_script_that_got_in_all_the_same(page: Page, served: Served) -> None:
    await open_live(page, served)

    await page.run(
        """(() => {
            const script = document.createElement('script');
            script.textContent = 'window.pwned = 1';
            document.body.append(script);
            document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.pwned = 1">');
        })()"""
    )

    with pytest.raises(BrowserError, match="Failed to fetch"):
        await page.run("fetch('http://127.0.0.1:9/')")
    assert await page.run("window.pwned") is None
    assert any("Content Security Policy" in complaint for complaint in page.complaints())


async def test_the_page_needs_nothing_but_itself_and_its_events(page: Page, served: Served) -> None:
    await open_live(page, served)

    asked = {
        event["params"]["request"]["url"].removeprefix(served.url)
        for event in page.events
        if event["method"] == "Network.requestWillBeSent"
    }
    assert {url for url in asked if not url.startswith("data:")} == {"/", "/events?as=page"}


async def test_a_lost_agent_is_told_and_found_again(page: Page, tmp_path: Path) -> None:
    first = FakeNode(busy_view())
    async with DebugServer(first, FakeAsks(), address="127.0.0.1:0", socket_path=None) as server:
        port = server.addresses[0][1]
        await page.open(f"http://127.0.0.1:{port}/")
        await page.until(LIVE)

    await page.until("document.getElementById('live').textContent.startsWith('Connection lost at ')")
    assert (
        await page.run("document.getElementById('announcements').textContent")
        == "Connection to the agent lost"
    )

    second = FakeNode(at(90))
    async with DebugServer(second, FakeAsks(), address=f"127.0.0.1:{port}", socket_path=None):
        await page.until(LIVE)
        await page.until(f"{BAR}.value === 90")


async def test_a_page_that_found_no_room_comes_back_when_there_is(page: Page, served: Served) -> None:
    async with AsyncExitStack() as others:
        for _ in range(32):
            await others.enter_async_context(streaming(served.port))
        await page.open(served.url)
        await page.until("document.getElementById('live').textContent.startsWith('Connection lost at ')")

    await page.until(LIVE, seconds=20)


async def test_only_changes_of_state_are_announced(page: Page, served: Served) -> None:
    await open_live(page, served)
    region = "document.getElementById('announcements')"
    assert await page.run(f"{region}.getAttribute('aria-live')") == "polite"

    await served.node.show(at(55))
    await page.until(f"{BAR}.value === 55")
    assert await page.run(f"{region}.textContent") == ""

    unpacking = replace(pulling(IMAGE, 100), phase="Unpacking")
    await served.node.show(replace(at(100), ready=False, pulls=(unpacking, *busy_view().pulls[1:])))
    await page.until(f"{region}.textContent === 'This node is not ready. {IMAGE}: Unpacking'")


@pytest.mark.parametrize("state", VIEWS)
async def test_the_outline_is_sound(page: Page, served: Served, state: str) -> None:
    await served.node.show(VIEWS[state])
    await open_live(page, served)

    assert await page.run("document.documentElement.lang") == "en"
    headings = await page.run(
        "[...document.querySelectorAll('h1, h2, h3, h4')].map((h) => Number(h.tagName[1]))"
    )
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise([0, *headings]))
    assert await page.run("document.querySelectorAll('main, header, footer').length") == 3
    ids = await page.run("[...document.querySelectorAll('[id]')].map((each) => each.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("width", [1280, 380])
async def test_tables_and_bars_are_what_they_seem_at_every_width(
    page: Page, served: Served, width: int
) -> None:
    await served.node.show(troubled_view())
    await page.look(width=width)
    await open_live(page, served)

    assert len(await named(page, "table")) == 7
    columns = {"Image", "State", "Progress", "Job", "Conditions", "Where", "Allowed"}
    assert columns | {"Pod", "Revision", "Container", "Step", "Why", "Change"} <= set(
        await named(page, "columnheader")
    )
    bars = await named(page, "progressbar") + await named(page, "progressIndicator")
    assert {f"Progress of {IMAGE}", f"Progress of {IMAGE} for default/web-7d9f4-b8kxn"} <= set(bars)
    assert all(bars)
    images = await named(page, "image")
    assert any(name.startswith("37.0 GiB used, 46.3 GiB available to pulls") for name in images), images


@pytest.mark.parametrize("state", VIEWS)
async def test_no_width_needs_scrolling_to_the_side(page: Page, served: Served, state: str) -> None:
    await served.node.show(replace(VIEWS[state], node="n" * 63 + ".example.com"))
    await open_live(page, served)
    await page.run("document.querySelectorAll('details').forEach((each) => each.open = true)")
    cut = """[...document.querySelectorAll('main *')]
        .filter((each) => !each.closest('.unseen, caption, thead'))
        .filter((each) => each.getBoundingClientRect().right > innerWidth).map((each) => each.outerHTML)"""

    for width in (380, 600, 860, 1280, 2560):
        await page.look(width=width)
        assert await page.run("document.documentElement.scrollWidth") <= width
        assert await page.run(cut) == []


async def test_the_keyboard_reaches_all_there_is_to_use(page: Page, served: Served) -> None:
    await open_live(page, served)
    focused = "document.activeElement.innerText || document.activeElement.id"

    reached = []
    for _ in range(4):
        await press(page, "Tab")
        reached.append(await page.run(focused))

    assert reached[:3] == ["Skip to the images", "5 layers, 2 reused", "/readyz?verbose"]
    await page.run("document.querySelector('summary').focus()")
    await press(page, "Enter")
    assert await page.run("document.querySelector('details').open") is True
    outline = await page.run("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


async def press(page: Page, key: str) -> None:
    code = {"Tab": 9, "Enter": 13}[key]
    text = "\r" if key == "Enter" else ""
    await page.send("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, text=text)
    await page.send("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)


CONTRASTS = """
(() => {
    const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const light = (colour) => {
        const [r, g, b] = parts(colour).map((c) => linear(c / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (element) => {
        for (let e = element; e; e = e.parentElement) {
            const colour = getComputedStyle(e).backgroundColor;
            if ((parts(colour)[3] ?? 1) === 1) return colour;
        }
        return 'rgb(255, 255, 255)';
    };
    const isText = (node) => node.nodeType === Node.TEXT_NODE && node.data.trim();
    const texts = [...document.body.querySelectorAll('*')].filter((e) =>
        !e.matches('script, progress') && [...e.childNodes].some(isText));
    return texts.map((e) => {
        const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        return [Math.round(ratio * 100) / 100, e.className, e.textContent.trim().slice(0, 30)];
    });
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_all_text_stands_out_from_its_ground(page: Page, served: Served, scheme: str) -> None:
    await served.node.show(troubled_view())
    await page.look(scheme=scheme)
    await open_live(page, served)
    await page.run("document.querySelectorAll('details').forEach((each) => each.open = true)")

    contrasts = await page.run(CONTRASTS)

    assert len(contrasts) > 100
    assert [found for found in contrasts if found[0] < 4.5] == []


async def test_the_page_is_as_dark_as_the_reader_likes_it(page: Page, served: Served) -> None:
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    await page.look(scheme="light")
    await open_live(page, served)
    assert await page.run(ground) == "rgb(245, 246, 247)"

    await page.look(scheme="dark")

    assert await page.run(ground) == "rgb(14, 19, 23)"


async def test_readers_who_want_less_motion_get_none(page: Page, served: Served) -> None:
    await page.look(motion="reduce")
    await open_live(page, served)

    assert await page.run("document.getAnimations().length") == 0


async def test_a_node_without_pods_that_change_says_so_in_one_line(page: Page, served: Served) -> None:
    await served.node.show(empty_view())
    await open_live(page, served)

    assert await named(page, "heading") == ["edge-7", "This node", "Pods", "Images", "Jobs"]
    calm = "document.querySelector('.calm').textContent"
    assert await page.run(calm) == (
        "No next revision is announced, no container restarts, and nothing is resized."
    )
    await served.node.show(replace(empty_view(), pods=PodsView(problem="no cluster")))
    await page.until(f"{calm} === 'no cluster'")
    await served.node.show(replace(empty_view(), pods=None))
    await page.until("!document.querySelector('.calm')")


async def test_restarts_come_move_on_and_end_before_the_readers_eyes(page: Page, served: Served) -> None:
    quiet = replace(busy_view(), pods=PodsView())
    restart = RestartView(
        namespace="shop", pod="web-1", container="app", step="PreStop", why="COLOUR", since=quiet.now
    )
    await served.node.show(quiet)
    await open_live(page, served)
    row = "document.querySelector('.restarts tbody tr')"

    await served.node.show(replace(quiet, pods=PodsView(restarts=(restart,))))
    await page.until(f"{row} && {row}.innerText.includes('preStop runs')")
    await page.run(f"window.kept = {row}")
    ended = replace(restart, step="Done", ended_at=quiet.now, seconds=1.25)
    await served.node.show(replace(quiet, pods=PodsView(restarts=(ended,))))
    await page.until(f"{row}.innerText.includes('took 1.2s')")

    assert await page.run(f"{row} === window.kept") is True
    announced = await page.run("document.getElementById('announcements').textContent")
    assert announced == "Restart of shop/web-1/app: Done"


@pytest.mark.parametrize("width", [1280, 380])
async def test_fifty_pods_in_a_rollout_fit_into_every_window(page: Page, served: Served, width: int) -> None:
    pods = busy_view().pods
    assert pods is not None
    long = "web-" + "n" * 59
    many = PodsView(
        updates=tuple(replace(pods.updates[0], pod=f"{long[:60]}-{each}") for each in range(50)),
        restarts=tuple(replace(pods.restarts[0], pod=f"{long[:60]}-{each}") for each in range(50)),
        resizes=tuple(replace(pods.resizes[0], pod=f"{long[:60]}-{each}") for each in range(50)),
        omitted={"resizes": 3},
    )
    await served.node.show(replace(busy_view(), pods=many))
    await page.look(width=width)
    await open_live(page, served)

    assert await page.run("document.querySelectorAll('.restarts tbody tr').length") == 50
    assert "3 more are not shown." in await page.run("document.body.innerText")
    assert await page.run("document.documentElement.scrollWidth") <= width


async def test_an_empty_node_tells_the_next_command(page: Page, served: Served) -> None:
    await served.node.show(empty_view())
    await open_live(page, served)

    assert "inplaced pull docker.io/library/busybox:1.36 --wait" in await page.run("document.body.innerText")


async def test_problems_come_and_go_without_a_reload(page: Page, served: Served) -> None:
    await open_live(page, served)
    await page.run("window.same = true")

    await served.node.show(troubled_view())
    await page.until(
        "document.querySelectorAll('.troubles li').length === 5 && document.querySelector('.problems')"
    )
    await served.node.show(busy_view())
    await page.until("!document.querySelector('.troubles') && !document.querySelector('.problems')")

    assert await page.run("window.same") is True
