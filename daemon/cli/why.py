"""``kubectl inplaced why``: what a job or a node is waiting for, in words. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from daemon.cli.output import age, clean
from daemon.cli.shares import Share, remark_of, shares_by_job, shares_of, silent_for
from daemon.names import PROGRAM
from daemon.objects.images import ImageListPullJob, ImagePullJob, NodeImage
from daemon.objects.meta import condition_of

SILENT: Final = 60.0
"""Seconds without a sign of life after which an agent counts as dead."""
RELEASE_HINT: Final = "is --release-namespace the release's?"
"""Where no Lease is found at all, they are more likely elsewhere than agents have never run."""
UNSEEN: Final = 10.0
"""Seconds after which a job that nobody took up is worth a word."""
_SHOWN: Final = 20
"""Nodes or images that are listed."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scene:
    """What was read of the cluster, at one moment."""

    now: datetime
    node_images: Mapping[str, NodeImage]
    renewed: Mapping[str, datetime] | None
    """When each node's agent gave its last sign of life; None where Leases may not be read."""
    nodes_hidden: bool = False
    """Whether NodeImages may not be read."""

    def silence(self, node: str) -> str:
        """Why the node's agent cannot be expected to do anything; empty when it can."""
        node_image = self.node_images.get(node)
        if node_image is not None and node_image.status.agent is None and self.renewed is None:
            return "no agent has spoken for this node"
        if self.renewed is None:
            return ""
        if not self.renewed:
            return f"no agent has given a sign of life; {RELEASE_HINT}"
        seconds = silent_for(self.renewed.get(node), self.now)
        if seconds is None:
            return "no agent has given a sign of life on this node"
        return f"its agent has been silent for {age(seconds)}" if seconds > SILENT else ""


def why_job(job: ImagePullJob, scene: Scene) -> Iterator[str]:
    """What the job is waiting for: a headline, then a line for each node that is not done."""
    shares = shares_by_job(scene.node_images.values(), [job.metadata.uid])[job.metadata.uid]
    failures = any(share.phase == "Failed" for share in shares)
    yield f"imagepulljob/{job.metadata.name}: {clean(_headline(job, scene.now, listed=failures))}"
    if job.status.completion_time is None:
        yield from _queue(job, shares)
    open_ones = [share for share in shares if share.phase != "Succeeded"]
    yield from some(open_ones, lambda share: f"  {share.node}: {_share(share, _beside(share, scene), scene)}")
    told = {share.node for share in shares}
    untold = [node for node in job.status.failed_nodes if node not in told]
    yield from some(untold, lambda node: f"  {node}: failed")
    ready = condition_of(job.status.conditions, "Ready")
    if untold and ready is not None and job.status.completion_time is not None:
        yield f"  {clean(ready.message)}"
    if scene.nodes_hidden and not _is_everywhere(job):
        yield "  what its nodes say is not shown: that needs the right to list nodeimages, which you have not"


def _beside(share: Share, scene: Scene) -> Sequence[Share]:
    """All shares of that share's node."""
    node_image = scene.node_images.get(share.node)
    return list(shares_of(node_image)) if node_image is not None else []


def _headline(job: ImagePullJob, now: datetime, *, listed: bool) -> str:
    """The job in a line; where its failures are *listed* below, it does not repeat the first."""
    status = job.status
    if job.metadata.deletion_timestamp is not None:
        return "is being removed"
    if status.completion_time is not None:
        return f"is over. {_counts(job)}"
    return (
        _obstacle(job, now, listed=listed)
        or f"{_counts(job)}{_for_ever(job, everywhere=_is_everywhere(job))}"
    )


def _is_everywhere(job: ImagePullJob) -> bool:
    return bool(job.status.desired) and job.status.succeeded == job.status.desired


def _for_ever(job: ImagePullJob | ImageListPullJob, *, everywhere: bool) -> str:
    """Why a job that has nothing left to do is not over."""
    if job.spec.completion_policy.type != "Never" or not everywhere:
        return ""
    return "; it goes on with nodes that come, as completionPolicy.type is Never"


def _obstacle(job: ImagePullJob, now: datetime, *, listed: bool) -> str:
    """What keeps the whole job from going on; empty when nothing does."""
    status, created = job.status, job.metadata.creation_timestamp
    if status.start_time is None and not status.conditions:
        waited = (now - created).total_seconds() if created is not None else 0.0
        if waited <= UNSEEN:
            return "was just made"
        command = f"kubectl -n {PROGRAM} get deployments,pods"
        return f"nobody has taken it up for {age(waited)}; is the controller running? {command}"
    stalled = condition_of(status.conditions, "Stalled")
    if stalled is not None and stalled.status == "True":
        said = stalled.message.partition("; ")[0] if listed else stalled.message
        return f"is stalled, {stalled.reason}: {said}"
    if job.spec.parallelism in (0, "0", "0%"):
        return "is paused: spec.parallelism is 0"
    if not status.desired:
        return "no node matches it; compare its selector with 'kubectl get nodeimages --show-labels'"
    return ""


