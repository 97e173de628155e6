"""One job's share in a NodeImage: how its tag gets in, is shared with other jobs, and leaves. Pure."""

import functools
import math
from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

import msgspec

from daemon import names
from daemon.objects.images import (
    ImageEntry,
    ImagePullJob,
    ImageTag,
    ImageTagStatus,
    NodeImage,
    NodeImageSpec,
    PullPolicy,
    SecretReference,
    TagPullPolicy,
)
from daemon.objects.meta import OwnerReference
from daemon.objects.references import parse

T = TypeVar("T")


class Place(NamedTuple):
    """Where an image stands in a NodeImage."""

    name: str
    """Of the repository."""
    tag: str
    """Or a digest."""


@functools.lru_cache(maxsize=4096)
def place_of(image: str) -> Place:
    """Where the image of a job stands, found out once for all its nodes. Raises InvalidReferenceError."""
    ref = parse(image)
    return Place(ref.familiar_name, ref.version)


def tag_of(node_image: NodeImage, job: ImagePullJob) -> ImageTag | None:
    """The job's tag on that node, if the job is one of its owners."""
    place = place_of(job.spec.image)
    entry = node_image.spec.images.get(place.name)
    found = _tag(entry, place.tag) if entry is not None else None
    return found if found is not None and _owns(job, found) else None


def status_of(node_image: NodeImage, job: ImagePullJob) -> ImageTagStatus | None:
    """What the node says of the job's tag, if it speaks of the version that is wanted."""
    tag = tag_of(node_image, job)
    return answer_of(node_image, job, tag) if tag is not None else None


def answer_of(node_image: NodeImage, job: ImagePullJob, tag: ImageTag) -> ImageTagStatus | None:
    """What the node says of *tag*, which is the job's, if it speaks of that version."""
    status = _status(node_image, place_of(job.spec.image))
    return status if status is not None and status.version == tag.version else None


def with_job(node_image: NodeImage, job: ImagePullJob, now: datetime, ttl: int) -> NodeImageSpec:
    """The spec in which the node is asked for the job's image.

    A tag of another job that is over is asked for anew (version + 1), so that this job gets an answer of its
    own; one that is still being worked on is shared, with the wider bounds of both: each job minds its own.
    A job that alone owns the tag can also narrow its bounds.
    """
    place = place_of(job.spec.image)
    images = dict(node_image.spec.images)
    entry = images.get(place.name, ImageEntry())
    old = _tag(entry, place.tag)
    status = _status(node_image, place)
    new = _new_tag(job, place.tag, now, ttl, version=_next_version(old, status))
    if old is not None:
        new = _shared(old, new, status)
    images[place.name] = ImageEntry(
        pull_secrets=_union(entry.pull_secrets, _secrets(job)),
        tags=(*(tag for tag in entry.tags if tag.tag != new.tag), new),
        sandbox_config=job.spec.sandbox_config or entry.sandbox_config,
    )
    return NodeImageSpec(images=images)


def without_job(
    node_image: NodeImage,
    uid: str,
    *,
    keep: tuple[str, str] | None = None,
    among: Collection[str] | None = None,
) -> NodeImageSpec:
    """The spec without the share of the job *uid*, but for its tag *keep* (repository name, tag).

    *among* names the repositories of which it may own tags, where that is known.
    """
    wanted = node_image.spec.images
    concerned = wanted.keys() if among is None else wanted.keys() & among
    if not concerned:
        return node_image.spec
    images = dict(wanted)
    for name in concerned:
        entry = wanted[name]
        tags = [_disowned(tag, uid) if (name, tag.tag) != keep else tag for tag in entry.tags]
        left = tuple(tag for tag in tags if tag is not None)
        if left:
            images[name] = msgspec.structs.replace(entry, tags=left)
        else:
            del images[name]
    return NodeImageSpec(images=images)


