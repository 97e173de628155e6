"""What becomes of jobs on the nodes of a cluster, read from jobs and NodeImages. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from daemon.debug.views import View
from daemon.nodeimages.pulling import remedy_for
from daemon.objects.images import ImagePullJob, ImageTag, ImageTagStatus, NodeImage
from daemon.objects.meta import condition_of
from daemon.pulljobs.wording import COMPLETED, RUNNING


@dataclass(frozen=True, slots=True)
class Share:
    """One image that one node was told to have."""

    node: str
    image: str
    tag: ImageTag
    status: ImageTagStatus | None
    """None while the node has not spoken of this version of the request."""

    @property
    def phase(self) -> str:
        """As the node tells it."""
        return self.status.phase if self.status is not None else "Told"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.status is not None and self.status.completion_time is not None

    @property
    def reason(self) -> str:
        """Why it failed, or what it waits for: reason and message of the node; empty when all is well."""
        status = self.status
        return ": ".join(part for part in (status.reason, status.message) if part) if status else ""

    @property
    def remedy(self) -> str:
        """What a person can do about it."""
        return remedy_for(self.status.reason) if self.status is not None else ""


def shares_of(node_image: NodeImage) -> Iterator[Share]:
    """Everything that one node was told to have."""
    told = {
        (name, tag.tag, tag.version): tag
        for name, image in node_image.status.image_statuses.items()
        for tag in image.tags
    }
    for name, entry in node_image.spec.images.items():
        for tag in entry.tags:
            joint = "@" if ":" in tag.tag else ":"
            status = told.get((name, tag.tag, tag.version))
            yield Share(node_image.metadata.name, f"{name}{joint}{tag.tag}", tag, status)


def shares_by_job(node_images: Iterable[NodeImage], uids: Iterable[str]) -> Mapping[str, Sequence[Share]]:
    """The shares of those jobs on all nodes, by the job's uid, in the order of the nodes' names."""
    found: dict[str, list[Share]] = {uid: [] for uid in uids}
    for node_image in sorted(node_images, key=lambda each: each.metadata.name):
        for share in shares_of(node_image):
            for owner in share.tag.owner_references:
                if owner.uid in found:
                    found[owner.uid].append(share)
    return found


class NodeFailure(View, frozen=True, kw_only=True):
    """Why an image is not on one node."""

    node: str
    reason: str
    message: str
    remedy: str = ""


class JobResult(View, frozen=True, kw_only=True):
    """What became of one image on all nodes, in the final document of ``kubectl inplaced pull``."""

    image: str
    job: str
    finished: bool
    desired: int
    succeeded: int
    failed: int
    seconds: float
    message: str = ""
    failures: tuple[NodeFailure, ...] = ()


@dataclass(frozen=True, slots=True)
class Tracked:
    """One job that is being followed."""

    image: str
    """As typed."""
    job: ImagePullJob
    shares: Sequence[Share] = ()
    """As far as they may be read."""
    failures: tuple[NodeFailure, ...] = ()
    """Of all nodes that were seen to fail: their shares may go before the job is looked at."""
    gone: bool = False
    seconds: float = 0.0
    """From the request to the end, or to the last look."""

    @property
    def name(self) -> str:
        """namespace/name of the job."""
        return str(self.job.metadata.key)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.gone or self.job.status.completion_time is not None

    @property
    def succeeded(self) -> bool:
        """Whether the image is on every node that was asked for, and there is one at least."""
        status = self.job.status
        done = status.completion_time is not None
        return done and not status.failed and status.succeeded >= status.desired > 0

    @property
    def running(self) -> Sequence[Share]:
        """Those that are being pulled now, the furthest first."""
        moving = [share for share in self.shares if share.phase == "Pulling"]
        return sorted(moving, key=lambda share: -(share.status.progress if share.status else 0))

    @property
    def held_up(self) -> Sequence[Share]:
        """Those that wait for more than their turn."""
        return [share for share in self.shares if share.phase == "Waiting" and share.reason]


def track(tracked: Tracked, job: ImagePullJob | None, shares: Sequence[Share], seconds: float) -> Tracked:
    """*tracked* after a look at the cluster, *seconds* after the request. The end is final."""
    if tracked.ended:
        return tracked
    known = {failure.node: failure for failure in tracked.failures}
    for share in shares:
        if share.phase == "Failed" and share.status is not None:
            known[share.node] = NodeFailure(
                node=share.node,
                reason=share.status.reason or "Failed",
                message=share.status.message,
                remedy=share.remedy,
            )
    return replace(
        tracked,
        job=job or tracked.job,
        gone=job is None,
        shares=shares,
        failures=tuple(known.values()),
        seconds=seconds,
    )


def result_of(tracked: Tracked) -> JobResult:
    """The row of the final document."""
    status = tracked.job.status
    told = {failure.node for failure in tracked.failures}
    rest = [
        NodeFailure(node=node, reason="Failed", message="see 'kubectl inplaced why'")
        for node in status.failed_nodes
        if node not in told
    ]
    return JobResult(
        image=tracked.image,
        job=tracked.name,
        finished=tracked.ended,
        desired=status.desired,
        succeeded=status.succeeded,
        failed=status.failed,
        seconds=round(tracked.seconds, 1),
        message="the job was removed" if tracked.gone else message_of(tracked.job),
        failures=(*tracked.failures, *rest),
    )


def message_of(job: ImagePullJob) -> str:
    """What the job says of itself."""
    ready = condition_of(job.status.conditions, "Ready")
    return job.status.message or (ready.message if ready is not None else "")


def remark_of(job: ImagePullJob) -> str:
    """What the job says beyond how many nodes have the image."""
    ready = condition_of(job.status.conditions, "Ready")
    if job.status.completion_time is not None and not job.status.desired and ready is not None:
        return ready.message
    said = job.status.message
    return "" if said == COMPLETED or said.startswith(f"{RUNNING}, ") else message_of(job)


def silent_for(renewed: datetime | None, now: datetime) -> float | None:
    """Seconds since a node's agent gave its last sign of life; None when it never did."""
    return max((now - renewed).total_seconds(), 0.0) if renewed is not None else None
