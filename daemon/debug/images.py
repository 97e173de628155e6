"""The images that the node should have, as a table of the status page. Pure."""

from collections.abc import Iterator, Sequence

from daemon.debug import units
from daemon.debug.markup import Child, Html, element
from daemon.debug.overview import NOTHING, clock, empty, reference, state
from daemon.debug.tables import Form
from daemon.debug.views import LayerView, NodeView, PullView
from daemon.names import PROGRAM

_FORM = Form(
    "images",
    "Images that this node should have",
    ("Image", "State", "Progress", "Fetched", "Rate", "Time", "Reused"),
    {"Fetched", "Rate", "Time", "Reused"},
)
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
    return _FORM.table((_rows(pull, view) for pull in pulls), grouped=True)


def _age(pull: PullView) -> tuple[float, str]:
    return (-pull.created_at.timestamp() if pull.created_at else 0.0, pull.image)


def _rows(pull: PullView, view: NodeView) -> Html:
    kind, phase = _STATES[pull.phase]
    main = _FORM.row(
        None,
        reference(pull.image),
        state(kind, phase),
        _bar(pull),
        _fetched(pull),
        units.rate(pull.rate) if pull.rate > 0 and pull.phase == "Pulling" else NOTHING,
        _time(pull, view),
        units.size(pull.bytes_reused) if pull.bytes_reused else NOTHING,
    )
    line = element("div", *_more(pull, view), class_="line")
    more = element("td", line, colspan=len(_FORM.columns), role="cell")
    return element(
        "tbody",
        main,
        element("tr", more, class_="more", role="row"),
        role="rowgroup",
        class_=kind,
        data_key=pull.image,
        data_state=f"{pull.image}: {phase}{f', {pull.reason}' if pull.reason else ''}",
    )


def _bar(pull: PullView) -> Child:
    """A bar while there is progress to show."""
    if pull.phase == "Succeeded" or (pull.phase in {"Waiting", "Failed"} and not pull.percent):
        return NOTHING
    value = (
        None
        if pull.phase == "Unpacking" or (pull.phase == "Pulling" and not pull.bytes_total)
        else pull.percent
    )
    return bar(value, f"Progress of {pull.image}")


def bar(percent: int | None, label: str) -> Html:
    """So much of a whole; without a value it says that nobody knows how far it is."""
    text = "" if percent is None else f"{percent}%"
    return element(
        "span",
        element("progress", text, max=100, value=percent, aria_label=label),
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