def _counts(job: ImagePullJob) -> str:
    status = job.status
    failed = f", {status.failed} failed" if status.failed else ""
    said = remark_of(job)
    return (
        f"{status.succeeded} of {status.desired} nodes have the image{failed}{f' ({said})' if said else ''}"
    )


def _queue(job: ImagePullJob, shares: Sequence[Share]) -> Iterator[str]:
    """Why nodes have not been told yet."""
    left = job.status.desired - len({share.node for share in shares})
    busy = sum(not share.ended for share in shares)
    if left > 0 and busy:
        limit = job.spec.parallelism if job.spec.parallelism is not None else 1
        yield f"  {left} more nodes wait for their turn: {busy} are at work, spec.parallelism is {limit}"


def _share(share: Share, of_node: Sequence[Share], scene: Scene) -> str:
    remedy = f". {share.remedy}" if share.remedy else ""
    if share.phase == "Failed":
        return clean(f"failed. {share.reason}{remedy}")
    if silence := scene.silence(share.node):
        return f"{share.phase.lower()}; {silence}"
    status = share.status
    if status is None:
        return "was told, and has not answered yet"
    if status.phase == "Pulling":
        begun = f" for {age((scene.now - status.start_time).total_seconds())}" if status.start_time else ""
        return f"pulling{begun}, {status.progress} %"
    if share.reason:
        failed = f"attempt {status.failures} failed, is tried again: " if status.failures else "waits: "
        return clean(f"{failed}{share.reason}{remedy}")
    pulling = sum(each.phase == "Pulling" for each in of_node)
    return f"waits for its turn behind {pulling} pulls" if pulling else "waits for its turn"


def why_list(job: ImageListPullJob, children: Sequence[ImagePullJob], scene: Scene) -> Iterator[str]:
    """What the list is waiting for: a headline, then its jobs that are not done."""
    yield clean(f"imagelistpulljob/{job.metadata.name}: {_list_headline(job, children)}")
    for child in children:
        if not _is_everywhere(child) and (child.status.completion_time is None or child.status.failed):
            yield from (f"  {line}" for line in why_job(child, scene))


def _list_headline(job: ImageListPullJob, children: Sequence[ImagePullJob]) -> str:
    """How far the list is; what its jobs say for themselves stands below."""
    stalled = condition_of(job.status.conditions, "Stalled")
    if stalled is not None and stalled.status == "True" and not job.status.failed_image_statuses:
        return f"is stalled, {stalled.reason}: {stalled.message}"
    everywhere = sum(map(_is_everywhere, children))
    failed = len(job.status.failed_image_statuses)
    total = len(job.spec.images)
    counts = f"{everywhere} of {total} images are on all their nodes"
    counts += f", {failed} failed" if failed else ""
    over = "is over. " if job.status.completion_time is not None else ""
    return f"{over}{counts}{_for_ever(job, everywhere=everywhere == total)}"


def why_node(name: str, scene: Scene) -> Iterator[str]:
    """What the node is waiting for: a headline, then a line for each image that is not done."""
    node_image = scene.node_images.get(name)
    if node_image is None:
        yield (
            f"node/{name}: has no NodeImage. The controller makes one when the node is Ready; "
            f"is it? kubectl get node {name}"
        )
        return
    shares = list(shares_of(node_image))
    done = sum(share.phase == "Succeeded" for share in shares)
    silence = scene.silence(name)
    headline = f"{done} of {len(shares)} images are there" if shares else "no image is wanted of it"
    yield f"node/{name}: {headline}{f'; {silence}' if silence else ''}"
    open_ones = [share for share in shares if share.phase != "Succeeded"]
    yield from some(
        open_ones, lambda share: f"  {share.image}: {_share(share, shares, scene)}{_owners(share)}"
    )


def _owners(share: Share) -> str:
    names = [f"{owner.namespace}/{owner.name}" for owner in share.tag.owner_references]
    return f" (for {', '.join(names[:3])}{' and others' if len(names) > 3 else ''})" if names else ""


def some(items: Sequence[T], line: Callable[[T], str]) -> Iterator[str]:
    """A line for each, as long as they are few enough to be read."""
    yield from map(line, items[:_SHOWN])
    if len(items) > _SHOWN:
        yield f"  and {len(items) - _SHOWN} more"
