"""What a rollout brings to each pod, and the jobs that fetch the images of it. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from daemon import names
from daemon.inplace.changes import left_of, touched_by
from daemon.inplace.diff import InPlace, MustRecreate, diff
from daemon.inplace.templates import Revision
from daemon.objects.images import CompletionPolicy, ImagePullJob, ImagePullJobSpec, PullPolicy
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import LabelSelector, ObjectMeta, OwnerReference
from daemon.objects.next_revisions import next_revision_of

_NODES = 10
"""Nodes that pull at the same time, where the workload does not say."""
_RETRIES = 3
_LONGEST_LABEL = 63
_AGAIN = 300.0
"""Seconds after which nodes that failed to pull an image are asked anew: its registry may be mended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """How images are fetched beforehand: the workload's ``image-predownload-…`` annotations or fields."""

    parallelism: int | str | None = None
    """Nodes at the same time, a number or a percentage."""
    timeout_seconds: int | None = None
    """Of one attempt on one node."""
    min_updated_ready: int = 0
    """Updated pods that must be ready before anything is fetched or told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A workload on its way to a revision."""

    owner: OwnerReference
    """The workload as owner: what is made for it goes with it."""
    namespace: str
    selector: LabelSelector
    """Of its pods."""
    revision: str
    """Name of the ControllerRevision."""
    new: Revision
    updated_ready: int = 0
    download: Download = field(default_factory=Download)
    ignore_claims: bool = False


@dataclass(frozen=True, slots=True)
class News:
    """What a pod is to be told, and whether it has been."""

    pod: LocalPod
    change: InPlace

    @property
    def is_told(self) -> bool:
        """Whether the pod carries exactly this."""
        told = next_revision_of(self.pod)
        return told is not None and (told.images, told.resources) == (
            self.change.images,
            self.change.resources,
        )

    def is_due(self, revision: str) -> bool:
        """Whether it does not carry this as what *revision* brings."""
        return not self.is_told or _told_of(self.pod) != revision


def news_of(rollout: Rollout, pods: Iterable[tuple[LocalPod, Revision | None]]) -> Iterator[News]:
    """The pods whose images or resources will change in place."""
    verdicts: dict[int, InPlace | MustRecreate] = {}
    for pod, old in pods:
        if id(old) not in verdicts:  # many pods are of few revisions
            verdicts[id(old)] = diff(old, rollout.new, ignore_claims=rollout.ignore_claims)
        verdict = verdicts[id(old)]
        if not isinstance(verdict, InPlace) or pod.metadata.deletion_timestamp is not None:
            continue
        change = left_of(pod, touched_by(verdict), rollout.new)
        if change.images or change.resources:
            yield News(pod, change)


def jobs_for(rollout: Rollout, news: Sequence[News]) -> tuple[ImagePullJob, ...]:
    """One for each image that some pod will need; named by the first container that has it."""
    images: dict[str, str] = {}
    for each in news:
        for container, image in each.change.images.items():
            images.setdefault(image, container)
    secrets = sorted({one.name for each in news for one in each.pod.spec.image_pull_secrets if one.name})
    download = rollout.download
    policy = PullPolicy(backoff_limit=_RETRIES)
    if download.timeout_seconds:
        policy = msgspec.structs.replace(policy, timeout_seconds=download.timeout_seconds)
    return tuple(
        ImagePullJob(
            metadata=ObjectMeta(
                name=f"{rollout.revision}-{container}",
                namespace=rollout.namespace,
                labels={
                    **rollout.selector.match_labels,
                    names.TEMPLATE_HASH_LABEL: labelled(rollout.revision),
                },
                owner_references=(rollout.owner,),
            ),
            spec=ImagePullJobSpec(
                image=image,
                pull_secrets=tuple(secrets),
                pod_selector=rollout.selector,
                parallelism=_NODES if download.parallelism is None else download.parallelism,
                pull_policy=policy,
                completion_policy=CompletionPolicy(type="Never"),
            ),
        )
        for image, container in images.items()
    )


def has_given_up(job: ImagePullJob, now: datetime) -> bool:
    """Whether nodes have failed at *job*, and long enough ago to have them try again."""
    made = job.metadata.creation_timestamp
    return job.status.failed > 0 and made is not None and (now - made).total_seconds() >= _AGAIN


def labelled(revision: str) -> str:
    """*revision* as the value of a label, which may be shorter than a name: its end tells it from others."""
    return revision[-_LONGEST_LABEL:].lstrip("-.")


def _told_of(pod: LocalPod) -> str:
    told = next_revision_of(pod)
    return told.revision if told is not None else ""
