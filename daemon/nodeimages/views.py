"""What the node's images look like to a person: rows of the status page and the command line. Pure."""

from collections.abc import Collection, Mapping
from typing import Literal

import msgspec

from daemon.cri.progress import Progress
from daemon.debug.views import LayerView, PullView
from daemon.nodeimages.plans import (
    Failure,
    Stage,
    Wanted,
)
from daemon.nodeimages.pulling import remedy_for
from daemon.nodeimages.records import Record
from daemon.objects.images import ImageTagStatus

PullPhase = Literal["Waiting", "Pulling", "Unpacking", "BackingOff", "Succeeded", "Failed"]


class Known(msgspec.Struct, frozen=True):
    """Everything that is known of the node's images."""

    wanted: Mapping[str, Wanted]
    report: Mapping[str, ImageTagStatus]
    records: Mapping[str, Record]
    running: Mapping[str, Progress]
    held: Mapping[str, Failure]
    pinned: Collection[str]
    last: Mapping[str, Progress]
    """Of pulls that have ended."""


def pull_views(known: Known) -> tuple[PullView, ...]:
    """One row an image: running ones first, then by priority and age."""
    rows = [_view(known, item) for item in known.wanted.values()]
    order = {"Pulling": 0, "Unpacking": 0, "BackingOff": 1, "Waiting": 2, "Failed": 3, "Succeeded": 4}
    rows.sort(key=lambda row: (order[row.phase], -row.priority, str(row.created_at), row.image))
    return tuple(rows)


def _view(known: Known, wanted: Wanted) -> PullView:
    ref = wanted.ref
    status = known.report.get(ref) or ImageTagStatus(tag=wanted.tag, phase="Waiting", version=wanted.version)
    record = known.records.get(ref)
    # A request that found its image there fetched nothing, whatever an earlier one had to fetch.
    last = known.last.get(ref) if status.start_time is not None else None
    progress = known.running.get(ref) or last
    phase = _phase(status, record, progress)
    return PullView(
        image=ref,
        phase=phase,
        version=wanted.version,
        priority=wanted.priority,
        percent=_percent(phase, progress),
        bytes_done=progress.done if progress else 0,
        bytes_total=progress.total if progress and progress.known else 0,
        bytes_reused=progress.reused if progress else 0,
        rate=progress.rate if progress and phase == "Pulling" else 0.0,
        seconds_left=progress.seconds_left if progress and phase == "Pulling" else None,
        layers=_layers(progress),
        failures=status.failures,
        retry_at=record.retry_time if record and phase == "BackingOff" else None,
        created_at=wanted.created_at,
        started_at=status.start_time,
        completed_at=status.completion_time,
        reason=status.reason,
        message=status.message,
        remedy=remedy_for(status.reason),
        pinned=ref in known.pinned,
        image_id=status.image_id,
        owners=wanted.owners,
    )


def _phase(status: ImageTagStatus, record: Record | None, progress: Progress | None) -> PullPhase:
    if status.phase == "Pulling" and progress is not None and progress.phase != "Pulling":
        return "Unpacking"
    if status.phase == "Waiting" and record is not None and record.stage is Stage.IDLE and record.failure:
        return "BackingOff"
    return status.phase


def _percent(phase: PullPhase, progress: Progress | None) -> int:
    if phase == "Succeeded":
        return 100
    return progress.percent if progress is not None and phase in ("Pulling", "Unpacking") else 0


def _layers(progress: Progress | None) -> tuple[LayerView, ...]:
    if progress is None:
        return ()
    return tuple(
        LayerView(digest=layer.digest, size=layer.size, done=layer.done, state=layer.state)
        for layer in progress.layers
    )
