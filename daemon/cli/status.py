"""``inplaced status``: the node at one moment, with the remedy of what is wrong."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from daemon.cli.client import Agent
from daemon.cli.lines import setback
from daemon.cli.output import (
    Colour,
    Form,
    Paint,
    age,
    age_of,
    clean,
    document,
    is_terminal,
    rate,
    share,
    size,
    table,
)
from daemon.cli.usage import Exit
from daemon.debug import pod_lines
from daemon.debug.views import NodeView, ProblemView, PullView, RuntimeView
from daemon.names import PROGRAM

_COLOURS: dict[str, Colour] = {
    "Succeeded": "green",
    "Failed": "red",
    "BackingOff": "yellow",
    "Waiting": "dim",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusOptions:
    """What was asked on the command line."""

    socket: str
    watch: bool = False
    form: Form = "text"


def status(options: StatusOptions) -> Exit:
    """Print the node once, or after each change. Raises CliError."""
    agent = Agent(options.socket)
    if not options.watch:
        sys.stdout.write(_text(agent.view(), options.form))
    elif is_terminal(sys.stdout) and options.form in {"text", "wide"}:
        _redraw(agent, options.form)
    else:
        _append(agent, options.form)
    return Exit.DONE


def _redraw(agent: Agent, form: Form) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for view in agent.follow():
            text = "the agent is away; waiting for it" if view is None else _text(view, form).rstrip("\n")
            live.update(Text.from_ansi(text, no_wrap=True, overflow="crop"), refresh=True)


def _append(agent: Agent, form: Form) -> None:
    """Whole documents, one after the other."""
    for view in agent.follow():
        if view is not None:
            sys.stdout.write(_text(view, form) if form == "json" else f"---\n{_text(view, form)}")
            sys.stdout.flush()


def _text(view: NodeView, form: Form) -> str:
    if form in {"json", "yaml"}:
        return document(view, form)
    return "\n".join(lines_of(view, Paint(sys.stdout), wide=form == "wide")) + "\n"


def lines_of(view: NodeView, paint: Paint, *, wide: bool) -> Iterator[str]:
    """The node as text."""
    yield from _head(view, paint)
    yield from _pulls(view, paint, wide=wide)
    yield from _pods(view, paint)
    yield from _failures(view, paint)
    yield from _problems(view.problems, paint)


def _head(view: NodeView, paint: Paint) -> Iterator[str]:
    ready = paint("ready", "green") if view.ready else paint("not ready", "red")
    yield f"Node:     {clean(view.node)}, {ready}"
    yield f"Agent:    {PROGRAM} {clean(view.version)}, up {age_of(view.started_at, view.now)}"
    for runtime in view.runtimes:
        yield f"Runtime:  {_runtime(runtime, paint)}"
    if not view.runtimes:
        yield f"Runtime:  {paint('none found', 'red')}; start one, or name its socket with --runtime"
    if disk := view.disk:
        used = f"{size(disk.available)} for pulls, {size(disk.free)} free of {size(disk.capacity)}"
        full = "" if disk.available else paint(" (full)", "red")
        yield f"Disk:     {clean(disk.mountpoint)}, {used}, {size(disk.reserve)} kept free{full}"
    yield f"Jobs:     {_jobs(view)}"


def _runtime(runtime: RuntimeView, paint: Paint) -> str:
    name = " ".join(clean(word) for word in (runtime.name, runtime.version) if word) or "unknown"
    state = paint("ready", "green") if runtime.ready else paint("not ready", "red")
    message = f": {clean(runtime.message)}" if runtime.message else ""
    abilities = f"progress by {runtime.progress}, pins by {runtime.pins}"
    return f"{name} at {clean(runtime.socket)}, {state}{message}, {abilities}"


def _jobs(view: NodeView) -> str:
    done = sum(job.completed_at is not None for job in view.jobs)
    failed = sum(job.failed > 0 for job in view.jobs)
    return f"{len(view.jobs)} in all, {len(view.jobs) - done} going on, {failed} with failures"


def _pulls(view: NodeView, paint: Paint, *, wide: bool) -> Iterator[str]:
    if not view.pulls:
        return
    headers = ("IMAGE", "PHASE", "DONE", "FETCHED", "REUSED", "RATE", "LEFT", "AGE")
    more = ("PRIORITY", "FAILURES", "PINNED", "OWNERS", "IMAGE ID") if wide else ()
    rows = [
        (*_pull(pull, view, paint), *(_more(pull) if wide else ()))
        for pull in sorted(view.pulls, key=lambda pull: pull.completed_at is not None)
    ]
    yield ""
    yield from table((*headers, *more), rows)


def _pull(pull: PullView, view: NodeView, paint: Paint) -> tuple[str, ...]:
    colour = _COLOURS.get(pull.phase)
    return (
        clean(pull.image),
        paint(pull.phase, colour) if colour else pull.phase,
        f"{pull.percent}%",
        share(pull.bytes_done, pull.bytes_total) if pull.bytes_total else size(pull.bytes_done),
        size(pull.bytes_reused),
        rate(pull.rate) if pull.rate else "-",
        age(pull.seconds_left) if pull.seconds_left is not None else "-",
        age_of(pull.created_at, view.now),
    )


def _more(pull: PullView) -> tuple[str, ...]:
    pinned = "yes" if pull.pinned else "no"
    owners = clean(",".join(pull.owners))
    return str(pull.priority), str(pull.failures), pinned, owners or "<none>", pull.image_id or "<none>"


def _pods(view: NodeView, paint: Paint) -> Iterator[str]:
    """What changes in place, where something does."""
    lists = pod_lines.lists(view.pods, view.now) if view.pods is not None else ()
    for title, lines in lists:
        if lines:
            yield ""
            yield paint(f"{title}:", "bold")
        yield from (f"  {line}" for line in lines)


def _failures(view: NodeView, paint: Paint) -> Iterator[str]:
    """The pulls in trouble: those that failed, and those that pause or wait for a reason."""
    troubled = [pull for pull in view.pulls if pull.phase != "Succeeded" and (pull.reason or pull.message)]
    if troubled:
        yield ""
        yield paint("Trouble:", "bold")
    for pull in troubled:
        again = f", again in {age((pull.retry_at - view.now).total_seconds())}" if pull.retry_at else ""
        said = f"failed, {_why(pull)}" if pull.phase == "Failed" else setback(pull) + again
        yield f"  {clean(pull.image)}: {paint(said, 'red' if pull.phase == 'Failed' else 'yellow')}"
        if pull.remedy:
            yield f"    remedy: {clean(pull.remedy)}"


def _why(pull: PullView) -> str:
    return ": ".join(part for part in (pull.reason, clean(pull.message)) if part)


def _problems(problems: tuple[ProblemView, ...], paint: Paint) -> Iterator[str]:
    if problems:
        yield ""
        yield paint("Refused manifests:", "bold")
    for problem in problems:
        named = f" {clean(problem.object)}" if problem.object else ""
        field = f" {clean(problem.field)}" if problem.field else ""
        value = f" {clean(problem.value)!r}" if problem.value else ""
        about = f"{named}{field}{value}"
        place = f"{clean(problem.file)}:{problem.line}" + (f":{about}" if about else "")
        yield f"  {place}: {paint(clean(problem.message), 'red')}"
        if problem.allowed:
            yield f"    allowed: {clean(problem.allowed)}"
