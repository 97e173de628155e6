"""The images that the node should have, as a table of the status page. Pure."""

from collections.abc import Iterator, Sequence

from daemon.debug import units
from daemon.debug.markup import Child, Html, element
from daemon.debug.overview import NOTHING, clock, empty, reference, state
from daemon.debug.views import LayerView, NodeView, PullView
from daemon.names import PROGRAM

_COLUMNS = ("Image", "State", "Progress", "Fetched", "Rate", "Time", "Reused")
_NUMBERS = {"Fetched", "Rate", "Time", "Reused"}
_STATES = {
    "Waiting": ("idle", "Waiting"),
    "Pulling": ("busy", "Pulling"),
    "Unpacking": ("busy", "Unpacking"),
    "BackingOff": ("warn", "Trying again"),
    "Succeeded": ("good", "On the node"),
    "Failed": ("bad", "Failed"),
}
_LAYERS = {"waiting": "waiting", "fetching": "fetching", "fetched": "fetched", "reused": "reused"}


def section(view: NodeView) -> Html:
    """All wanted images, the newest request first, so that rows stay where they are while they change."""
    count = element("span", str(len(view.pulls)), class_="count") if view.pulls else None
    content: Child = _table(view) if view.pulls else _nothing()
    return element(
        "section", element("h2", "Images", count), content, id="images", tabindex=-1, aria_label="Images"
    )


def _nothing() -> Html:
    return empty(
        "No image is wanted on this node yet. Put an ImagePullJob into the manifests directory, or ask:",
        f"{PROGRAM} pull docker.io/library/busybox:1.36 --wait",
    )


def _table(view: NodeView) -> Html:
    pulls = sorted(view.pulls, key=_age)
    return element(
        "table",
        element("caption", "Images that this node should have", class_="unseen"),
        element("thead", element("tr", *map(_heading, _COLUMNS), role="row"), role="rowgroup"),
        *(_rows(pull, view) for pull in pulls),
        class_="images",
        role="table",
    )


def _age(pull: PullView) -> tuple[float, str]:
    return (-pull.created_at.timestamp() if pull.created_at else 0.0, pull.image)


def _heading(name: str) -> Html:
    return element(
        "th",
        name,
        scope="col",
        role="columnheader",
        class_=f"{_css(name)} number" if name in _NUMBERS else _css(name),
    )


def _css(column: str) -> str:
    return f"c-{column.lower()}"


def _rows(pull: PullView, view: NodeView) -> Html:
    kind, phase = _STATES[pull.phase]
    cells: tuple[tuple[str, Child], ...] = (
        ("State", state(kind, phase)),
        ("Progress", _bar(pull)),
        ("Fetched", _fetched(pull)),
        ("Rate", units.rate(pull.rate) if pull.rate > 0 and pull.phase == "Pulling" else NOTHING),
        ("Time", _time(pull, view)),
        ("Reused", units.size(pull.bytes_reused) if pull.bytes_reused else NOTHING),
    )
    main = element("tr", _image(pull), *(_cell(*cell) for cell in cells), role="row")
    more = element(
        "td", element("div", *_more(pull, view), class_="line"), colspan=len(_COLUMNS), role="cell"
    )
    return element(
        "tbody",
        main,
        element("tr", more, class_="more", role="row"),
        role="rowgroup",
        class_=kind,
        data_key=pull.image,
        data_state=f"{pull.image}: {phase}{f', {pull.reason}' if pull.reason else ''}",
    )


def _cell(name: str, content: Child) -> Html:
    numeric = " number" if name in _NUMBERS else ""
    return element("td", content, role="cell", class_=f"{_css(name)}{numeric}", data_label=name)


def _image(pull: PullView) -> Html:
    return element("th", reference(pull.image), scope="row", role="rowheader", class_="c-image")


def _bar(pull: PullView) -> Child:
    """A bar while there is progress to show; without a value it says that nobody knows how far it is."""
    if pull.phase == "Succeeded" or (pull.phase in {"Waiting", "Failed"} and not pull.percent):
        return NOTHING
    value = (
        None
        if pull.phase == "Unpacking" or (pull.phase == "Pulling" and not pull.bytes_total)
        else pull.percent
    )
    text = "" if value is None else f"{value}%"
    return element(
        "span",
        element("progress", text, max=100, value=value, aria_label=f"Progress of {pull.image}"),
        element("span", text, class_="number percent"),
        class_="bar",
    )


def _fetched(pull: PullView) -> Child:
    if not pull.bytes_total and not pull.bytes_done:
        return "nothing" if pull.phase == "Succeeded" and pull.bytes_reused else NOTHING
    if pull.phase == "Succeeded" or not pull.bytes_total:
        return units.size(pull.bytes_done)
    return units.fraction(pull.bytes_done, pull.bytes_total)


def _time(pull: PullView, view: NodeView) -> Child:
    if pull.completed_at is not None and pull.started_at is not None:
        return f"took {units.duration((pull.completed_at - pull.started_at).total_seconds())}"
    if pull.seconds_left is not None:
        return f"{units.countdown(pull.seconds_left)} left"
    if pull.started_at is not None and pull.phase in {"Pulling", "Unpacking"}:
        since = units.countdown((view.now - pull.started_at).total_seconds())
        return element("span", "for ", clock(since, pull.started_at, "since"))
    return NOTHING


def _attempts(pull: PullView, view: NodeView) -> Html:
    failed = f"{pull.failures} attempt{'s' if pull.failures != 1 else ''} failed"
    if pull.retry_at is None:
        return element("span", failed)
    left = units.countdown((pull.retry_at - view.now).total_seconds())
    return element("span", f"{failed}, next in ", clock(left, pull.retry_at, "until"))


def _more(pull: PullView, view: NodeView) -> Iterator[Child]:
    """The second line of an image: its protection, its attempts, who wants it, its layers."""
    facts: list[Child] = []
    if pull.failures:
        facts.append(_attempts(pull, view))
    if pull.pinned:
        facts.append(
            element("span", "pinned", class_="pin", title="Protected against image garbage collection")
        )
    if pull.priority:
        facts.append(f"priority {pull.priority}")
    if pull.owners:
        facts.append(f"for {', '.join(owner.partition('/')[2] or owner for owner in pull.owners)}")
    if pull.phase == "Succeeded" and pull.completed_at is not None:
        facts.append(f"at {pull.completed_at:%Y-%m-%d %H:%M:%S} UTC")
    yield element("span", *(element("span", fact) for fact in facts), class_="facts")
    yield _layers(pull.layers, pull.image) if pull.layers else None


def _layers(layers: Sequence[LayerView], image: str) -> Html:
    reused = sum(layer.state == "reused" for layer in layers)
    text = f"{len(layers)} layer{'s' if len(layers) != 1 else ''}, {reused} reused"
    rows = element("ul", *map(_layer, layers), aria_label=f"Layers of {image}")
    return element("details", element("summary", text), rows, data_key="layers")


def _layer(layer: LayerView) -> Html:
    full = layer.size if layer.state in {"fetched", "reused"} else layer.done
    label = f"Layer {layer.digest}"
    return element(
        "li",
        element("code", layer.digest.rpartition(":")[2][:12], title=layer.digest),
        element("progress", max=max(layer.size, 1), value=min(full, max(layer.size, 1)), aria_label=label),
        element("span", units.fraction(full, layer.size), class_="number"),
        element("span", _LAYERS[layer.state], class_="quiet"),
        class_=layer.state,
        data_key=layer.digest,
    )
