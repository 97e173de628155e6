"""Decides which ImagePullJobs an ImageListPullJob consists of, and what its status says. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from daemon import names
from daemon.objects.images import (
    FailedImageStatus,
    ImageListPullJob,
    ImageListPullJobStatus,
    ImagePullJob,
    ImagePullJobSpec,
)
from daemon.objects.kstatus import Told, kstatus
from daemon.objects.meta import Condition, ObjectMeta, OwnerReference, condition_of

_NAME_LIMIT = 253


@dataclass(frozen=True, slots=True, kw_only=True)
class ListObserved:
    """The list and its children at one time."""

    job: ImageListPullJob
    wanted: Mapping[str, ImagePullJob]
    """As ``children_of`` tells."""
    children: Sequence[ImagePullJob]
    now: datetime


@dataclass(frozen=True, slots=True)
class Create:
    """Make a child."""

    child: ImagePullJob


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a child that the list no longer wants."""

    child: ImagePullJob


@dataclass(frozen=True, slots=True)
class RemoveList:
    """Delete the list: its TTL has passed. Its children go with it."""


ListAction = Create | Delete | RemoveList


@dataclass(frozen=True, slots=True)
class ListPlan:
    """What to do now, what to report, and when time alone changes the answer."""

    status: ImageListPullJobStatus
    actions: tuple[ListAction, ...] = ()
    wake_in: float | None = None


def is_child(job: ImageListPullJob, child: ImagePullJob) -> bool:
    """Tell whether *child* was made for *job*."""
    return any(owner.uid == job.metadata.uid for owner in child.metadata.owner_references)


def children_of(job: ImageListPullJob) -> Mapping[str, ImagePullJob]:
    """The jobs that the list consists of, by name."""
    return {child.metadata.name: child for child in (_child(job, image) for image in job.spec.images)}


def plan_list(seen: ListObserved) -> ListPlan:
    """Decide. The children of an ended list are left as they are, so that none is made or pulled twice."""
    job = seen.job
    if job.status.completion_time is not None and job.status.observed_generation == job.metadata.generation:
        return _after_the_end(seen, job.status.completion_time)
    wanted = seen.wanted
    present = {child.metadata.name: child for child in seen.children}
    actions: list[ListAction] = [Delete(child) for name, child in present.items() if name not in wanted]
    actions += [Create(child) for name, child in wanted.items() if name not in present]
    status = _status(seen, {name: present[name] for name in wanted if name in present})
    return ListPlan(status, tuple(actions), wake_in=0.0 if status.completion_time else None)


def _after_the_end(seen: ListObserved, ended: datetime) -> ListPlan:
    ttl = seen.job.spec.completion_policy.ttl_seconds_after_finished
    if ttl is None:
        return ListPlan(seen.job.status)
    left = ttl - (seen.now - ended) / timedelta(seconds=1)
    if left > 0:
        return ListPlan(seen.job.status, wake_in=left)
    return ListPlan(seen.job.status, (RemoveList(),))


def _child(job: ImageListPullJob, image: str) -> ImagePullJob:
    """The child for *image*; its name tells the template, so that an edited list makes other children."""
    fields = {name: getattr(job.spec, name) for name in ImagePullJobSpec.__struct_fields__ if name != "image"}
    spec = _without_ttl(ImagePullJobSpec(image=image, **fields))
    digest = hashlib.sha256(msgspec.json.encode(spec, order="deterministic")).hexdigest()[:10]
    return ImagePullJob(
        metadata=ObjectMeta(
            name=f"{job.metadata.name[: _NAME_LIMIT - 11]}-{digest}",
            namespace=job.metadata.namespace,
            labels={**job.metadata.labels, names.TEMPLATE_HASH_LABEL: digest},
            annotations={
                name: text
                for name, text in job.metadata.annotations.items()
                if name == names.PRIORITY_ANNOTATION
            },
            owner_references=(_owner(job),),
        ),
        spec=spec,
    )


def _without_ttl(spec: ImagePullJobSpec) -> ImagePullJobSpec:
    """A child that ends early must not vanish before its list has: it would be made, and pulled, again."""
    completion = msgspec.structs.replace(spec.completion_policy, ttl_seconds_after_finished=None)
    return msgspec.structs.replace(spec, completion_policy=completion)


def _owner(job: ImageListPullJob) -> OwnerReference:
    return OwnerReference(
        api_version=names.KRUISE_API,
        kind=job.kind,
        name=job.metadata.name,
        uid=job.metadata.uid,
        controller=True,
    )


def _status(seen: ListObserved, children: Mapping[str, ImagePullJob]) -> ImageListPullJobStatus:
    job = seen.job
    current = [child for child in children.values() if _is_told(child)]
    done = [child for child in current if child.status.completion_time is not None]
    failed = tuple(_failure(child) for child in current if child.status.failed)
    succeeded = sum(child.status.failed == 0 for child in done)
    over = job.spec.completion_policy.type == "Always" and len(done) == len(job.spec.images)
    before = job.status if job.status.observed_generation == job.metadata.generation else None
    return ImageListPullJobStatus(
        start_time=(before.start_time if before else None) or seen.now,
        completion_time=seen.now if over else None,
        desired=len(job.spec.images),
        active=len(current) - len(done),
        completed=len(done),
        succeeded=succeeded,
        failed_image_statuses=failed,
        observed_generation=job.metadata.generation,
        conditions=_conditions(seen, failed, done=len(done), over=over),
    )


def _is_told(child: ImagePullJob) -> bool:
    return child.status.observed_generation == child.metadata.generation


def _failure(child: ImagePullJob) -> FailedImageStatus:
    ready = condition_of(child.status.conditions, names.READY)
    return FailedImageStatus(
        image_pull_job=child.metadata.name,
        name=child.spec.image,
        message=ready.message if ready else child.status.message,
    )


def _conditions(
    seen: ListObserved, failed: tuple[FailedImageStatus, ...], *, done: int, over: bool
) -> tuple[Condition, ...]:
    total = len(seen.job.spec.images)
    stalled = over and bool(failed)
    reason = ("PullFailed" if failed else "Completed") if over else "Pulling"
    message = f"{done} of {total} images are done"
    if failed:
        message += f"; {failed[0].name}: {failed[0].message}"
    told = Told(reason, message, ready=over and not failed, reconciling=not over, stalled=stalled)
    return kstatus(seen.job, told, seen.now)
