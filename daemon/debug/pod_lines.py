"""What changes in place on a node as text, one line a thing: for curl and for a terminal. Pure."""

from collections.abc import Sequence
from datetime import datetime

from daemon.debug import units
from daemon.debug.units import one_line
from daemon.debug.views import ChangeView, ErrorView, PodsView, ResizeView, RestartView, UpdateView


def lists(pods: PodsView, now: datetime) -> Sequence[tuple[str, Sequence[str]]]:
    """Each list with its title, also those with nothing on them."""
    return (
        ("Updates", [_update(each, now) for each in pods.updates]),
        ("Restarts", [_restart(each, now) for each in pods.restarts]),
        ("Resizes", [_resize(each, now) for each in pods.resizes]),
        ("Last errors", [_error(each) for each in pods.errors]),
    )


def _since(moment: datetime | None, now: datetime) -> str:
    return f", for {units.countdown((now - moment).total_seconds())}" if moment is not None else ""


def _update(update: UpdateView, now: datetime) -> str:
    told = one_line(update.message) or "announced"
    said = f"{update.reason or 'Waiting'}, {told}{_since(update.since, now)}"
    return one_line(f"{update.namespace}/{update.pod} to {update.revision}: {said}")


def _restart(restart: RestartView, now: datetime) -> str:
    name = f"{restart.namespace}/{restart.pod}/{restart.container}"
    took = f", took {units.duration(restart.seconds)}" if restart.seconds is not None else ""
    parts = filter(None, (name, restart.why, restart.step, restart.detail))
    return one_line(": ".join(parts)) + (took or _since(restart.since, now))


def _resize(resize: ResizeView, now: datetime) -> str:
    changes = "; ".join(map(_change, resize.changes))
    parts = filter(None, (f"{resize.namespace}/{resize.pod}", changes, resize.state, resize.message))
    return one_line(": ".join(parts)) + _since(resize.since, now)


def _change(change: ChangeView) -> str:
    before = f" {change.before} ->" if change.before else ""
    return f"{change.container or 'the pod'} {change.name}{before} {change.wanted}"


def _error(error: ErrorView) -> str:
    about = f"{error.namespace}/{error.pod}: {error.reason}: {error.message}"
    return f"{error.at:%Y-%m-%d %H:%M:%S} {one_line(about)}"
