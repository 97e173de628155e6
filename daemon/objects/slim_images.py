"""What the controller keeps of NodeImages: what jobs are planned by, and what is alike only once. Pure.

There are as many entries as nodes times images, but few that differ: a job asks all its nodes in the same
words, and most nodes give the same answer.
"""

import functools
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
from msgspec.structs import replace

from daemon.objects.images import (
    AgentStatus,
    ImageEntry,
    ImageStatus,
    ImageTag,
    ImageTagStatus,
    NodeImage,
    NodeImageSpec,
    NodeImageStatus,
    TagPullPolicy,
)
from daemon.objects.meta import ObjectMeta, OwnerReference, Wire

COMPLETED = datetime.min.replace(tzinfo=UTC)
"""Stands for each time at which a pull was completed: all that is read of it is that there is one."""

_ENTRIES = 4096
_PARTS = 1024
"""How many entries, and parts of entries, are remembered to be shared; who finds none has one of its own."""
_LONG = 2048
"""Bytes from which on an entry is not remembered: of a repository with many tags few are alike."""


class _Spec(Wire, frozen=True):
    images: Mapping[str, msgspec.Raw] = {}


class _Status(Wire, frozen=True):
    image_statuses: Mapping[str, ImageStatus] = {}
    agent: AgentStatus | None = None


class _Sent(Wire, frozen=True):
    metadata: ObjectMeta
    spec: _Spec = _Spec()
    status: _Status = _Status()


_SENT = msgspec.json.Decoder(_Sent)
_ENTRY = msgspec.json.Decoder(ImageEntry)


def read(raw: bytes | msgspec.Raw) -> NodeImage:
    """The NodeImage in *raw*, its spec whole, its status as far as jobs read it.

    Raises msgspec.ValidationError.
    """
    sent = _SENT.decode(raw)
    return NodeImage(
        metadata=sent.metadata,
        spec=NodeImageSpec(
            images={sys.intern(name): _wanted(bytes(text)) for name, text in sent.spec.images.items()}
        ),
        status=NodeImageStatus(
            image_statuses={
                sys.intern(name): _told(told.tags) for name, told in sent.status.image_statuses.items()
            },
            agent=sent.status.agent,
        ),
    )


def _wanted(text: bytes) -> ImageEntry:
    """What is wanted of one repository; the same object for all nodes of which the same is."""
    return _shared_entry(text) if len(text) < _LONG else _entry(text)


@functools.lru_cache(_ENTRIES)
def _shared_entry(text: bytes) -> ImageEntry:
    return _entry(text)


def _entry(text: bytes) -> ImageEntry:
    entry = _ENTRY.decode(text)
    return replace(entry, tags=tuple(map(_tag, entry.tags)))


def _tag(tag: ImageTag) -> ImageTag:
    """The tag, all but its time shared: nodes that are asked one by one differ in nothing else."""
    return replace(
        tag,
        tag=_text(tag.tag),
        pull_policy=None if tag.pull_policy is None else _policy(tag.pull_policy),
        owner_references=_owners(tag.owner_references),
        image_pull_policy=_text(tag.image_pull_policy),
    )


@functools.lru_cache(_PARTS)
def _text(text: str) -> str:
    return text


@functools.lru_cache(_PARTS)
def _policy(policy: TagPullPolicy) -> TagPullPolicy:
    return policy


@functools.lru_cache(_PARTS)
def _owners(owners: tuple[OwnerReference, ...]) -> tuple[OwnerReference, ...]:
    return owners


def _essence(tag: ImageTagStatus) -> ImageTagStatus:
    """How far the tag is, and what went wrong; neither when, nor how much of it is there."""
    failed = tag.phase == "Failed" or tag.failures > 0
    return ImageTagStatus(
        tag=tag.tag,
        phase=tag.phase,
        version=tag.version,
        completion_time=None if tag.completion_time is None else COMPLETED,
        message=tag.message if failed else "",
        reason=tag.reason,
        failures=tag.failures,
    )


def _told(tags: tuple[ImageTagStatus, ...]) -> ImageStatus:
    """What the node says of one repository; the same object for all that say the same of its only tag."""
    if len(tags) == 1:
        return _shared_status(_essence(tags[0]))
    return ImageStatus(tags=tuple(_shared_status(_essence(tag)).tags[0] for tag in tags))


@functools.lru_cache(_ENTRIES)
def _shared_status(tag: ImageTagStatus) -> ImageStatus:
    return ImageStatus(tags=(tag,))
