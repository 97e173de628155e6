"""``kubectl inplaced pull``: makes an ImagePullJob an image and shows how they come over the nodes."""

import math
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from daemon import names
from daemon.cli.cluster import Cluster, Following
from daemon.cli.cluster_lines import LineReporter, result_line
from daemon.cli.errors import TimedOutError, UsageError
from daemon.cli.output import Form, Paint, document, is_terminal
from daemon.cli.reporting import Reporter
from daemon.cli.shares import JobResult, Tracked, result_of, shares_by_job, track
from daemon.cli.usage import Exit
from daemon.debug.views import View
from daemon.kube.resources import NODE_IMAGES
from daemon.objects.images import CompletionPolicy, ImagePullJob, ImagePullJobSpec, NodeSelector, PullPolicy
from daemon.objects.meta import ObjectMeta
from daemon.objects.validation import problems_of

_KEPT: Final = 3600
"""Seconds for which a job is kept after its end, when nothing else is said."""


class Report(View, frozen=True, kw_only=True):
    """The final document."""

    results: tuple[JobResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked on the command line."""

    images: tuple[str, ...]
    namespace: str
    selector: NodeSelector | None = None
    parallelism: int | str = 10
    secrets: tuple[str, ...] = ()
    always: bool = False
    priority: int = 0
    timeout: int = 600
    retries: int = 3
    deadline: int | None = None
    ttl: int | None = None
    wait: bool = True
    wait_timeout: float = math.inf
    form: Form = "text"


def jobs_for(asked: Asked) -> list[ImagePullJob]:
    """One job an image. Raises UsageError."""
    made = [_job(asked, image) for image in asked.images]
    for job in made:
        if problems := problems_of(job):
            raise UsageError("; ".join(str(problem) for problem in problems))
    return made


def _job(asked: Asked, image: str) -> ImagePullJob:
    return ImagePullJob(
        metadata=ObjectMeta(
            name=f"pull-{uuid.uuid4().hex[:10]}",
            namespace=asked.namespace,
            annotations={names.PRIORITY_ANNOTATION: str(asked.priority)} if asked.priority else {},
        ),
        spec=ImagePullJobSpec(
            image=image,
            pull_secrets=asked.secrets,
            selector=asked.selector,
            parallelism=asked.parallelism,
            pull_policy=PullPolicy(timeout_seconds=asked.timeout, backoff_limit=asked.retries),
            completion_policy=CompletionPolicy(
                active_deadline_seconds=asked.deadline,
                ttl_seconds_after_finished=_KEPT if asked.ttl is None else asked.ttl,
            ),
            image_pull_policy="Always" if asked.always else "IfNotPresent",
        ),
    )


def pull(cluster: Cluster, asked: Asked) -> Exit:
    """Ask, and wait if told to. Raises CliError."""
    started = time.monotonic()
    wanted = jobs_for(asked)
    _check_nodes(cluster, asked.selector)
    every = [Tracked(job.spec.image, cluster.create(job)) for job in wanted]
    if not asked.wait:
        _print_asked(every, asked.form)
        return Exit.DONE
    code = Exit.DONE
    try:
        _follow(cluster, every, asked, started)
    except TimedOutError:
        code = Exit.TIMED_OUT
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    _print_end(every, asked.form)
    if code is not Exit.DONE:
        why = "waited too long" if code is Exit.TIMED_OUT else "interrupted"
        sys.stderr.write(f"{why}; {_goes_on(every, asked.namespace)}\n")
        return code
    return Exit.DONE if all(item.succeeded for item in every) else Exit.FAILED


def _check_nodes(cluster: Cluster, selector: NodeSelector | None) -> None:
    """Refuse names that a job would pass over in silence, as far as that may be known. Raises UsageError."""
    if selector is None or not selector.names:
        return
    known = {each.metadata.name for each in cluster.visible(NODE_IMAGES)}
    missing = [name for name in selector.names if name not in known]
    if missing and not cluster.hidden:
        raise UsageError(
            f"--node {missing[0]!r}: there is no such node, or it has no NodeImage yet; "
            f"'kubectl {names.PROGRAM} nodes' lists those that can pull"
        )


def _goes_on(every: Sequence[Tracked], namespace: str) -> str:
    """What is still to be known of jobs that nobody follows any more."""
    left = [item.job.metadata.name for item in every if not item.ended]
    asks = (
        f"kubectl {names.PROGRAM} why -n {namespace} {left[0]}" if left else f"kubectl {names.PROGRAM} jobs"
    )
    return f"the jobs go on in the cluster; ask '{asks}' what is left to do"


def _follow(cluster: Cluster, every: list[Tracked], asked: Asked, started: float) -> None:
    """Keep *every* up to date until all have ended. Raises CliError."""
    with _reporter(asked.form) as shown:
        for following in cluster.follow(asked.namespace, asked.wait_timeout):
            every[:] = _looked(every, following, time.monotonic() - started)
            shown.show(every, away=following.away)
            if all(item.ended for item in every):
                return


def _looked(every: Sequence[Tracked], following: Following, seconds: float) -> list[Tracked]:
    shares = shares_by_job(following.node_images(), [item.job.metadata.uid for item in every])
    return [
        track(item, following.job(item.job.metadata.key), shares[item.job.metadata.uid], seconds)
        for item in every
    ]


def _reporter(form: Form) -> Reporter[Sequence[Tracked]]:
    stream = sys.stderr if form in {"json", "yaml"} else sys.stdout
    if not is_terminal(stream):
        return LineReporter(stream)
    from daemon.cli.cluster_bars import BarReporter

    return BarReporter(stream)


def _print_asked(every: Sequence[Tracked], form: Form) -> None:
    if form in {"json", "yaml"}:
        sys.stdout.write(document(Report(results=tuple(map(result_of, every))), form))
        return
    for item in every:
        metadata = item.job.metadata
        sys.stdout.write(f"imagepulljob/{metadata.name} created in {metadata.namespace} for {item.image}\n")


def _print_end(every: Sequence[Tracked], form: Form) -> None:
    stream = sys.stderr if form in {"json", "yaml"} else sys.stdout
    for item in every:
        if not item.ended:
            stream.write(result_line(item, Paint(stream)) + "\n")
    if form in {"json", "yaml"}:
        sys.stdout.write(document(Report(results=tuple(map(result_of, every))), form))
