"""``kubectl inplaced jobs``, ``nodes`` and ``why``: what there is in a cluster, and what it waits for."""

import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from daemon.cli.cluster import Cluster
from daemon.cli.cluster_pods import KINDS, NAMED, clone_set_of, why_node_pods, why_pods, why_workload_pods
from daemon.cli.errors import CliError, NotFoundError, UsageError
from daemon.cli.jobs import HEADERS, JobList
from daemon.cli.output import Form, age, age_of, clean, document, table
from daemon.cli.pod_targets import WORKLOADS, workload_of
from daemon.cli.shares import silent_for
from daemon.cli.usage import Exit
from daemon.cli.why import RELEASE_HINT, SILENT, Scene, why_job, why_list, why_node
from daemon.debug.views import JobView
from daemon.kube.resources import IMAGE_LIST_PULL_JOBS, IMAGE_PULL_JOBS, LOCAL_NODES, NODE_IMAGES
from daemon.kube.selections import Selection, only
from daemon.objects.images import ImageListPullJob, ImagePullJob, NodeImage
from daemon.pulljobs.views import job_views

_JOBS: Final = frozenset({"", "imagepulljob", "pj", "job"})
_LISTS: Final = frozenset({"", "imagelistpulljob", "lpj", "job"})
_NODES: Final = frozenset({"", "node", "no", "nodeimage", "nimg"})
_NAMED: Final = {
    **NAMED,
    IMAGE_PULL_JOBS.plural: _JOBS,
    IMAGE_LIST_PULL_JOBS.plural: _LISTS,
    NODE_IMAGES.plural: _NODES,
    LOCAL_NODES.plural: _NODES,
}
_HEADERS = ("NODE", "AGENT", "SEEN", "DESIRED", "PULLING", "WAITING", "SUCCEED", "FAILED")


def scene_of(cluster: Cluster, release: str) -> Scene:
    """What is read of all nodes; *release* is the namespace of the agents' Leases."""
    node_images = {each.metadata.name: each for each in cluster.visible(NODE_IMAGES)}
    renewed = cluster.renewed(release)
    return Scene(cluster.now(), node_images, renewed, nodes_hidden=NODE_IMAGES.plural in cluster.hidden)


def nodes(cluster: Cluster, release: str) -> Exit:
    """Print a row for each node. Raises CliError."""
    scene = scene_of(cluster, release)
    if scene.nodes_hidden:
        raise cluster.hidden[NODE_IMAGES.plural]
    if not scene.node_images:
        sys.stderr.write("No NodeImages found: the controller makes one for each Ready node.\n")
        return Exit.DONE
    rows = [_row(scene.node_images[name], scene) for name in sorted(scene.node_images)]
    sys.stdout.write("\n".join(table(_HEADERS, rows)) + "\n")
    if not scene.renewed:
        sys.stderr.write(f"No agent's Lease can be seen in namespace {release}; {RELEASE_HINT}\n")
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
    if not scene.renewed:
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
        lines = list(_found(cluster, kind, rest, namespace, release))
    if not kind and (found := clone_set_of(cluster, rest, namespace)) is not None:
        lines += why_workload_pods(cluster, found, namespace, release)
    if not lines:
        raise _nothing(cluster, name, kind, namespace)
    sys.stdout.write("\n".join(lines) + "\n")
    return Exit.DONE


def _nothing(cluster: Cluster, name: str, kind: str, namespace: str) -> CliError:
    """Why nothing is said of that name."""
    for plural, error in cluster.hidden.items():
        if kind and kind in _NAMED.get(plural, ()):  # others were to be seen for what they say of this one
            return error
    known = sorted({*KINDS, *_JOBS, *_LISTS, *_NODES} - {""})
    if kind and kind not in known:
        return UsageError(
            f"{name!r}: {kind!r} is no kind that can be asked of; allowed: {', '.join((*WORKLOADS, *known))}"
        )
    if kind:
        where = "" if kind in _NODES else f" in namespace {namespace}"
        return NotFoundError(f"there is no {kind} {name.rpartition('/')[2]!r}{where}")
    unseen = f"; not looked at, as you may not list them: {', '.join(cluster.hidden)}"
    return NotFoundError(
        f"{name!r} is no pod, job, restart or CloneSet in namespace {namespace}, and no node"
        f"{unseen if cluster.hidden else ''}; "
        "'kubectl inplaced get pods -A', 'jobs -A' and 'nodes' list what there is; "
        "other workloads are named with their kind, as in deploy/web"
    )


def _found(cluster: Cluster, kind: str, name: str, namespace: str, release: str) -> Iterator[str]:
    """What jobs and the node of that name wait for; nothing when there is none."""
    one = only(name, namespace)
    jobs = cluster.visible(IMAGE_PULL_JOBS, one) if kind in _JOBS else ()
    lists = cluster.visible(IMAGE_LIST_PULL_JOBS, one) if kind in _LISTS else ()
    if not jobs and not lists and kind not in _NODES:
        return
    scene = scene_of(cluster, release)
    for job in jobs:
        yield from why_job(job, scene)
    for each in lists:
        yield from why_list(each, _children(cluster, each), scene)
    if kind in _NODES and (name in scene.node_images or _is_node(cluster, name, scene, certain=bool(kind))):
        yield from why_node(name, scene)
        yield from why_node_pods(cluster, name)


def _children(cluster: Cluster, made: ImageListPullJob) -> list[ImagePullJob]:
    jobs = cluster.visible(IMAGE_PULL_JOBS, Selection(namespace=made.metadata.namespace))
    return [
        job for job in jobs if any(owner.uid == made.metadata.uid for owner in job.metadata.owner_references)
    ]


def _is_node(cluster: Cluster, name: str, scene: Scene, *, certain: bool) -> bool:
    """Whether it is a node without a NodeImage: where nodes are hidden, if one is *certain* to be meant."""
    if scene.nodes_hidden:
        return False
    return bool(cluster.visible(LOCAL_NODES, only(name))) or (
        certain and LOCAL_NODES.plural in cluster.hidden
    )


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
