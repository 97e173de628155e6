"""``kubectl inplaced rollout status``: follows a CloneSet until it is where it is to be, or stuck."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from daemon.cli.cluster import Cluster
from daemon.cli.errors import NotFoundError, TimedOutError
from daemon.cli.output import Form, document
from daemon.cli.rollout_reports import reporter
from daemon.cli.rollouts import Rollout, ended, headline, rollout_of
from daemon.cli.usage import Exit
from daemon.kube.informer import Informer
from daemon.kube.resources import CLONE_SETS, WHOLE_PODS
from daemon.kube.selections import Selection, only
from daemon.names import PROGRAM
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key
from daemon.objects.workloads import CloneSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked on the command line."""

    name: str
    namespace: str
    wait: bool = True
    timeout: float = math.inf
    form: Form = "text"


def status(cluster: Cluster, asked: Asked) -> Exit:
    """Show where the rollout is until it is over. Raises CliError."""
    key = Key(asked.namespace, asked.name)
    try:
        obj = cluster.read(CLONE_SETS, key)
    except NotFoundError as error:
        raise NotFoundError(_absence(cluster, asked)) from error
    selection = Selection(namespace=asked.namespace, labels=obj.spec.selector)
    sets = cluster.informer(CLONE_SETS, only(asked.name, asked.namespace))
    pods = cluster.informer(WHOLE_PODS, selection)
    shown: list[Rollout] = []
    code = Exit.DONE
    try:
        code = _follow(cluster, asked, sets, pods, shown)
    except TimedOutError:
        code = Exit.TIMED_OUT
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    _print_end(asked, code, shown)
    return code


def _absence(cluster: Cluster, asked: Asked) -> str:
    """Why there is no such set."""
    if cluster.serves(CLONE_SETS, asked.namespace):
        return f"there is no cloneset {asked.name!r} in namespace {asked.namespace}"
    kind = f"{CLONE_SETS.plural}.{CLONE_SETS.group}"
    return f"the cluster has no {kind}: the chart of {PROGRAM}, or of OpenKruise, installs them"


def _follow(
    cluster: Cluster,
    asked: Asked,
    sets: Informer[CloneSet],
    pods: Informer[LocalPod],
    shown: list[Rollout],
) -> Exit:
    key = Key(asked.namespace, asked.name)
    stream = sys.stderr if asked.form in {"json", "yaml"} else sys.stdout
    with reporter(stream) as report:
        for _ in cluster.watch_all((sets, pods), asked.timeout):
            obj = sets.get(key)
            if obj is None:
                raise NotFoundError(f"cloneset {asked.name!r} was removed")
            rollout = rollout_of(obj, _owned(obj, pods), cluster.now())
            shown[:] = [rollout]
            report.show(rollout, away=sets.behind > 1.0)
            if rollout.done or not asked.wait:
                return Exit.DONE
            if rollout.failed:
                return Exit.FAILED
    raise AssertionError("following ends with an error alone")


def _owned(obj: CloneSet, pods: Informer[LocalPod]) -> Sequence[LocalPod]:
    uid = obj.metadata.uid
    return [
        pod
        for pod in pods.list()
        if any(owner.controller and owner.uid == uid for owner in pod.metadata.owner_references)
    ]


def _print_end(asked: Asked, code: Exit, shown: Sequence[Rollout]) -> None:
    if asked.form in {"json", "yaml"}:
        for rollout in shown:
            sys.stdout.write(document(rollout, asked.form))
        return
    for rollout in shown:
        if rollout.done or rollout.failed:
            sys.stdout.write(f"{ended(rollout)}\n")
        elif code is not Exit.DONE:
            why = "waited too long" if code is Exit.TIMED_OUT else "interrupted"
            sys.stderr.write(f"{why}; the rollout goes on in the cluster: {headline(rollout)}\n")
