"""The pods that change in place, as sections of the status page. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from daemon.debug import units
from daemon.debug.images import bar
from daemon.debug.markup import Child, Html, element
from daemon.debug.overview import NOTHING, clock, reference, state, trouble
from daemon.debug.tables import Form
from daemon.debug.views import (
    ChangeView,
    ErrorView,
    NextImageView,
    NodeView,
    PodsView,
    ResizeView,
    RestartStep,
    RestartView,
    UpdateView,
)

_UPDATES = Form(
    "updates",
    "Pods to which a next revision was announced",
    ("Pod", "Revision", "State", "Images", "Resources", "Since"),
    {"Since"},
)
_RESTARTS = Form(
    "restarts",
    "Containers that are started anew, and those that were lately",
    ("Container", "Step", "Why", "Time"),
    {"Time"},
)
_RESIZES = Form(
    "resizes",
    "Pods whose CPU or memory was asked to be another",
    ("Pod", "State", "Change", "Since"),
    {"Since"},
)
_ERRORS = Form("errors", "The last errors of pods", ("When", "Pod", "Reason", "Message"))
_PREPARED = {
    "": ("idle", "Announced"),
    "Pulling": ("busy", "Pulling"),
    "Pulled": ("good", "Prepared"),
    "PullFailed": ("bad", "Pull failed"),
    "NoSpace": ("bad", "No space"),
    "WouldNotFit": ("warn", "Would not fit"),
}
_STEPS: dict[RestartStep, tuple[str, str]] = {
    "Settling": ("idle", "Waits for the last change"),
    "Waiting": ("idle", "Waits for its turn"),
    "Due": ("busy", "To be stopped"),
    "Kubelet": ("busy", "Restarted by the kubelet"),
    "PreStop": ("busy", "preStop runs"),
    "Stopping": ("busy", "Stopping"),
    "Successor": ("busy", "Waits for the successor"),
    "BackOff": ("warn", "Kubelet's back-off"),
    "Failed": ("bad", "Failed"),
    "Done": ("good", "Done"),
}
_RESIZED = {
    "InSync": "good",
    "Resizing": "busy",
    "Asked": "busy",
    "Deferred": "warn",
    "UnsafeDecrease": "warn",
    "RolledBack": "warn",
}
"""Marks by state; all others are bad."""
_FITS = {True: ("good", "fit"), False: ("bad", "do not fit"), None: ("idle", "not looked at yet")}


def sections(view: NodeView) -> Iterator[Html | None]:
    """What changes in place, or that nothing does."""
    pods = view.pods
    if pods is None:
        return
    quiet = pods.problem or _quiet(pods)
    if quiet:
        yield _section("Pods", "pods", 0, element("p", quiet, class_="calm"))
    yield _listed("updates", "Updates", pods, _updates(pods.updates, view))
    yield _listed("restarts", "Restarts", pods, _restarts(pods.restarts, view))
    yield _listed("resizes", "Resizes", pods, _resizes(pods.resizes, view))
    yield _listed("errors", "Last errors", pods, _errors(pods.errors))


def troubles(view: NodeView) -> Iterator[Html]:
    """The pods that do not get any further by themselves."""
    pods = view.pods or PodsView()
    for restart in pods.restarts:
        if restart.step == "Failed" and restart.ended_at is None:
            name = f"{restart.namespace}/{restart.pod}/{restart.container}"
            what = state("bad", "Restart failed")
            yield trouble(f"restart-{name}", what, restart.detail, None, name)
    for resize in pods.resizes:
        if resize.state not in _RESIZED:
            name = f"{resize.namespace}/{resize.pod}"
            yield trouble(
                f"resize-{name}", state("bad", f"Resize: {resize.state}"), resize.message, None, name
            )


def _quiet(pods: PodsView) -> str:
    if pods.updates or pods.restarts or pods.resizes:
        return ""
    return "No next revision is announced, no container restarts, and nothing is resized."


def _listed(key: str, title: str, pods: PodsView, rows: Html | None) -> Html | None:
    """One list; None when nothing is on it."""
    if rows is None:
        return None
    omitted = pods.omitted.get(key, 0)
    more = element("p", f"{omitted} more are not shown.", class_="quiet") if omitted else None
    return _section(title, key, len(getattr(pods, key)) + omitted, (rows, more))


def _section(title: str, key: str, count: int, content: Child) -> Html:
    number = element("span", str(count), class_="count") if count else None
    return element("section", element("h2", title, number), content, aria_label=title, data_key=key)


def _updates(updates: Sequence[UpdateView], view: NodeView) -> Html | None:
    return _UPDATES.table(_update(each, view) for each in updates) if updates else None


def _update(update: UpdateView, view: NodeView) -> Html:
    kind, word = _PREPARED.get(update.reason, ("busy", update.reason))
    told = update.message if update.reason not in {"Pulling", "Pulled"} else ""
    key = f"{update.namespace}/{update.pod}"
    return _UPDATES.row(
        f"update {key}",
        _pod(update.namespace, update.pod),
        element("code", update.revision),
        (state(kind, word), _detail(told)),
        element("ul", *(_image(each, key) for each in update.images)) if update.images else NOTHING,
        state(*_FITS[update.fits]),
        _since(update, view),
        state=f"Update of {key}: {word}",
    )


def _image(image: NextImageView, pod: str) -> Html:
    told: Child = NOTHING
    if image.phase == "Succeeded":
        told = "on the node"
    elif image.phase in {"Pulling", "Unpacking"}:
        known = image.percent if image.bytes_total else None
        told = bar(known, f"Progress of {image.image} for {pod}")
    size = units.fraction(image.bytes_done, image.bytes_total) if image.bytes_total else ""
    return element(
        "li",
        element("span", image.container, class_="quiet"),
        reference(image.image),
        told,
        element("span", size, class_="number quiet") if image.phase != "Succeeded" else None,
        data_key=image.container,
    )


def _restarts(restarts: Sequence[RestartView], view: NodeView) -> Html | None:
    return _RESTARTS.table(_restart(each, view) for each in restarts) if restarts else None


def _restart(restart: RestartView, view: NodeView) -> Html:
    kind, word = _STEPS[restart.step]
    name = f"{restart.namespace}/{restart.pod}/{restart.container}"
    began = f"{restart.since:%H:%M:%S.%f}" if restart.since is not None else ""
    return _RESTARTS.row(
        f"restart {name} {began}",
        (_pod(restart.namespace, restart.pod), "/", Html("<wbr>"), element("b", restart.container)),
        (state(kind, word), _detail(restart.detail)),
        restart.why or NOTHING,
        _took(restart) or _since(restart, view),
        state=f"Restart of {name}: {word}",
    )


def _took(restart: RestartView) -> Child:
    """How long it took and when; None while it goes on."""
    if restart.ended_at is None or restart.seconds is None:
        return None
    at = element("span", f"at {restart.ended_at:%H:%M:%S} UTC", class_="detail")
    return (f"took {units.duration(restart.seconds)}", at)


def _resizes(resizes: Sequence[ResizeView], view: NodeView) -> Html | None:
    return _RESIZES.table(_resize(each, view) for each in resizes) if resizes else None


def _resize(resize: ResizeView, view: NodeView) -> Html:
    key = f"{resize.namespace}/{resize.pod}"
    told = resize.message if resize.state != "InSync" else ""
    return _RESIZES.row(
        f"resize {key}",
        _pod(resize.namespace, resize.pod),
        (state(_RESIZED.get(resize.state, "bad"), resize.state), _detail(told)),
        element("ul", *_changes(resize.changes)) if resize.changes else NOTHING,
        _since(resize, view),
        state=f"Resize of {key}: {resize.state}",
    )


def _changes(changes: Iterable[ChangeView]) -> Iterator[Html]:
    for container, own in groupby(changes, lambda change: change.container):
        facts = element("span", *map(_change, own), class_="facts")
        name = element("span", container or "the pod", class_="quiet")
        yield element("li", name, " ", facts, data_key=container)


def _change(change: ChangeView) -> Html:
    if not change.before:
        return element("span", f"{change.name} {change.wanted}")
    return element("span", f"{change.name} {change.before} → ", element("b", change.wanted))


def _errors(errors: Sequence[ErrorView]) -> Html | None:
    return _ERRORS.table(map(_error, errors)) if errors else None


def _error(error: ErrorView) -> Html:
    return _ERRORS.row(
        None,
        element("span", f"{error.at:%H:%M:%S} UTC", class_="number"),
        _pod(error.namespace, error.pod),
        error.reason,
        element("span", error.message, class_="why"),
    )


def _pod(namespace: str, name: str) -> Html:
    prefix = element("span", f"{namespace}/", Html("<wbr>"), class_="quiet")
    return element("span", prefix, element("b", name), class_="reference")


def _detail(text: str) -> Html | None:
    return element("span", text, class_="detail") if text else None


def _since(told: UpdateView | RestartView | ResizeView, view: NodeView) -> Child:
    if told.since is None:
        return NOTHING
    return clock(units.countdown((view.now - told.since).total_seconds()), told.since, "since")
