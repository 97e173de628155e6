"""``inplaced jobs``: the pull jobs as kubectl prints them, with OpenKruise's columns."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from daemon.cli.client import Agent
from daemon.cli.errors import NotFoundError
from daemon.cli.output import Form, age, age_of, clean, columns, document, table
from daemon.cli.usage import Exit
from daemon.debug.views import JobView, View
from daemon.names import PROGRAM

HEADERS = ("NAME", "TOTAL", "ACTIVE", "SUCCEED", "FAILED", "AGE", "MESSAGE")
WIDE = ("KIND", "DURATION", "IMAGES", "SOURCE")


class JobList(View, frozen=True, kw_only=True):
    """The document of several jobs, in the form of a Kubernetes list."""

    items: tuple[JobView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsOptions:
    """What was asked on the command line."""

    socket: str
    names: tuple[str, ...] = ()
    namespace: str | None = "default"
    """None for all of them."""
    watch: bool = False
    form: Form = "text"


def jobs(options: JobsOptions) -> Exit:
    """Print the jobs once, or after each change. Raises CliError."""
    agent = Agent(options.socket)
    if options.watch:
        _watch(agent, options)
    every = agent.jobs()
    found = _chosen(every, options)
    if options.form in {"json", "yaml"}:
        single = len(options.names) == 1
        sys.stdout.write(document(found[0] if single else JobList(items=found), options.form))
    elif found:
        _print(table(_headers(options), _rows(found, options)))
    else:
        _say_none(every, options)
    return Exit.DONE


def _watch(agent: Agent, options: JobsOptions) -> None:
    """Print each job that changes, as kubectl does: rows are appended. Ends only by CliError or interrupt."""
    printed: dict[tuple[str, str, str], JobView] = {}
    widths: list[int] = []
    for view in agent.follow():
        if view is None:
            continue
        found = _chosen(view.jobs, options) if not printed else _matching(view.jobs, options)
        changed = tuple(job for job in found if printed.get(_key(job)) != job)
        printed = {_key(job): job for job in found}
        widths = _print_changed(changed, options, widths)


def _print_changed(changed: Sequence[JobView], options: JobsOptions, widths: list[int]) -> list[int]:
    if options.form in {"json", "yaml"}:
        for job in changed:
            sys.stdout.write(("---\n" if options.form == "yaml" else "") + document(job, options.form))
        sys.stdout.flush()
        return widths
    if not changed:
        return widths
    headers, rows = _headers(options), _rows(changed, options)
    # The heading was printed with the first rows; later ones keep its widths, and widen what does not fit.
    after = columns([headers, *rows], widths)
    _print(table(headers, rows, widths=after)[1 if widths else 0 :])
    return after


def _print(lines: Iterable[str]) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _key(job: JobView) -> tuple[str, str, str]:
    return job.kind, job.namespace, job.name


def _matching(every: Iterable[JobView], options: JobsOptions) -> tuple[JobView, ...]:
    found = [
        job
        for job in every
        if options.namespace in {None, job.namespace}
        and (not options.names or any(_is_named(job, name) for name in options.names))
    ]
    return tuple(sorted(found, key=lambda job: (job.namespace, job.name, job.kind)))


def _chosen(every: Sequence[JobView], options: JobsOptions) -> tuple[JobView, ...]:
    """Those that match. Raises NotFoundError when a name matches nothing."""
    found = _matching(every, options)
    for name in options.names:
        if not any(_is_named(job, name) for job in found):
            where = f" in namespace {options.namespace}" if options.namespace else ""
            raise NotFoundError(f"no job {clean(name)!r}{where}. {_elsewhere(every, options, name)}".rstrip())
    return found


def _elsewhere(every: Iterable[JobView], options: JobsOptions, name: str) -> str:
    others = sorted({job.namespace for job in every if _is_named(job, name)} - {options.namespace})
    return (
        f"There is one in {', '.join(others)}: use -n {others[0]}."
        if others
        else f"'{PROGRAM} jobs -A' lists all."
    )


def _is_named(job: JobView, name: str) -> bool:
    kind, slash, rest = name.rpartition("/")
    return job.name == rest and (not slash or kind.lower() in {job.kind.lower(), f"{job.kind.lower()}s"})


def _say_none(every: Sequence[JobView], options: JobsOptions) -> None:
    """On stderr, as kubectl does, so that a pipe gets nothing."""
    where = f" in namespace {options.namespace}" if options.namespace else ""
    hint = f"; {len(every)} in others, which -A shows" if every else ""
    sys.stderr.write(f"No jobs found{where}{hint}.\n")


def _headers(options: JobsOptions) -> tuple[str, ...]:
    first = ("NAMESPACE",) if options.namespace is None else ()
    return (*first, *HEADERS, *(WIDE if options.form == "wide" else ()))


def _rows(found: Sequence[JobView], options: JobsOptions) -> list[tuple[str, ...]]:
    now = datetime.now(UTC)
    prefixed = len({job.kind for job in found}) > 1
    return [_row(job, now, options, prefixed=prefixed) for job in found]


def _row(job: JobView, now: datetime, options: JobsOptions, *, prefixed: bool) -> tuple[str, ...]:
    first = (job.namespace,) if options.namespace is None else ()
    # As kubectl tells kinds apart when it prints several of them.
    name = f"{job.kind.lower()}/{job.name}" if prefixed else job.name
    counts = (str(count) for count in (job.desired, job.active, job.succeeded, job.failed))
    row = (*first, name, *counts, age_of(job.created_at, now), clean(job.message))
    return (*row, *_wide(job, now)) if options.form == "wide" else row


def _wide(job: JobView, now: datetime) -> tuple[str, ...]:
    end = job.completed_at or now
    took = age((end - job.started_at).total_seconds()) if job.started_at else "<none>"
    return job.kind, took, clean(",".join(job.images)), job.source or "<none>"
