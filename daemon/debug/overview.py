"""The top of the status page: the node, its runtimes and disk, and what needs somebody's attention. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Literal

from daemon.debug import units
from daemon.debug.markup import Html, element
from daemon.debug.views import DiskView, NodeView, PullView, RuntimeView
from daemon.names import PROGRAM

_PINS = {
    "label": "pins by label",
    "lease": "pins by lease",
    "none": "cannot pin",
}
_PROGRESS = {"bytes": "shows bytes", "phases": "shows phases only"}
_RUNNING = ("Pulling", "Unpacking")
NOTHING = Html('<span class="none">&ndash;</span>')
"""What stands where there is nothing to tell."""
_MARK = Html(
    '<svg class="mark" viewBox="0 0 16 16" width="20" height="20" aria-hidden="true">'
    '<rect x="1" y="9.5" width="14" height="4.5" rx="1.2"/><path d="M8 1v6m-2.6-2.4L8 7.2l2.6-2.6"/></svg>'
)


def title(view: NodeView) -> str:
    """The window's title: it tells how far the pulls are, for tabs in the background."""
    running = [pull for pull in view.pulls if pull.phase in _RUNNING]
    if not running:
        state = "" if view.ready else "not ready: "
        return f"{state}{view.node} · {PROGRAM}"
    percent = sum(pull.percent for pull in running) // len(running)
    return f"{percent}% of {len(running)} · {view.node} · {PROGRAM}"


def header(view: NodeView) -> Html:
    """Which node this is and whether it works."""
    ready = state("good", "Ready") if view.ready else state("bad", "Not ready")
    up = units.countdown((view.now - view.started_at).total_seconds())
    since = clock(up, view.started_at, "since")
    return element(
        "header",
        element("p", _MARK, PROGRAM, " ", element("span", view.version, class_="quiet"), class_="brand"),
        element("h1", view.node),
        element("p", ready, class_="readiness"),
        element("p", "up ", since, class_="quiet"),
        element("p", element("span", f"As of {view.now:%H:%M:%S} UTC", id="live"), class_="live"),
    )


def state(kind: str, text: str) -> Html:
    """A word with a coloured mark beside it; the word alone tells it too."""
    return element("span", text, class_=f"state {kind}")


def clock(text: str, moment: datetime, counts: Literal["since", "until"]) -> Html:
    """A time that the page's script keeps counting between two updates."""
    return element("time", text, datetime=moment.isoformat(), data_counts=counts)


def summary(view: NodeView) -> Html:
    """Four figures, then the runtimes."""
    runtimes: Html | None = None
    if view.runtimes:
        runtimes = element("ul", *map(_runtime, view.runtimes), class_="runtimes")
    return element(
        "section",
        element("h2", "This node", class_="unseen"),
        element("div", element("dl", *_figures(view), class_="figures"), runtimes, class_="card"),
        aria_label="This node",
    )


def _figures(view: NodeView) -> Iterator[Html]:
    count = Counter(pull.phase for pull in view.pulls)
    present, failed = count["Succeeded"], count["Failed"]
    waiting = count["Waiting"] + count["BackingOff"]
    if view.pulls:
        yield _figure("On the node", f"{present} of {len(view.pulls)}", f"{waiting} waiting, {failed} failed")
    else:
        yield _figure("On the node", "none", "no image is wanted yet")
    running = [pull for pull in view.pulls if pull.phase in _RUNNING]
    yield _figure("Pulling", _number(len(running)), _left(running))
    fetched = sum(pull.bytes_done for pull in view.pulls)
    reused = sum(pull.bytes_reused for pull in view.pulls)
    yield _figure(
        "Fetched", units.size(fetched), f"{units.size(reused)} reused" if reused else "nothing reused"
    )
    yield _disk(view.disk)


def _figure(name: str, number: str, detail: str, *more: Html) -> Html:
    return element(
        "div",
        element("dt", name),
        element("dd", element("span", number, class_="big"), *more, element("span", detail, class_="detail")),
    )


def _number(count: int) -> str:
    return str(count) if count else "none"


def _left(running: list[PullView]) -> str:
    if not running:
        return "nothing to do"
    known = [pull.seconds_left for pull in running if pull.seconds_left is not None]
    left = f", {units.countdown(max(known))} left" if known else ""
    return f"{units.rate(sum(pull.rate for pull in running))}{left}"


