"""What people who look at a node see of the revisions that its pods become next. Pure."""

from collections.abc import Iterable, Mapping

from daemon.debug.views import NextImageView, PullView, UpdateView
from daemon.objects.local_pods import LocalPod, LocalPodCondition
from daemon.objects.next_revisions import (
    PULLED,
    PULLING,
    WOULD_NOT_FIT,
    NextRevision,
    about,
    answer_of,
    next_revision_of,
)
from daemon.preflight.planner import Pull, full_name, told


def updates(pods: Iterable[LocalPod], pulls: Iterable[PullView]) -> tuple[UpdateView, ...]:
    """Those of *pods* that were told a revision; those whose node is not prepared yet come first."""
    asked = [(pod, announced) for pod in pods if (announced := next_revision_of(pod)) is not None]
    if not asked:
        return ()
    by_image = {each.image: each for each in pulls}
    found = [_update(pod, announced, by_image) for pod, announced in asked]
    return tuple(sorted(found, key=lambda each: (each.ready, each.namespace, each.pod)))


def _update(pod: LocalPod, announced: NextRevision, pulls: Mapping[str, PullView]) -> UpdateView:
    answer = answer_of(pod, announced.revision)
    ready = answer is not None and answer.status == "True"
    return UpdateView(
        namespace=pod.metadata.namespace,
        pod=pod.metadata.name,
        revision=announced.revision,
        ready=ready,
        fits=_fits(announced, answer),
        reason=answer.reason if answer is not None else "",
        message=_message(announced, answer, pulls),
        since=announced.since,
        images=tuple(
            _image(container, image, pulls, ready=ready) for container, image in announced.images.items()
        ),
    )


def _message(announced: NextRevision, answer: LocalPodCondition | None, pulls: Mapping[str, PullView]) -> str:
    """As the pod was told; how far a pull is it is told now and then, and here it is known."""
    if answer is None or answer.reason != PULLING:
        return answer.message.removeprefix(about(announced.revision, "")) if answer is not None else ""
    rows = {image: pulls.get(full_name(image) or "") for image in announced.images.values()}
    on_their_way = {image: row for image, row in rows.items() if row is None or row.phase != "Succeeded"}
    return "; ".join(told(pull_of(row) if row else None, image) for image, row in on_their_way.items())


def pull_of(row: PullView) -> Pull:
    """How far the node is with one image, for a plan."""
    return Pull(
        phase=row.phase,
        percent=row.percent,
        done=row.bytes_done,
        total=row.bytes_total,
        reason=row.reason,
        message=row.message,
    )


def _fits(announced: NextRevision, answer: LocalPodCondition | None) -> bool | None:
    """The room is looked at when the images are there; images alone need none of it."""
    if not announced.resources:
        return True
    return {PULLED: True, WOULD_NOT_FIT: False}.get(answer.reason) if answer is not None else None


def _image(container: str, image: str, pulls: Mapping[str, PullView], *, ready: bool) -> NextImageView:
    pull = pulls.get(full_name(image) or "")
    if ready:
        return NextImageView(container=container, image=image, phase="Succeeded", percent=100)
    if pull is None:
        return NextImageView(container=container, image=image)
    return NextImageView(
        container=container,
        image=image,
        phase=pull.phase,
        percent=pull.percent,
        bytes_done=pull.bytes_done,
        bytes_total=pull.bytes_total,
    )
