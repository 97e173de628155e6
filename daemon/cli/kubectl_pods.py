"""Commands of ``kubectl inplaced`` about pods: restart them in place, and see who restarted when."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, get_args

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
from daemon.cli.pod_targets import ALLOWED, selector_of, target_of
from daemon.cli.usage import RESTART_MEANINGS, epilog
from daemon.objects.workload_restarts import Order

_ORDERS: Final[tuple[Order, ...]] = get_args(Order)
_EXAMPLES: Final = (
    f"  {NAME} restart web-0 --container app\n"
    f"  {NAME} restart deploy/web --max-unavailable 25% --min-ready 10s\n"
    f"  {NAME} restart -l app=web,tier!=cache --no-wait\n"
    f"  {NAME} restart sts/db --output json | jq .restarted"
)

Target = Annotated[str | None, typer.Argument(metavar="TARGET", help=f"{ALLOWED}.", show_default=False)]
Containers = Annotated[
    list[str] | None,
    typer.Option("--container", "-c", metavar="NAME", help="Only this container; may be repeated."),
]
MaxUnavailable = Annotated[
    str, typer.Option(metavar="N|N%", help="Pods that may be out of service at the same time.")
]
OrderOption = Annotated[
    str | None,
    typer.Option(
        "--order",
        metavar="|".join(_ORDERS),
        help="Which pods go first; by default the oldest, or the highest ordinal of a StatefulSet.",
    ),
]
Grace = Annotated[
    str | None, typer.Option(metavar="DURATION", help="To end in, preStop included, instead of the pod's.")
]
UnreadyGrace = Annotated[
    str | None, typer.Option(metavar="DURATION", help="Out of traffic so long before (gate KruisePodReady).")
]
MinReady = Annotated[
    str | None, typer.Option(metavar="DURATION", help="A container has to run so long to count.")
]
Deadline = Annotated[str | None, typer.Option(metavar="DURATION", help="What is not begun then has failed.")]
What = Annotated[str, typer.Argument(metavar="pods|pod/NAME", help="What to list.")]
Names = Annotated[
    list[str] | None, typer.Argument(metavar="NAME", help="Only these pods.", show_default=False)
]
_PODS: Final = frozenset({"pod", "pods", "po"})


def add_to(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    app.command(
        "restart",
        help="Restart containers in place: one pod, or those of a workload a few at a time.",
        epilog=epilog(_EXAMPLES, RESTART_MEANINGS),
    )(_restart)
    app.command("get", help="List pods with their restarts, planned ones left out.")(_get)


def _restart(  # noqa: PLR0913, PLR0917 - typer makes an option of each parameter
    target: Target = None,
    selector: Labels = None,
    container: Containers = None,
    max_unavailable: MaxUnavailable = "1",
    order: OrderOption = None,
    grace: Grace = None,
    unready_grace: UnreadyGrace = None,
    min_ready: MinReady = None,
    deadline: Deadline = None,
    wait: Wait = True,
    timeout: Timeout = None,
    output: options.Output = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = "",
) -> Work:
    from daemon.cli.restart import Asked, restart

    contact = Contact(kubeconfig, context)
    asked = Asked(
        target=target_of(target, selector),
        namespace=place_of(namespace, contact),
        containers=tuple(dict.fromkeys(container or ())),
        max_unavailable=_limit_of(max_unavailable),
        order=_order_of(order),
        grace=seconds_of("--grace", grace, least=0),
        unready_grace=seconds_of("--unready-grace", unready_grace, least=0),
        min_started=seconds_of("--min-ready", min_ready, least=0) or 0,
        deadline=seconds_of("--deadline", deadline, least=3),
        wait=wait,
        timeout=patience_of(timeout),
        form=arguments.form_of(output),
    )
    return in_cluster(contact, lambda cluster: restart(cluster, asked))


def _get(  # noqa: PLR0913, PLR0917 - as above
    what: What,
    name: Names = None,
    selector: Labels = None,
    everywhere: options.Everywhere = False,
    output: options.Output = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = "",
) -> Work:
    from daemon.cli.pods import Asked, pods

    chosen = _pods_of(what, name or ())
    if chosen and (everywhere or selector is not None):
        raise UsageError(f"{chosen[0]!r} and --selector or --all-namespaces: allowed is one of them")
    contact = Contact(kubeconfig, context)
    asked = Asked(
        namespace="" if everywhere else place_of(namespace, contact),
        pods=chosen,
        labels=None if selector is None else selector_of(selector),
        form=arguments.form_of(output),
    )
    return in_cluster(contact, lambda cluster: pods(cluster, asked))


def _pods_of(what: str, names: Sequence[str]) -> tuple[str, ...]:
    """The pods that are named, as ``pods NAME…`` or ``pod/NAME…``; none for all. Raises UsageError."""
    words = [what, *names] if "/" in what else [f"{what}/{each}" for each in names or ("",)]
    pairs = [each.partition("/") for each in words]
    for kind, slash, name in pairs:
        if not slash or kind.lower() not in _PODS:
            raise UsageError(f"{kind!r} cannot be listed; allowed: pods")
        if "/" in name:
            raise UsageError(f"{name!r} is no name beside {kind!r}; allowed: pods NAME, or pod/NAME")
        if not name and "/" in what:
            raise UsageError(f"{what!r} names no pod; allowed: pod/NAME")
    return tuple(dict.fromkeys(name for _, _, name in pairs if name))


def _limit_of(text: str) -> int | str:
    """A number of pods, or a share of them. Raises UsageError."""
    share = text.removesuffix("%")
    number: Any = arguments.number_of("--max-unavailable", share, least=1)
    if share == text:
        return int(number)
    if number > 100:
        raise UsageError(
            f"--max-unavailable {text!r} is not allowed; allowed: 1% to 100%, or a number of pods"
        )
    return f"{number}%"


def _order_of(text: str | None) -> Order | None:
    """One of the orders, whatever its case. Raises UsageError."""
    if text is None:
        return None
    for order in _ORDERS:
        if order.lower() == text.lower():
            return order
    raise UsageError(f"--order {text!r} is not allowed; allowed: {', '.join(_ORDERS)}")
