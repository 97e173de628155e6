"""Options and arguments of the commands: names, help, completion. ``arguments`` reads their values."""

from pathlib import Path
from typing import Annotated

import typer

from daemon.cli.output import FORMS
from daemon.cli.usage import SOCKET_VARIABLE


def _forms(incomplete: str) -> list[str]:
    return [form for form in FORMS if form.startswith(incomplete)]


Socket = Annotated[
    str, typer.Option("--socket", metavar="PATH", envvar=SOCKET_VARIABLE, help="The agent's unix socket.")
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="json|yaml|wide",
        autocompletion=_forms,
        help="A document instead of text, or more columns.",
    ),
]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Go on, and print what changes, until Ctrl-C.")]

Images = Annotated[list[str], typer.Argument(metavar="IMAGE", help="References of images.")]
CredsFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A docker config.json with the registries' credentials.")
]
Wait = Annotated[bool, typer.Option(help="Show progress until all images are there or failed.")]
WaitTimeout = Annotated[
    str | None, typer.Option(metavar="DURATION", help="Wait no longer than this; the pulls go on.")
]
Always = Annotated[bool, typer.Option("--always", help="Ask the registry also when the image is here.")]
Priority = Annotated[str, typer.Option(metavar="N", help="Higher pulls first on a node.")]
Timeout = Annotated[
    str | None, typer.Option(metavar="DURATION", help="Limit of one attempt; 10m unless --deadline is less.")
]
Retries = Annotated[str, typer.Option(metavar="N", help="Attempts after the first one failed.")]
Deadline = Annotated[
    str | None, typer.Option(metavar="DURATION", help="Limit of all attempts together; none by default.")
]
Ttl = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        help="Keep the request, and its pin, so long after its end; at least 10s with --wait.",
    ),
]
Direct = Annotated[
    bool, typer.Option("--direct", help="Pull without an agent, by this command itself; nothing is pinned.")
]
RuntimeSocket = Annotated[
    str | None, typer.Option(metavar="SOCKET", help="With --direct: the container runtime's CRI socket.")
]

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", help="Names of jobs, or KIND/NAME.", show_default=False),
]
Everywhere = Annotated[
    bool, typer.Option("--all-namespaces", "-A", help="All namespaces, always with their column.")
]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", metavar="NAME", help="One namespace; all by default.")
]
