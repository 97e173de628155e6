"""The commands for a person's terminal: options and help here, the work in one module a command."""

import io
import math
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from typer import TyperException

from daemon.cli.errors import CliError
from daemon.cli.output import FORMS, clean
from daemon.cli.usage import (
    COMMANDS,
    DEFAULT_SOCKET,
    JOBS_EXAMPLES,
    PULL_EXAMPLES,
    SOCKET_VARIABLE,
    STATUS_EXAMPLES,
    Exit,
    epilog,
)
from daemon.names import PROGRAM

Work = Callable[[], int]
"""What a command returns, so that it runs outside of typer, which treats interrupts and pipes its own way."""

# Without rich's markup, help is plain text as kubectl's, and costs no import of rich.
# Tracebacks are Python's own: rich's show local variables, which may hold credentials.
app = typer.Typer(
    name=PROGRAM,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _forms(incomplete: str) -> list[str]:
    return [form for form in FORMS if form.startswith(incomplete)]


Duration = str | None
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


@app.command(
    "standalone",
    help=COMMANDS["standalone"],
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def _standalone(context: typer.Context) -> Work:
    # Here so that the shell completes the word; the process is sent there before typer is imported.
    from daemon.standalone import main

    return lambda: main(context.args)


@app.command("pull", help=COMMANDS["pull"], epilog=epilog(PULL_EXAMPLES))
def _pull(  # noqa: PLR0913, PLR0917 - typer makes an option of each parameter
    images: Annotated[list[str], typer.Argument(metavar="IMAGE", help="References of images.")],
    creds_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A docker config.json with the registries' credentials."),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Show progress until all images are there or failed.")] = True,
    wait_timeout: Annotated[
        Duration, typer.Option(metavar="DURATION", help="Wait no longer than this; the pulls go on.")
    ] = None,
    always: Annotated[
        bool, typer.Option("--always", help="Ask the registry also when the image is here.")
    ] = False,
    priority: Annotated[str, typer.Option(metavar="N", help="Higher pulls first on this node.")] = "0",
    timeout: Annotated[
        Duration,
        typer.Option(metavar="DURATION", help="Limit of one attempt; 10m unless --deadline is less."),
    ] = None,
    retries: Annotated[str, typer.Option(metavar="N", help="Attempts after the first one failed.")] = "3",
    deadline: Annotated[
        Duration, typer.Option(metavar="DURATION", help="Limit of all attempts together; none by default.")
    ] = None,
    ttl: Annotated[
        Duration,
        typer.Option(metavar="DURATION", help="Keep the request, and its pin, so long after its end."),
    ] = None,
    output: Output = None,
    socket: Socket = DEFAULT_SOCKET,
) -> Work:
    from daemon.cli import arguments
    from daemon.cli.pull import PullOptions, pull
    from daemon.debug.sources import PullRequest

    limit = _seconds("--deadline", deadline)
    request = PullRequest(
        images=arguments.images_of(images),
        docker_config=arguments.credentials_of(creds_file),
        image_pull_policy="Always" if always else "IfNotPresent",
        priority=arguments.number_of("--priority", priority, least=-arguments.INT32),
        timeout_seconds=arguments.attempt_limit(_seconds("--timeout", timeout), limit),
        backoff_limit=arguments.number_of("--retries", retries),
        active_deadline_seconds=limit,
        ttl_seconds_after_finished=_seconds("--ttl", ttl, least=0),
    )
    options = PullOptions(
        request=request,
        socket=socket,
        wait=wait,
        wait_timeout=_seconds("--wait-timeout", wait_timeout) or math.inf,
        form=arguments.form_of(output),
    )
    return lambda: pull(options)


@app.command("jobs", help=COMMANDS["jobs"], epilog=epilog(JOBS_EXAMPLES))
def _jobs(  # noqa: PLR0917 - typer makes an option of each parameter
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Names of jobs, or KIND/NAME.", show_default=False),
    ] = None,
    everywhere: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="All namespaces, always with their column.")
    ] = False,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", metavar="NAME", help="One namespace; all by default.")
    ] = None,
    watch: Watch = False,
    output: Output = None,
    socket: Socket = DEFAULT_SOCKET,
) -> Work:
    from daemon.cli.arguments import form_of
    from daemon.cli.jobs import JobsOptions, jobs

    options = JobsOptions(
        socket=socket,
        names=tuple(names or ()),
        namespace=None if everywhere else namespace,
        namespaces_shown=everywhere,
        watch=watch,
        form=form_of(output),
    )
    return lambda: jobs(options)


@app.command("status", help=COMMANDS["status"], epilog=epilog(STATUS_EXAMPLES))
def _status(watch: Watch = False, output: Output = None, socket: Socket = DEFAULT_SOCKET) -> Work:
    from daemon.cli.arguments import form_of
    from daemon.cli.status import StatusOptions, status

    options = StatusOptions(socket=socket, watch=watch, form=form_of(output))
    return lambda: status(options)


def _seconds(option: str, text: str | None, *, least: int = 1) -> int | None:
    from daemon.cli.arguments import seconds_of

    return None if text is None else seconds_of(option, text, least=least)


def run(words: Sequence[str]) -> int:
    """Run one command and return its exit code. Errors become one message on stderr."""
    _prepare_process()
    try:
        found = app(words, prog_name=PROGRAM, standalone_mode=False)
        code = found() if callable(found) else found
        sys.stdout.flush()
    except TyperException as error:
        command = " ".join([PROGRAM, *words[:1]]) if words and words[0] in COMMANDS else PROGRAM
        sys.stderr.write(f"error: {error.format_message().rstrip('.')}; see '{command} --help'\n")
        return error.exit_code
    except CliError as error:
        sys.stderr.write(f"error: {clean(str(error))}\n")
        return error.code
    except (KeyboardInterrupt, typer.Abort):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        return _end_unread()
    return code if isinstance(code, int) else Exit.DONE


def _prepare_process() -> None:
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character must not end the command.
            stream.reconfigure(errors="backslashreplace")


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    """Leave through the with statements, so that the cursor comes back."""
    raise SystemExit(128 + signal.SIGTERM)


def _end_unread() -> int:
    """End as programs do that ``head`` left alone; the interpreter must not flush again at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE
