"""What commands of ``kubectl inplaced`` have in common: options, and the way into the cluster."""

import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from daemon.cli import arguments
from daemon.cli.cluster import Cluster, Contact
from daemon.cli.contexts import namespace_of
from daemon.names import PROGRAM

NAME: Final = f"kubectl {PROGRAM}"
Work = Callable[[], int]
"""What a command returns, so that it runs outside of typer, which treats interrupts and pipes its own way."""

Kubeconfig = Annotated[Path | None, typer.Option(metavar="FILE", help="Instead of kubectl's own.")]
Context = Annotated[str, typer.Option(metavar="NAME", help="Of the kubeconfig; by default the current one.")]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", metavar="NAME", help="By default the context's.")
]
Labels = Annotated[
    str | None, typer.Option("--selector", "-l", metavar="K=V,…", help="Pods with these labels instead.")
]
Wait = Annotated[bool, typer.Option(help="Show progress until it is over.")]
Timeout = Annotated[
    str | None,
    typer.Option(metavar="DURATION", help="Wait no longer than this; what was asked for goes on."),
]
Release = Annotated[
    str, typer.Option("--release-namespace", metavar="NAME", help="Where the agents' Leases are.")
]


def help_unless_named(context: typer.Context) -> None:
    """Show the help of a group whose command is not named, as kubectl does."""
    if context.invoked_subcommand is None:
        sys.stdout.write(f"{context.get_help()}\n")


def in_cluster(contact: Contact, work: Callable[[Cluster], int]) -> Work:
    """Have *work* done in that cluster, later."""

    def done() -> int:
        with Cluster(contact.access()) as cluster:
            return work(cluster)

    return done


def place_of(namespace: str | None, contact: Contact) -> str:
    """The namespace that is meant: by default the context's."""
    return namespace or namespace_of(contact.kubeconfig, contact.context, os.environ)


def patience_of(timeout: str | None) -> float:
    """Seconds of ``--timeout``, without one for ever. Raises UsageError."""
    return seconds_of("--timeout", timeout) or math.inf


def seconds_of(option: str, text: str | None, *, least: int = 1) -> int | None:
    """Whole seconds of a duration, if one is given. Raises UsageError."""
    return None if text is None else arguments.seconds_of(option, text, least=least)
