"""How far a node is with the images of a rollout, by what its NodeImage says of the rollout's jobs. Pure."""

import functools
from collections.abc import Iterable, Mapping
from typing import Literal

from daemon.objects.images import ImageEntry, ImagePullJob, ImageStatus, ImageTag, ImageTagStatus, NodeImage
from daemon.objects.references import ImageReference, InvalidReferenceError, parse

Presence = Literal["There", "Coming", "Unknown"]
"""Coming: the node was asked, or will be. Unknown: it has trouble, or nobody asks it."""


def presence_of(
    node_image: NodeImage | None, jobs: Mapping[str, ImagePullJob], images: Iterable[str]
) -> Presence:
    """How it stands with all of *images*, each of which the job of that image in *jobs* is to bring."""
    every = {_presence(node_image, jobs.get(image), image) for image in images}
    if "Unknown" in every:
        return "Unknown"
    return "Coming" if "Coming" in every else "There"


def _presence(node_image: NodeImage | None, job: ImagePullJob | None, image: str) -> Presence:
    reference = _reference_of(image)
    if node_image is None or job is None or reference is None:
        return "Unknown"
    name, version = reference.familiar_name, reference.version
    entry = node_image.spec.images.get(name, ImageEntry())
    tag = next((each for each in entry.tags if each.tag == version and _owns(job, each)), None)
    told = node_image.status.image_statuses.get(name, ImageStatus())
    status = next((each for each in told.tags if each.tag == version), None)
    if tag is None or status is None or status.version != tag.version:
        return "Coming"
    if status.phase == "Succeeded":
        return "There"
    return "Unknown" if _is_in_trouble(status) else "Coming"


def _is_in_trouble(status: ImageTagStatus) -> bool:
    return status.phase == "Failed" or bool(status.reason) or status.failures > 0


def _owns(job: ImagePullJob, tag: ImageTag) -> bool:
    return any(owner.uid == job.metadata.uid for owner in tag.owner_references)


@functools.lru_cache(maxsize=1024)
def _reference_of(image: str) -> ImageReference | None:
    try:
        return parse(image)
    except InvalidReferenceError:
        return None
