"""Reads a NodeImage's spec into the flat list that the planner works on. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from daemon.nodeimages.plans import Failure, Wanted
from daemon.objects.images import (
    DEFAULT_BACKOFF_LIMIT,
    DEFAULT_TIMEOUT_SECONDS,
    ImageEntry,
    ImageTag,
    ImageTagStatus,
    NodeImage,
    TagPullPolicy,
)
from daemon.objects.references import InvalidReferenceError, join, parse

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST = 2**31
"""Seconds of a deadline beyond which it is none: 68 years."""


def wanted_of(node_image: NodeImage) -> Sequence[Wanted]:
    """Every tag of the spec. A tag that cannot be pulled as it stands carries its problem."""
    return [_wanted(name, entry, tag) for name, entry in node_image.spec.images.items() for tag in entry.tags]


def recorded_of(node_image: NodeImage) -> dict[str, ImageTagStatus]:
    """The last written status of each tag, by reference."""
    return {
        _ref(name, status.tag): status
        for name, image in node_image.status.image_statuses.items()
        for status in image.tags
    }


@lru_cache(maxsize=1024)
def _ref(name: str, tag: str) -> str:
    """The full reference as CRI wants it; as written where it cannot be parsed."""
    text = join(name, tag)
    try:
        return parse(text).canonical
    except InvalidReferenceError:
        return text


@lru_cache(maxsize=1024)
def _problem(name: str, tag: str) -> Failure | None:
    try:
        parse(join(name, tag))
    except InvalidReferenceError as error:
        return Failure("InvalidReference", str(error), "correct the image in the job", final=True)
    return None


def _wanted(name: str, entry: ImageEntry, tag: ImageTag) -> Wanted:
    policy = tag.pull_policy or TagPullPolicy()
    created = tag.created_at or _EPOCH
    sandbox = entry.sandbox_config
    return Wanted(
        ref=_ref(name, tag.tag),
        name=name,
        tag=tag.tag,
        version=tag.version,
        created_at=created,
        rule="Always" if tag.image_pull_policy == "Always" else "IfNotPresent",
        priority=tag.priority,
        timeout=float(_positive(policy.timeout_seconds, DEFAULT_TIMEOUT_SECONDS)),
        backoff_limit=_backoff_limit(policy),
        deadline_at=_deadline(created, policy.active_deadline_seconds),
        secrets=entry.pull_secrets,
        labels=tuple(sorted(sandbox.labels.items())) if sandbox else (),
        annotations=tuple(sorted(sandbox.annotations.items())) if sandbox else (),
        owners=tuple(f"{owner.kind}/{owner.namespace}/{owner.name}" for owner in tag.owner_references),
        problem=_problem(name, tag.tag),
    )


def _deadline(created: datetime, seconds: int | None) -> datetime | None:
    """The field has 64 bits on the wire: more than a date can be moved by."""
    if seconds is None or seconds <= 0 or seconds > _LONGEST:
        return None
    return created + timedelta(seconds=seconds)


def _positive(value: int | None, default: int) -> int:
    return value if value is not None and value > 0 else default


def _backoff_limit(policy: TagPullPolicy) -> int:
    """OpenKruise reads a negative limit as its default."""
    limit = policy.backoff_limit
    return limit if limit is not None and limit >= 0 else DEFAULT_BACKOFF_LIMIT
