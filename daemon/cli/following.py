"""What becomes of the images that were asked for, read from the agent's views. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from daemon.debug.views import JobView, NodeView, PullView, View

UNSEEN: Final = 10.0
"""Seconds after which a job that never was in a view is taken for removed."""

Result = Literal["Succeeded", "Failed", "Unfinished"]


class PullResult(View, frozen=True, kw_only=True):
    """One image in the final document of ``inplaced pull``."""

    image: str
    job: str
    result: Result
    seconds: float
    bytes_fetched: int = 0
    bytes_reused: int = 0
    image_id: str = ""
    pinned: bool = False
    reason: str = ""
    message: str = ""
    remedy: str = ""


class PullReport(View, frozen=True, kw_only=True):
    """The final document of ``inplaced pull``."""

    results: tuple[PullResult, ...]
    succeeded: int
    failed: int
    unfinished: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Followed:
    """One image that was asked for, as far as it is known."""

    image: str
    """As typed."""
    job: str
    """namespace/name; empty when pulled without an agent."""
    pull: PullView | None = None
    seen: bool = False
    result: Result = "Unfinished"
    seconds: float = 0.0
    """From the request to the end, or to the last look."""
    reason: str = ""
    message: str = ""
    remedy: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.result != "Unfinished"

    @property
    def phase(self) -> str:
        """The pull's phase; Waiting until the agent took it up."""
        return self.result if self.ended else self.pull.phase if self.pull else "Waiting"


def look(followed: Followed, view: NodeView, seconds: float) -> Followed:
    """*followed* after *view*, which came *seconds* after the request. The end is final."""
    if followed.ended:
        return followed
    job = next((job for job in view.jobs if _is(job, followed.job)), None)
    pull = next((pull for pull in view.pulls if _owned(pull, followed.job)), followed.pull)
    after = replace(followed, pull=pull, seconds=seconds, seen=followed.seen or job is not None)
    if job is not None:
        return _end(after, job) if job.completed_at is not None else after
    return _gone(after) if after.seen or seconds > UNSEEN else after


def look_directly(followed: Followed, pulls: Sequence[PullView], image: str, seconds: float) -> Followed:
    """*followed* after a look at the pulls of this very process, which call it *image*. The end is final."""
    pull = next((pull for pull in pulls if pull.image == image), None)
    if followed.ended or pull is None:
        return followed
    after = replace(followed, pull=pull, seconds=seconds)
    match pull.phase:
        case "Succeeded":
            return replace(after, result="Succeeded")
        case "Failed":
            reason = pull.reason or "Failed"
            return replace(after, result="Failed", reason=reason, message=pull.message, remedy=pull.remedy)
        case _:
            return after


def _is(job: JobView, key: str) -> bool:
    return job.kind == "ImagePullJob" and f"{job.namespace}/{job.name}" == key


def _owned(pull: PullView, key: str) -> bool:
    return f"ImagePullJob/{key}" in pull.owners


def _end(followed: Followed, job: JobView) -> Followed:
    if not job.failed and job.succeeded >= job.desired:
        return replace(followed, result="Succeeded")
    pull = followed.pull
    # The job may have failed by itself, by its deadline, while the pull it wanted goes on for others.
    own = pull if pull is not None and pull.phase == "Failed" else None
    return replace(
        followed,
        result="Failed",
        reason=(own.reason if own else "") or _reason(job),
        message=own.message if own else job.message,
        remedy=own.remedy if own else "",
    )


def _reason(job: JobView) -> str:
    bad = (one for one in job.conditions if one.type in {"Ready", "Stalled"} and one.reason)
    return next((condition.reason for condition in bad), "Failed")


def _gone(followed: Followed) -> Followed:
    if followed.pull is not None and followed.pull.phase == "Succeeded":
        return replace(followed, result="Succeeded")
    return replace(
        followed,
        result="Failed",
        reason="Removed",
        message="the request was removed before its end was seen",
        remedy="ask again, with a longer --ttl",
    )


def report(every: Sequence[Followed], seconds: float) -> PullReport:
    """The final document."""
    counts = {one: sum(item.result == one for item in every) for one in ("Succeeded", "Failed", "Unfinished")}
    return PullReport(
        results=tuple(_result(item) for item in every),
        succeeded=counts["Succeeded"],
        failed=counts["Failed"],
        unfinished=counts["Unfinished"],
        seconds=round(seconds, 1),
    )


def _result(item: Followed) -> PullResult:
    pull = item.pull or PullView(image=item.image, phase="Waiting")
    return PullResult(
        image=item.image,
        job=item.job,
        result=item.result,
        seconds=round(item.seconds, 1),
        bytes_fetched=pull.bytes_done,
        bytes_reused=pull.bytes_reused,
        image_id=pull.image_id,
        pinned=pull.pinned,
        reason=item.reason,
        message=item.message,
        remedy=item.remedy,
    )
