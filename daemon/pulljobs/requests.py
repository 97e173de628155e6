"""Turns a request of the command line tool into jobs."""

import uuid
from dataclasses import dataclass

import msgspec

from daemon import names
from daemon.engine.objects import Objects
from daemon.objects.images import CompletionPolicy, ImagePullJob, ImagePullJobSpec, PullPolicy, Secret
from daemon.objects.meta import ObjectMeta, OwnerReference
from daemon.objects.validation import problems_of

NAMESPACE = names.PROGRAM
"""Where jobs live that nobody wrote a manifest for."""
_KEPT_SECONDS = 3600
"""How long such a job is shown, and its image pinned, when the request does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person asked for."""

    image: str
    always: bool = False
    priority: int = 0
    timeout_seconds: int = 600
    backoff_limit: int = 3
    active_deadline_seconds: int | None = None
    ttl_seconds_after_finished: int | None = None


class WishError(ValueError):
    """The wish cannot be granted; the message names field, value and what is allowed."""


def job_for(wish: Wish, secret: str) -> ImagePullJob:
    """The job for *wish*, with the name of its secret if it has one. Raises WishError."""
    ttl = wish.ttl_seconds_after_finished
    job = ImagePullJob(
        metadata=ObjectMeta(
            name=f"pull-{uuid.uuid4().hex[:10]}",
            namespace=NAMESPACE,
            annotations={names.PRIORITY_ANNOTATION: str(wish.priority)} if wish.priority else {},
        ),
        spec=ImagePullJobSpec(
            image=wish.image,
            pull_secrets=(secret,) if secret else (),
            pull_policy=PullPolicy(timeout_seconds=wish.timeout_seconds, backoff_limit=wish.backoff_limit),
            completion_policy=CompletionPolicy(
                active_deadline_seconds=wish.active_deadline_seconds,
                ttl_seconds_after_finished=_KEPT_SECONDS if ttl is None else ttl,
            ),
            image_pull_policy="Always" if wish.always else "IfNotPresent",
        ),
    )
    problems = problems_of(job)
    if problems:
        raise WishError("; ".join(str(problem) for problem in problems))
    return job


def secret_of(docker_config: str) -> Secret:
    """The Secret that holds a docker config for one request. Raises WishError."""
    secret = Secret(
        metadata=ObjectMeta(name=f"pull-{uuid.uuid4().hex[:10]}", namespace=NAMESPACE),
        type="kubernetes.io/dockerconfigjson",
        string_data={".dockerconfigjson": docker_config},
    )
    if problems_of(secret):
        raise WishError("dockerConfig: does not hold a docker config; allowed: a JSON object")
    return secret


async def store_jobs(
    jobs: list[ImagePullJob], secret: Secret | None, into: Objects[ImagePullJob], secrets: Objects[Secret]
) -> list[ImagePullJob]:
    """Store the secret first, then its jobs; it goes when the last of them does."""
    stored = await secrets.create(secret) if secret is not None else None
    made = [await into.create(job) for job in jobs]
    if stored is not None:
        owners = tuple(_owner(job) for job in made)
        metadata = msgspec.structs.replace(stored.metadata, owner_references=owners)
        await secrets.replace(msgspec.structs.replace(stored, metadata=metadata))
    return made


def _owner(job: ImagePullJob) -> OwnerReference:
    return OwnerReference(
        api_version=names.KRUISE_API, kind=job.kind, name=job.metadata.name, uid=job.metadata.uid
    )
