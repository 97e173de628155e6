"""The commands of ``kubectl inplaced``: options and help here, the work in one module a command."""

import math
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer import TyperException

from daemon.cli import arguments, kubectl_pods, kubectl_resize, kubectl_rollout, options, pod_targets
from daemon.cli.cluster import Contact
from daemon.cli.errors import CliError, UsageError
from daemon.cli.kubectl_options import (
    NAME,
    Context,
    Kubeconfig,
    Namespace,
    Release,
    Work,
    help_unless_named,
    in_cluster,
    place_of,
    seconds_of,
)
from daemon.cli.output import clean
from daemon.cli.usage import CLUSTER_PULL_MEANINGS, Exit, epilog
from daemon.names import PROGRAM
from daemon.objects.images import NodeSelector

Nodes = Annotated[
    list[str] | None, typer.Option("--node", metavar="NAME", help="Only this node; may be repeated.")
]
Selector = Annotated[
    str | None,
    typer.Option(
        "--selector", "-l", metavar="K=V,…", help="Only nodes with these labels, as kubectl has it."
    ),
]
Parallelism = Annotated[
    str, typer.Option(metavar="N|N%", help="Nodes that pull at the same time; 0 makes a paused job.")
]
Secrets = Annotated[
    list[str] | None,
    typer.Option("--pull-secret", metavar="NAME", help="A Secret of the namespace; may be repeated."),
]

app = typer.Typer(name=NAME, rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


@app.callback(invoke_without_command=True)
def _main(context: typer.Context) -> None:
    """Have images on nodes before they are needed; restart and resize containers in place."""
    help_unless_named(context)


kubectl_pods.add_to(app)
kubectl_rollout.add_to(app)
kubectl_resize.add_to(app)


@app.command(
    "pull",
    help="Have images on the nodes of the cluster, and watch them come.",
    epilog=epilog(
        f"  {NAME} pull registry.example.com/team/app:v2 -l pool=web\n"
        f"  {NAME} pull nginx:1.27 --parallelism 20% --deadline 10m",
        CLUSTER_PULL_MEANINGS,
    ),
)
def _pull(  # noqa: PLR0913, PLR0917 - typer makes an option of each parameter
    images: options.Images,
    namespace: Namespace = None,
    node: Nodes = None,
    selector: Selector = None,
    parallelism: Parallelism = "10",
    pull_secret: Secrets = None,
    wait: options.Wait = True,
    wait_timeout: options.WaitTimeout = None,
    always: options.Always = False,
    priority: options.Priority = "0",
    timeout: options.Timeout = None,
    retries: options.Retries = "3",
    deadline: options.Deadline = None,
    ttl: options.Ttl = None,
    output: options.Output = None,
    kubeconfig: Kubeconfig = None,
    context: Context = "",
) -> Work:
    from daemon.cli.cluster_pull import Asked, pull

    limit, contact = seconds_of("--deadline", deadline), Contact(kubeconfig, context)
    asked = Asked(
        images=arguments.images_of(images),
        namespace=place_of(namespace, contact),
        selector=selector_of(node or (), selector),
        parallelism=parallelism_of(parallelism),
        secrets=tuple(pull_secret or ()),
        always=always,
        priority=arguments.number_of("--priority", priority, least=-arguments.INT32),
        timeout=arguments.attempt_limit(seconds_of("--timeout", timeout), limit),
        retries=arguments.number_of("--retries", retries),
        deadline=limit,
        ttl=arguments.time_to_live(seconds_of("--ttl", ttl, least=0), wait=wait),
        wait=wait,
        wait_timeout=seconds_of("--wait-timeout", wait_timeout) or math.inf,
        form=arguments.form_of(output),
    )
    return in_cluster(contact, lambda cluster: pull(cluster, asked))


@app.command("jobs", help="List the pull jobs.")
def _jobs(
    everywhere: options.Everywhere = False,
    namespace: Namespace = None,
    output: options.Output = None,
    kubeconfig: Kubeconfig = None,
    context: Context = "",
) -> Work:
    from daemon.cli.cluster_tables import jobs

    form, contact = arguments.form_of(output), Contact(kubeconfig, context)
    chosen = "" if everywhere else place_of(namespace, contact)
    return in_cluster(contact, lambda cluster: jobs(cluster, chosen, wide=form == "wide", form=form))


@app.command("nodes", help="List the nodes, their agents and how far their images are.")
def _nodes(release: Release = PROGRAM, kubeconfig: Kubeconfig = None, context: Context = "") -> Work:
    from daemon.cli.cluster_tables import nodes

    return in_cluster(Contact(kubeconfig, context), lambda cluster: nodes(cluster, release))


@app.command("why", help="Say what a pod, a restart, a job or a node is waiting for.")
def _why(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|KIND/NAME",
            help="Of a pod, a workload (deploy/NAME), a node, a job, or a request to restart.",
        ),
    ],
    namespace: Namespace = None,
    release: Release = PROGRAM,
    kubeconfig: Kubeconfig = None,
    context: Context = "",
) -> Work:
    from daemon.cli.cluster_tables import why

    contact = Contact(kubeconfig, context)
    chosen = place_of(namespace, contact)
    return in_cluster(contact, lambda cluster: why(cluster, name, chosen, release))


def parallelism_of(text: str) -> int | str:
    """A number of nodes, or a share of them. Raises UsageError."""
    try:
        number = arguments.number_of("--parallelism", text.removesuffix("%"))
    except UsageError:
        number = -1
    if number < 0 or (text.endswith("%") and number > 100):
        raise UsageError(
            f"--parallelism {text!r} is not allowed; allowed: a number of nodes, or 0% to 100% of them"
        )
    return f"{number}%" if text.endswith("%") else number


def selector_of(nodes: Sequence[str], labels: str | None) -> NodeSelector | None:
    """Which nodes are meant; None for all. Raises UsageError."""
    if nodes and labels:
        raise UsageError(f"--node {nodes[0]!r} and --selector {labels!r}: allowed is one of them")
    if nodes:
        return NodeSelector(names=tuple(dict.fromkeys(nodes)))
    if labels is None:
        return None
    found = pod_targets.selector_of(labels)
    return NodeSelector(match_labels=found.match_labels, match_expressions=found.match_expressions)


def run(words: Sequence[str]) -> int:
    """Run one command and return its exit code. Errors become one message on stderr."""
    from daemon import logs

    # The client's own log is for processes that nobody watches: here, errors are told as what they stop.
    logs.configure(level="error", form="text", stream=sys.stderr)
    try:
        found = app(list(words), prog_name=NAME, standalone_mode=False)
        code = found() if callable(found) else found
        sys.stdout.flush()
    except TyperException as error:
        sys.stderr.write(f"error: {error.format_message().rstrip('.')}; see '{NAME} --help'\n")
        return error.exit_code
    except CliError as error:
        sys.stderr.write(f"error: {clean(str(error))}\n")
        return error.code
    except (KeyboardInterrupt, typer.Abort):
        return Exit.INTERRUPTED
    return code if isinstance(code, int) else Exit.DONE
