"""What jobs look like to a person: rows of the status page and of the command line tool. Pure."""

from collections.abc import Callable, Iterable

from daemon import names
from daemon.debug.views import JobView
from daemon.objects.images import ImageListPullJob, ImagePullJob
from daemon.objects.meta import Key, condition_of

SourceOf = Callable[[str, Key], str]


def job_views(
    jobs: Iterable[ImagePullJob], lists: Iterable[ImageListPullJob], source_of: SourceOf
) -> tuple[JobView, ...]:
    """One row a job, the oldest first."""
    rows = [_list_view(job, source_of) for job in lists] + [_job_view(job, source_of) for job in jobs]
    return tuple(sorted(rows, key=lambda row: (str(row.created_at), row.namespace, row.name)))


def _job_view(job: ImagePullJob, source_of: SourceOf) -> JobView:
    status = job.status
    return JobView(
        kind=job.kind,
        namespace=job.metadata.namespace,
        name=job.metadata.name,
        images=(job.spec.image,),
        desired=status.desired,
        active=status.active,
        succeeded=status.succeeded,
        failed=status.failed,
        message=status.message,
        created_at=job.metadata.creation_timestamp,
        started_at=status.start_time,
        completed_at=status.completion_time,
        conditions=status.conditions,
        source=source_of(job.kind, job.metadata.key),
    )


def _list_view(job: ImageListPullJob, source_of: SourceOf) -> JobView:
    status = job.status
    ready = condition_of(status.conditions, names.READY)
    return JobView(
        kind=job.kind,
        namespace=job.metadata.namespace,
        name=job.metadata.name,
        images=job.spec.images,
        desired=status.desired,
        active=status.active,
        succeeded=status.succeeded,
        failed=len(status.failed_image_statuses),
        message=ready.message if ready else "",
        created_at=job.metadata.creation_timestamp,
        started_at=status.start_time,
        completed_at=status.completion_time,
        conditions=status.conditions,
        source=source_of(job.kind, job.metadata.key),
    )
