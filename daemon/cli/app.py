"""The commands for a person's terminal: options and help here, the work in one module a command."""

import io
import math
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

import typer
from typer import TyperException

from daemon.cli import options
from daemon.cli.errors import CliError
from daemon.cli.output import clean
from daemon.cli.usage import (
    COMMANDS,
    DEFAULT_SOCKET,
    JOBS_EXAMPLES,
    PULL_EXAMPLES,
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


def _program(name: str) -> Callable[[Callable[[typer.Context], Work]], Callable[[typer.Context], Work]]:
    """A command that reads its own options.

    It is here so that the shell completes the word: the process is sent there before typer is imported.
    """
    return app.command(
        name,
        help=COMMANDS[name],
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )


@_program("agent")
def _agent(context: typer.Context) -> Work:
    from daemon.agent import main

    return lambda: main(context.args)


@_program("controller")
def _controller(context: typer.Context) -> Work:
    from daemon.controller import main

    return lambda: main(context.args)


@_program("standalone")
def _standalone(context: typer.Context) -> Work:
    from daemon.standalone import main

    return lambda: main(context.args)


@app.command("pull", help=COMMANDS["pull"], epilog=epilog(PULL_EXAMPLES))
def _pull(  # noqa: PLR0913, PLR0917 - typer makes an option of each parameter
    images: options.Images,
    creds_file: options.CredsFile = None,
    wait: options.Wait = True,
    wait_timeout: options.WaitTimeout = None,
    always: options.Always = False,
    priority: options.Priority = "0",
    timeout: options.Timeout = None,
    retries: options.Retries = "3",
    deadline: options.Deadline = None,
    ttl: options.Ttl = None,
    direct: options.Direct = False,
    runtime: options.RuntimeSocket = None,
    output: options.Output = None,
    socket: options.Socket = DEFAULT_SOCKET,
) -> Work:
    from daemon.cli import arguments
    from daemon.cli.pull import PullOptions, pull
    from daemon.debug.sources import PullRequest

    arguments.check_direct(direct=direct, wait=wait, runtime=runtime, ttl=ttl)

    limit = _seconds("--deadline", deadline)
    request = PullRequest(
        images=arguments.images_of(images),
        docker_config=arguments.credentials_of(creds_file),
        image_pull_policy="Always" if always else "IfNotPresent",
        priority=arguments.number_of("--priority", priority, least=-arguments.INT32),
        timeout_seconds=arguments.attempt_limit(_seconds("--timeout", timeout), limit),
        backoff_limit=arguments.number_of("--retries", retries),
        active_deadline_seconds=limit,
        ttl_seconds_after_finished=arguments.time_to_live(_seconds("--ttl", ttl, least=0), wait=wait),
    )
    asked = PullOptions(
        request=request,
        socket=socket,
        wait=wait,
        wait_timeout=_seconds("--wait-timeout", wait_timeout) or math.inf,
        form=arguments.form_of(output),
    )
    if not direct:
        return lambda: pull(asked)
    from daemon.cli.direct import pull_directly

    return lambda: pull_directly(asked, runtime, os.environ)


@app.command("jobs", help=COMMANDS["jobs"], epilog=epilog(JOBS_EXAMPLES))
def _jobs(  # noqa: PLR0917 - typer makes an option of each parameter
    names: options.Names = None,
    everywhere: options.Everywhere = False,
    namespace: options.Namespace = None,
    watch: options.Watch = False,
    output: options.Output = None,
    socket: options.Socket = DEFAULT_SOCKET,
) -> Work:
    from daemon.cli.arguments import form_of
    from daemon.cli.jobs import JobsOptions, jobs

    asked = JobsOptions(
        socket=socket,
        names=tuple(names or ()),
        namespace=None if everywhere else namespace,
        namespaces_shown=everywhere,
        watch=watch,
        form=form_of(output),
    )
    return lambda: jobs(asked)


@app.command("status", help=COMMANDS["status"], epilog=epilog(STATUS_EXAMPLES))
def _status(
    watch: options.Watch = False, output: options.Output = None, socket: options.Socket = DEFAULT_SOCKET
) -> Work:
    from daemon.cli.arguments import form_of
    from daemon.cli.status import StatusOptions, status

    asked = StatusOptions(socket=socket, watch=watch, form=form_of(output))
    return lambda: status(asked)


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