def _disk(disk: DiskView | None) -> Html:
    if disk is None:
        return _figure("Space for pulls", "unknown", "no runtime has told its file system yet")
    used = max(disk.capacity - disk.free, 0)
    detail = f"{units.size(disk.free)} free, {units.size(disk.reserve)} of it in reserve"
    return _figure(
        f"Space for pulls on {disk.mountpoint}", units.size(disk.available), detail, _disk_bar(disk, used)
    )


def _disk_bar(disk: DiskView, used: int) -> Html:
    """Used, available and reserved space as widths of a thousand."""
    whole = max(disk.capacity, 1)
    ends = [round(1000 * part / whole) for part in (used, used + disk.available, whole)]
    text = (
        f"{units.size(used)} used, {units.size(disk.available)} available to pulls, "
        f"{units.size(disk.reserve)} in reserve, of {units.size(disk.capacity)}"
    )
    bars = [
        element("rect", class_=name, x=start, width=max(end - start, 0), height=8)
        for name, start, end in zip(("used", "open", "kept"), [0, *ends], ends, strict=False)
    ]
    return element(
        "svg",
        *bars,
        class_="disk",
        viewBox="0 0 1000 8",
        preserveAspectRatio="none",
        role="img",
        aria_label=text,
    )


def _runtime(runtime: RuntimeView) -> Html:
    name = " ".join(filter(None, (runtime.name, runtime.version))) or "Unknown runtime"
    mark = state("good", "connected") if runtime.ready else state("bad", "not ready")
    abilities = f"{_PROGRESS[runtime.progress]}, {_PINS[runtime.pins]}" if runtime.ready else runtime.message
    return element(
        "li",
        element("strong", name),
        mark,
        element("code", runtime.socket),
        element("span", abilities, class_="quiet"),
        data_key=runtime.socket,
    )


def attention(view: NodeView, more: Iterable[Html] = ()) -> Html | None:
    """What somebody should do something about, and *more* of that; None when that is nothing."""
    items = [*_runtime_troubles(view), *map(_failed, filter(_is_in_trouble, view.pulls)), *more]
    if not items:
        return None
    return element(
        "section",
        element("h2", "Needs attention", element("span", str(len(items)), class_="count")),
        element("ul", *items, class_="troubles"),
        aria_label="Needs attention",
        data_key="attention",
    )


def _is_in_trouble(pull: PullView) -> bool:
    return pull.phase != "Succeeded" and bool(pull.reason or pull.message or pull.phase == "Failed")


def _runtime_troubles(view: NodeView) -> Iterator[Html]:
    if not view.runtimes:
        remedy = element(
            "span", "Start a container runtime, or name its socket: ", element("code", "--runtime SOCKET")
        )
        yield trouble(
            "runtime", state("bad", "No container runtime"), "No CRI socket was found on this node.", remedy
        )
    for runtime in view.runtimes:
        if not runtime.ready:
            name = runtime.name or "Runtime"
            message = runtime.message or "It does not answer."
            yield trouble(
                f"runtime-{runtime.socket}",
                state("bad", f"{name} is not ready"),
                message,
                None,
                runtime.socket,
            )


def _failed(pull: PullView) -> Html:
    over = pull.phase == "Failed"
    name = state("bad" if over else "warn", pull.reason or ("Failed" if over else "Trying again"))
    remedy = element("span", pull.remedy) if pull.remedy else None
    return trouble(f"pull-{pull.image}", name, pull.message, remedy, pull.image)


def trouble(key: str, name: Html, message: str, remedy: Html | None, subject: str = "") -> Html:
    """One thing that somebody should do something about."""
    return element(
        "li",
        element("p", element("strong", name), element("code", subject) if subject else None, class_="what"),
        element("p", message, class_="why") if message else None,
        element("p", element("b", "What to do: "), remedy, class_="remedy") if remedy else None,
        data_key=key,
    )


def empty(text: str, example: str) -> Html:
    """A place with nothing in it, and what would put something there."""
    return element("div", element("p", text), element("pre", element("code", example)), class_="empty")


def reference(image: str) -> Html:
    """An image's reference: its last part prominent, its digest shortened, wrapped where a reader would."""
    place, slash, name = image.rpartition("/")
    name, at, digest = name.partition("@")
    short = f"{digest[:19]}…" if len(digest) > 20 else digest
    parts = [part for piece in f"{place}{slash}".split("/") if piece for part in (f"{piece}/", Html("<wbr>"))]
    prefix = element("span", *parts, class_="quiet") if parts else None
    last = element("b", name, Html("<wbr>") if at else None, f"{at}{short}")
    return element("span", prefix, last, class_="reference", title=image)
