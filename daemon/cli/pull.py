"""``inplaced pull``: asks the agent for images and shows how they come."""

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TextIO

from daemon.cli.client import Agent
from daemon.cli.errors import TimedOutError, UnreachableError
from daemon.cli.following import Followed, PullReport, look, report
from daemon.cli.lines import LineReporter, result_lines, summary
from daemon.cli.output import Form, Paint, clean, document, is_terminal, size, table, took
from daemon.cli.reporting import Reporter
from daemon.cli.usage import Exit
from daemon.debug.sources import PullRequest
from daemon.names import PROGRAM

_GOES_ON: Final = f"the pulls go on in the agent: '{PROGRAM} jobs' lists them"


@dataclass(frozen=True, slots=True, kw_only=True)
class PullOptions:
    """What was asked on the command line."""

    request: PullRequest
    socket: str
    wait: bool = True
    wait_timeout: float = math.inf
    form: Form = "text"


def pull(options: PullOptions) -> Exit:
    """Ask, and wait if told to. Raises CliError."""
    started = time.monotonic()
    agent = Agent(options.socket)
    images, jobs = options.request.images, agent.pull(options.request).jobs
    if len(images) != len(jobs):
        raise UnreachableError(
            f"the agent at {agent.path} answered {len(jobs)} jobs for {len(images)} images"
        )
    every = [Followed(image, job) for image, job in zip(images, jobs, strict=True)]
    if not options.wait:
        _print_asked(every, options.form)
        return Exit.DONE
    try:
        every, code = _follow(agent, every, started, options)
    except KeyboardInterrupt:
        sys.stderr.write(f"interrupted; {_GOES_ON}\n")
        return Exit.INTERRUPTED
    print_end(every, time.monotonic() - started, options.form)
    if code == Exit.TIMED_OUT:
        sys.stderr.write(f"waited too long; {_GOES_ON}\n")
    return code


def _follow(
    agent: Agent, every: list[Followed], started: float, options: PullOptions
) -> tuple[list[Followed], Exit]:
    with reporter(options.form) as shown:
        shown.show(every)
        try:
            for view in agent.follow(started + options.wait_timeout):
                if view is not None:
                    every = [look(item, view, time.monotonic() - started) for item in every]
                shown.show(every, away=view is None)
                if all(item.ended for item in every):
                    break
        except TimedOutError:
            return every, Exit.TIMED_OUT
    return every, code_of(every)


def code_of(every: Sequence[Followed]) -> Exit:
    """The exit code of images that ended."""
    return Exit.FAILED if any(item.result != "Succeeded" for item in every) else Exit.DONE


def reporter(form: Form) -> Reporter[Sequence[Followed]]:
    """Bars on a terminal, lines elsewhere; beside a document on stdout they go to stderr."""
    stream = progress_stream(form)
    if not is_terminal(stream):
        return LineReporter(stream, sys.stderr)
    from daemon.cli.bars import BarReporter

    return BarReporter(stream)


def progress_stream(form: Form) -> TextIO:
    """Where progress goes: stdout belongs to the document if one was asked for."""
    return sys.stderr if form in {"json", "yaml"} else sys.stdout


def print_end(every: Sequence[Followed], seconds: float, form: Form) -> None:
    """Print what became of all, in the form that was asked for."""
    stream = progress_stream(form)
    paint = Paint(stream)
    for item in every:
        if not item.ended:
            stream.write("\n".join(result_lines(item, paint)) + "\n")
    if len(every) > 1 or form == "wide":
        stream.write(summary(every, seconds) + "\n")
    if form in {"json", "yaml"}:
        sys.stdout.write(document(report(every, seconds), form))
    elif form == "wide":
        sys.stdout.write("\n".join(["", *_wide(report(every, seconds))]) + "\n")


def _wide(found: PullReport) -> list[str]:
    rows = [
        (
            clean(item.image),
            item.result,
            size(item.bytes_fetched),
            size(item.bytes_reused),
            took(item.seconds),
            "yes" if item.pinned else "no",
            item.job or "<none>",
            item.image_id or "<none>",
            clean(item.reason),
        )
        for item in found.results
    ]
    return table(
        ("IMAGE", "RESULT", "FETCHED", "REUSED", "TOOK", "PINNED", "JOB", "IMAGE ID", "REASON"), rows
    )


def _print_asked(every: Sequence[Followed], form: Form) -> None:
    if form in {"json", "yaml"}:
        sys.stdout.write(document(report(every, 0), form))
        return
    for item in every:
        sys.stdout.write(f"imagepulljob/{item.job} asked for {clean(item.image)}\n")
