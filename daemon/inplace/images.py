"""Whether a container runs the image that an update gave it. Pure.

What the kubelet says of an image alone proves little: runtimes show any name of an image for all containers
that run it, so that the old container may show the new name, and the new one another. Nor is a restart sure
to come: of two changes in a row, back to what runs, the kubelet may see the last alone. What is believed:

- the agent's word of what this very container was started with (by its ID);
- a container that has restarted since, under the image's name or under its digest;
- one of the two, after ``PATIENCE`` seconds in which neither agent nor kubelet had more to say.
"""

import re
from datetime import datetime, timedelta
from typing import Final

from daemon.inplace.evidence import Missing, agents_hash
from daemon.inplace.records import State, restart_counts_of
from daemon.objects.container_hashes import plain_hash
from daemon.objects.local_pods import Container, ContainerStatus, LocalPod, Waiting
from daemon.objects.references import InvalidReferenceError, parse
from daemon.objects.running_containers import newest_status

PATIENCE = 10.0
"""Seconds for an agent to say what a container was started with, and for the kubelet to restart it."""
PULL_ERRORS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
)
"""Reasons of a waiting container whose image the kubelet cannot get."""
_ENDS: Final = r"(?![\w@/-]|[.:]\w)"
"""After the name of an image in a text: what would make it a longer name does not follow."""


def image_missing(pod: LocalPod, state: State, container: Container, now: datetime) -> Missing | None:
    """What is missing of the image of *container*, which the update *state* has changed."""
    status, name = newest_status(pod, container.name), container.name
    if status is None:
        return Missing("Restarting", f"the kubelet says nothing of container {name} yet")
    waiting = status.state.waiting
    if waiting is not None and _cannot_pull(container, waiting):
        words = f"container {name}: {waiting.reason} of {container.image}: {waiting.message}"
        return Missing("ImagePullFailed", words, failed=True)
    told, restarted = agents_hash(pod, status), _has_restarted(pod, state, status)
    if told == plain_hash(name, container.image) and (restarted or status.state.running is not None):
        return None
    if restarted and is_named(container, status):
        return None
    if told is not None or not (restarted or is_named(container, status)):
        return Missing("Restarting", f"container {name} has not been restarted with {container.image} yet")
    return _unless_quiet(pod, state, status, now)


def _unless_quiet(pod: LocalPod, state: State, status: ContainerStatus, now: datetime) -> Missing | None:
    """Nothing is missing when nobody has more to say for so long."""
    running = status.state.running
    since = max([_written_at(state, now), running.started_at or now if running is not None else now])
    left = (since + timedelta(seconds=PATIENCE) - now) / timedelta(seconds=1)
    words = f"container {status.name} runs {status.image}, which must prove to be what it should run"
    if left > 0:
        return Missing("Restarting", words, look_again_in=left)
    # Where the kubelet tells which spec it has seen (from 1.34 on), that must be this one.
    behind = 0 < pod.status.observed_generation < pod.metadata.generation
    return Missing("Restarting", words) if behind else None


def _written_at(state: State, now: datetime) -> datetime:
    """When the update wrote to the pod last."""
    batches = [each.timestamp for each in state.container_batches_record or () if each.timestamp is not None]
    return max([*batches, state.update_timestamp or now])


def _cannot_pull(container: Container, told: Waiting) -> bool:
    """Whether the kubelet says so of this very image: what it said of another one stays there for a while."""
    names = (container.image, _canonical_of(container.image))
    return told.reason in PULL_ERRORS and any(
        re.search(re.escape(each) + _ENDS, told.message) is not None for each in names
    )


def _canonical_of(image: str) -> str:
    """The full name of an image, as runtimes write it; what cannot be read is left as it is."""
    try:
        return parse(image).canonical
    except InvalidReferenceError:
        return image


def _has_restarted(pod: LocalPod, state: State, status: ContainerStatus) -> bool:
    """Whether this is another container than the one that ran before the update.

    OpenKruise's manager records no restart counts; of an update that it began, its own rule holds.
    """
    before = (state.last_container_statuses or {})[status.name].image_id
    count = restart_counts_of(pod).get(status.name)
    if count is None or count.revision != state.revision:
        container = next(each for each in pod.spec.containers if each.name == status.name)
        return status.image_id != before or is_named(container, status)
    if not before:  # none ran, so that the first that does is another one
        return bool(status.container_id)
    return status.restart_count > count.restart_count


def is_named(container: Container, status: ContainerStatus) -> bool:
    """Whether the status shows the image under the very name, or the digest, that the spec asks for."""
    try:
        wanted = parse(container.image)
        if wanted.digest is not None and status.image_id.endswith(wanted.digest):
            return True
        return parse(status.image).canonical == wanted.canonical
    except InvalidReferenceError:  # of an image without a name, runtimes show the ID
        return container.image == status.image
