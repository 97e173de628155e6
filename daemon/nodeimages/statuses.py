"""What a node says of its images, in the wire format, and how much of it is news. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from enum import IntEnum
from itertools import groupby

import msgspec

from daemon.nodeimages.plans import Wanted
from daemon.objects.images import AgentStatus, ImageStatus, ImageTagStatus, NodeImageStatus
from daemon.objects.kstatus import Told, three
from daemon.objects.meta import with_conditions


class News(IntEnum):
    """What is new in a status, the more urgent the higher."""

    NONE = 0
    PROGRESS = 1
    """Only bytes came."""
    CHANGE = 2
    """Something began, waits for another reason, or is gone."""
    END = 3
    """A request is over, while others go on."""
    LAST_END = 4
    """The last request that had not ended is over."""


def status_of(wanted: Iterable[Wanted], report: Mapping[str, ImageTagStatus]) -> NodeImageStatus:
    """The counts of tags, and one entry a tag, in stable order."""
    told = [(item.name, report[item.ref]) for item in wanted if item.ref in report]
    told.sort(key=lambda pair: (pair[0], pair[1].tag))
    phases = [status.phase for _, status in told]
    return NodeImageStatus(
        desired=len(told),
        succeeded=phases.count("Succeeded"),
        failed=phases.count("Failed"),
        pulling=phases.count("Pulling"),
        waiting=phases.count("Waiting"),
        image_statuses={
            name: ImageStatus(tags=tuple(status for _, status in group))
            for name, group in groupby(told, key=lambda pair: pair[0])
        },
    )


def described(
    status: NodeImageStatus, before: NodeImageStatus, *, agent: AgentStatus, generation: int, now: datetime
) -> NodeImageStatus:
    """*status* with what a cluster wants to know besides: who speaks, of which spec, and the conditions."""
    conditions = with_conditions(before.conditions, three(_told(status), generation), now)
    return msgspec.structs.replace(status, agent=agent, observed_generation=generation, conditions=conditions)


def _told(status: NodeImageStatus) -> Told:
    moving = bool(status.pulling + status.waiting)
    failed = bool(status.failed)
    message = f"{status.succeeded} of {status.desired} images are on the node"
    return Told(
        "Pulling" if moving else "PullFailed" if failed else "Present",
        f"{message}, {status.failed} failed" if failed else message,
        ready=not moving and not failed,
        reconciling=moving,
        stalled=failed and not moving,
    )


def news(before: NodeImageStatus, after: NodeImageStatus) -> News:
    """What *after* tells that *before* did not."""
    if before == after:
        return News.NONE
    if ended(before, after):
        return News.END if moves(after) else News.LAST_END
    return News.PROGRESS if _without_progress(before) == _without_progress(after) else News.CHANGE


def ended(before: NodeImageStatus, after: NodeImageStatus) -> list[tuple[str, ImageTagStatus]]:
    """The requests whose end *after* tells and *before* did not, with their repository's name."""
    old = {(name, tag.tag): tag for name, tag in _tags(before)}
    return [
        (name, tag)
        for name, tag in _tags(after)
        if tag.completion_time is not None and not _is_same_end(old.get((name, tag.tag)), tag)
    ]


def moves(status: NodeImageStatus) -> bool:
    """Whether another end may follow soon: what waits for its retry may do so for minutes."""
    return any(
        tag.completion_time is None and (tag.phase == "Pulling" or not tag.reason) for _, tag in _tags(status)
    )


def _is_same_end(old: ImageTagStatus | None, new: ImageTagStatus) -> bool:
    return old is not None and old.version == new.version and old.completion_time is not None


def _tags(status: NodeImageStatus) -> Iterator[tuple[str, ImageTagStatus]]:
    for name, image in status.image_statuses.items():
        for tag in image.tags:
            yield name, tag


def _without_progress(status: NodeImageStatus) -> NodeImageStatus:
    return msgspec.structs.replace(
        status,
        image_statuses={
            name: ImageStatus(tags=tuple(msgspec.structs.replace(tag, progress=0) for tag in image.tags))
            for name, image in status.image_statuses.items()
        },
    )
