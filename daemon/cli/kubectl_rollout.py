"""Commands of ``kubectl inplaced rollout``: options and help here, the work in ``rollout``."""

from typing import Annotated, Final

import typer

from daemon.cli import arguments, options
from daemon.cli.cluster import Contact
from daemon.cli.errors import UsageError
from daemon.cli.kubectl_options import (
    NAME,
    Context,
    Kubeconfig,
    Namespace,
    Timeout,
    Wait,
    Work,
    help_unless_named,
    in_cluster,
    patience_of,
    place_of,
)
from daemon.cli.usage import ROLLOUT_MEANINGS, epilog

_KINDS: Final = frozenset({"cloneset", "clonesets", "clone", "cloneset.apps.kruise.io"})
_EXAMPLES: Final = (
    f"  {NAME} rollout status web\n"
    f"  {NAME} rollout status cloneset/web --timeout 10m\n"
    f"  {NAME} rollout status web --no-wait --output json | jq '.pods[] | select(.step != \"Done\")'"
)

Name = Annotated[str, typer.Argument(metavar="NAME|cloneset/NAME", help="Of a CloneSet.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    rollout = typer.Typer(help="Follow the rollout of a CloneSet.", rich_markup_mode=None)
    rollout.command(
        "status",
        help="Show each pod's step, progress and reason until the rollout is over.",
        epilog=epilog(_EXAMPLES, ROLLOUT_MEANINGS),
    )(_status)
    rollout.callback(invoke_without_command=True)(_group)
    app.add_typer(rollout, name="rollout")


def _group(context: typer.Context) -> None:
    """Follow the rollout of a CloneSet."""
    help_unless_named(context)


def _status(  # noqa: PLR0913, PLR0917 - typer makes an option of each parameter
    name: Name,
    wait: Wait = True,
    timeout: Timeout = None,
    output: options.Output = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = "",
) -> Work:
    from daemon.cli.rollout import Asked, status

    contact = Contact(kubeconfig, context)
    asked = Asked(
        name=_name_of(name),
        namespace=place_of(namespace, contact),
        wait=wait,
        timeout=patience_of(timeout),
        form=arguments.form_of(output),
    )
    return in_cluster(contact, lambda cluster: status(cluster, asked))


def _name_of(text: str) -> str:
    """The name, whose kind may stand in front of it. Raises UsageError."""
    kind, slash, name = text.rpartition("/")
    if slash and kind.lower() not in _KINDS:
        raise UsageError(f"{text!r}: rollouts of {kind!r} are not followed; allowed: a CloneSet")
    return name
