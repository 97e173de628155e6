"""``kubectl inplaced jobs``, ``nodes`` and ``why``: what there is in a cluster, and what it waits for."""

import sys
from collections.abc import Iterator
from datetime import datetime

from daemon.cli.cluster import Cluster
from daemon.cli.cluster_pods import KINDS, clone_set_of, why_node_pods, why_pods, why_workload_pods
from daemon.cli.errors import NotFoundError
from daemon.cli.jobs import HEADERS, JobList
from daemon.cli.output import Form, age, age_of, clean, document, table
from daemon.cli.pod_targets import workload_of
from daemon.cli.shares import silent_for
from daemon.cli.usage import Exit
from daemon.cli.why import SILENT, Scene, why_job, why_list, why_node
from daemon.debug.views import JobView
from daemon.objects.images import NodeImage
from daemon.pulljobs.views import job_views

_HEADERS = ("NODE", "AGENT", "SEEN", "DESIRED", "PULLING", "WAITING", "SUCCEED", "FAILED")


def scene_of(cluster: Cluster, release: str) -> Scene:
    """What is read of all nodes; *release* is the namespace of the agents' Leases."""
    node_images = {each.metadata.name: each for each in cluster.node_images()}
    renewed = cluster.renewed(release)
    return Scene(cluster.now(), node_images, renewed)


def nodes(cluster: Cluster, release: str) -> Exit:
    """Print a row for each node. Raises CliError."""
    scene = scene_of(cluster, release)
    if not scene.node_images:
        sys.stderr.write("No NodeImages found: the controller makes one for each Ready node.\n")
        return Exit.DONE
    rows = [_row(scene.node_images[name], scene) for name in sorted(scene.node_images)]
    sys.stdout.write("\n".join(table(_HEADERS, rows)) + "\n")
    return Exit.DONE


def _row(node_image: NodeImage, scene: Scene) -> tuple[str, ...]:
    status = node_image.status
    version = status.agent.version if status.agent is not None else ""
    counts = (status.desired, status.pulling, status.waiting, status.succeeded, status.failed)
    seen = _seen(node_image.metadata.name, scene)
    return (
        clean(node_image.metadata.name),
        clean(version) or "<none>",
        seen,
        *(str(each) for each in counts),
    )


def _seen(name: str, scene: Scene) -> str:
    if scene.renewed is None:
        return "<unknown>"
    seconds = silent_for(scene.renewed.get(name), scene.now)
    if seconds is None:
        return "never"
    return f"silent {age(seconds)}" if seconds > SILENT else age(seconds)


def why(cluster: Cluster, name: str, namespace: str, release: str) -> Exit:
    """Print what *name* waits for: a pod, a restart, a job or a node, or KIND/NAME. Raises CliError."""
    workload = workload_of(name)
    if workload is not None:
        sys.stdout.write("\n".join(why_workload_pods(cluster, workload, namespace, release)) + "\n")
        return Exit.DONE
    kind, _, rest = name.rpartition("/")
    kind = kind.lower().partition(".")[0].removesuffix("s")  # as ``kubectl get -o name`` prints it
    lines = list(why_pods(cluster, kind, rest, namespace, release)) if kind in {"", *KINDS} else []
    if not lines and kind not in KINDS:
        lines = list(_found(cluster, kind, rest, namespace, scene_of(cluster, release)))
    if not kind and (found := clone_set_of(cluster, rest, namespace)) is not None:
        lines += why_workload_pods(cluster, found, namespace, release)
    if not lines:
        raise NotFoundError(
            f"{name!r} is no pod, job, restart or CloneSet in namespace {namespace}, and no node; "
            "'kubectl inplaced get pods -A', 'jobs -A' and 'nodes' list what there is; "
            "other workloads are named with their kind, as in deploy/web"
        )
    sys.stdout.write("\n".join(lines) + "\n")
    return Exit.DONE


def _found(cluster: Cluster, kind: str, rest: str, namespace: str, scene: Scene) -> Iterator[str]:
    if kind in {"", "imagepulljob", "pj", "job"}:
        for job in cluster.jobs(namespace):
            if job.metadata.name == rest:
                yield from why_job(job, scene)
    if kind in {"", "imagelistpulljob", "job"}:
        for each in cluster.lists(namespace):
            if each.metadata.name == rest:
                children = [
                    job
                    for job in cluster.jobs(namespace)
                    if any(owner.uid == each.metadata.uid for owner in job.metadata.owner_references)
                ]
                yield from why_list(each, children, scene)
    if kind in {"node", "no", "nodeimage"} or (not kind and rest in scene.node_images):
        yield from why_node(rest, scene)
        yield from why_node_pods(cluster, rest)


def jobs(cluster: Cluster, namespace: str, *, wide: bool, form: Form) -> Exit:
    """Print the jobs of the namespace, of all for an empty one, as kubectl does. Raises CliError."""
    found = job_views(cluster.jobs(namespace), cluster.lists(namespace), lambda _kind, _key: "")
    if form in {"json", "yaml"}:
        sys.stdout.write(document(JobList(items=found), form))
    elif found:
        headers = (*(() if namespace else ("NAMESPACE",)), *HEADERS, *(("IMAGES",) if wide else ()))
        now = cluster.now()
        rows = [_job(job, now, namespaced=not namespace, wide=wide) for job in found]
        sys.stdout.write("\n".join(table(headers, rows)) + "\n")
    else:
        where = f" in namespace {namespace}" if namespace else ""
        sys.stderr.write(f"No jobs found{where}.\n")
    return Exit.DONE


def _job(job: JobView, now: datetime, *, namespaced: bool, wide: bool) -> tuple[str, ...]:
    # As kubectl tells kinds apart when it prints several of them.
    name = job.name if job.kind == "ImagePullJob" else f"{job.kind.lower()}/{job.name}"
    counts = (str(count) for count in (job.desired, job.active, job.succeeded, job.failed))
    first = (clean(job.namespace),) if namespaced else ()
    last = (clean(",".join(job.images)),) if wide else ()
    return (*first, clean(name), *counts, age_of(job.created_at, now), clean(job.message), *last)