def repositories_by_owner(spec: NodeImageSpec) -> Mapping[str, set[str]]:
    """In which repositories each owner has tags, by its UID."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name, entry in spec.images.items():
        for tag in entry.tags:
            for owner in tag.owner_references:
                found[owner.uid].add(name)
    return found


def _disowned(tag: ImageTag, uid: str) -> ImageTag | None:
    owners = tuple(owner for owner in tag.owner_references if owner.uid != uid)
    if len(owners) == len(tag.owner_references):
        return tag
    return msgspec.structs.replace(tag, owner_references=owners) if owners else None


def _owns(job: ImagePullJob, tag: ImageTag) -> bool:
    return job.metadata.uid in [owner.uid for owner in tag.owner_references]


def _tag(entry: ImageEntry, tag: str) -> ImageTag | None:
    for each in entry.tags:
        if each.tag == tag:
            return each
    return None


def _status(node_image: NodeImage, place: Place) -> ImageTagStatus | None:
    image = node_image.status.image_statuses.get(place.name)
    for each in image.tags if image is not None else ():
        if each.tag == place.tag:
            return each
    return None


def _next_version(old: ImageTag | None, status: ImageTagStatus | None) -> int:
    """Above everything seen, so that a tag that was removed and comes back is looked at again."""
    return max(old.version if old else -1, status.version if status else -1) + 1


def _new_tag(job: ImagePullJob, tag: str, now: datetime, ttl: int, *, version: int) -> ImageTag:
    policy, completion = job.spec.pull_policy, job.spec.completion_policy
    return ImageTag(
        tag=tag,
        created_at=now,
        pull_policy=TagPullPolicy(
            timeout_seconds=_timeout(policy, completion.active_deadline_seconds),
            backoff_limit=policy.backoff_limit,
            active_deadline_seconds=completion.active_deadline_seconds,
            ttl_seconds_after_finished=ttl,
        ),
        owner_references=(_owner(job),),
        version=version,
        image_pull_policy=job.spec.image_pull_policy,
        priority=priority_of(job),
    )


def _timeout(policy: PullPolicy, deadline: int | None) -> int:
    return policy.timeout_seconds if deadline is None else min(policy.timeout_seconds, deadline)


def priority_of(job: ImagePullJob) -> int:
    """The job's priority; what is no integer counts as 0 (validation has told it)."""
    text = job.metadata.annotations.get(names.PRIORITY_ANNOTATION, "0")
    try:
        return max(-(2**31), min(int(text), 2**31 - 1))
    except ValueError:
        return 0


def _owner(job: ImagePullJob) -> OwnerReference:
    return OwnerReference(
        api_version=names.KRUISE_API,
        kind=job.kind,
        namespace=job.metadata.namespace,
        name=job.metadata.name,
        uid=job.metadata.uid,
    )


def _secrets(job: ImagePullJob) -> tuple[SecretReference, ...]:
    return tuple(
        SecretReference(namespace=job.metadata.namespace, name=name) for name in job.spec.pull_secrets
    )


def _shared(old: ImageTag, new: ImageTag, status: ImageTagStatus | None) -> ImageTag:
    over = status is not None and status.version == old.version and status.completion_time is not None
    stricter = new.image_pull_policy == "Always" and old.image_pull_policy != "Always"
    again = over or stricter
    alone = _owners(old) == _owners(new)
    return msgspec.structs.replace(
        new,
        version=new.version if again else old.version,
        created_at=new.created_at if again else old.created_at,
        image_pull_policy=new.image_pull_policy if again or alone else old.image_pull_policy,
        owner_references=_union(old.owner_references, new.owner_references),
        pull_policy=new.pull_policy if over or alone else _joined(old, new, again),
        priority=new.priority if alone else max(old.priority, new.priority),
    )


def _owners(tag: ImageTag) -> set[str]:
    return {owner.uid for owner in tag.owner_references}


def _joined(old: ImageTag, new: ImageTag, again: bool) -> TagPullPolicy:
    """Bounds under which both requests can end by their own bounds: each job minds its own.

    The node counts the deadline from the creation of the tag, which is before that of a job that joins.
    """
    one, other = old.pull_policy or TagPullPolicy(), new.pull_policy or TagPullPolicy()
    joins = not _owners(new) <= _owners(old)
    if joins and not again and other.active_deadline_seconds is not None:
        later = other.active_deadline_seconds + _seconds(old.created_at, new.created_at)
        other = msgspec.structs.replace(other, active_deadline_seconds=later)
    return TagPullPolicy(
        timeout_seconds=_widest(one.timeout_seconds, other.timeout_seconds),
        backoff_limit=_widest(one.backoff_limit, other.backoff_limit),
        active_deadline_seconds=_widest(one.active_deadline_seconds, other.active_deadline_seconds),
        ttl_seconds_after_finished=_widest(one.ttl_seconds_after_finished, other.ttl_seconds_after_finished),
    )


def _seconds(since: datetime | None, until: datetime | None) -> int:
    return max(math.ceil((until - since) / timedelta(seconds=1)), 0) if since and until else 0


def _widest(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else max(one, other)


def _union(one: tuple[T, ...], other: tuple[T, ...]) -> tuple[T, ...]:
    return (*one, *(item for item in other if item not in one))
