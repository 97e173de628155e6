"""The command ``kubectl inplaced resize``: its options and help."""

from typing import Annotated, Final

import typer

from daemon.cli import arguments, options
from daemon.cli.cluster import Contact
from daemon.cli.errors import UsageError
from daemon.cli.kubectl_options import (
    NAME,
    Context,
    Kubeconfig,
    Labels,
    Namespace,
    Timeout,
    Wait,
    Work,
    in_cluster,
    patience_of,
    place_of,
    seconds_of,
)
from daemon.cli.pod_targets import target_of
from daemon.cli.resize_words import Wanted, amount_of
from daemon.cli.usage import RESIZE_MEANINGS, epilog
from daemon.objects import quantities
from daemon.objects.resizes import Policy

_EXAMPLES: Final = (
    f"  {NAME} resize web-0 --cpu 500m/1 --memory 512Mi\n"
    f"  {NAME} resize -l app=web --container app --cpu /2 --on-infeasible rollback\n"
    f"  {NAME} resize web-0 --memory 1Gi --on-deferred rollback --deadline 5m --output json"
)
_POLICIES: Final[dict[str, Policy]] = {"wait": "Wait", "rollback": "Rollback"}

Target = Annotated[str | None, typer.Argument(metavar="POD", help="A pod.", show_default=False)]
Container = Annotated[
    str, typer.Option("--container", "-c", metavar="NAME", help="Which container, where there are several.")
]
Cpu = Annotated[
    str | None,
    typer.Option(
        metavar="REQUEST[/LIMIT]",
        help="CPU: 500m/1 sets both, /1 the limit, 500m the request and a limit that equals it.",
    ),
]
Memory = Annotated[str | None, typer.Option(metavar="REQUEST[/LIMIT]", help="Memory, in the same way.")]
OnDeferred = Annotated[
    str | None, typer.Option(metavar="wait|rollback", help="When there is no room until the deadline.")
]
OnInfeasible = Annotated[
    str | None, typer.Option(metavar="wait|rollback", help="When the node can never hold it.")
]
Deadline = Annotated[
    str | None, typer.Option(metavar="DURATION", help="How long it may wait before it is rolled back.")
]


def add_to(app: typer.Typer) -> None:
    """Add the command to *app*."""
    app.command(
        "resize",
        help="Give running pods other CPU and memory, without a restart.",
        epilog=epilog(_EXAMPLES, RESIZE_MEANINGS),
    )(_resize)


def _resize(  # noqa: PLR0913, PLR0917 - typer makes an option of each parameter
    target: Target = None,
    selector: Labels = None,
    container: Container = "",
    cpu: Cpu = None,
    memory: Memory = None,
    on_deferred: OnDeferred = None,
    on_infeasible: OnInfeasible = None,
    deadline: Deadline = None,
    wait: Wait = True,
    timeout: Timeout = None,
    output: options.Output = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = "",
) -> Work:
    from daemon.cli.resize import Asked, resize

    meant = target_of(target, selector)
    if meant.workload is not None:
        raise UsageError(f"{target!r} is a workload; allowed: POD, or the labels of its pods by --selector")
    given = {quantities.CPU: ("--cpu", cpu), quantities.MEMORY: ("--memory", memory)}
    amounts = {name: amount_of(option, text) for name, (option, text) in given.items() if text is not None}
    if not amounts:
        raise UsageError("nothing is asked: allowed are --cpu and --memory, one or both")
    wanted = Wanted(
        container,
        amounts,
        on_deferred=_policy_of("--on-deferred", on_deferred),
        on_infeasible=_policy_of("--on-infeasible", on_infeasible),
        deadline=seconds_of("--deadline", deadline, least=0),
    )
    contact = Contact(kubeconfig, context)
    asked = Asked(
        target=meant,
        namespace=place_of(namespace, contact),
        wanted=wanted,
        wait=wait,
        timeout=patience_of(timeout),
        form=arguments.form_of(output),
    )
    return in_cluster(contact, lambda cluster: resize(cluster, asked))


def _policy_of(option: str, text: str | None) -> Policy | None:
    """What is done about it. Raises UsageError."""
    if text is None:
        return None
    found = _POLICIES.get(text.lower())
    if found is None:
        raise UsageError(f"{option} {text!r} is not allowed; allowed: wait or rollback")
    return found
