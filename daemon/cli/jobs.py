"""``inplaced jobs``: the pull jobs as kubectl prints them, with OpenKruise's columns."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
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
    namespace: str | None = None
    """None for all of them: a node has few jobs, and those of ``pull`` have a namespace of their own."""
    namespaces_shown: bool = False
    """Whether the column is there also when all jobs are of one namespace."""
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
        single = len(options.names) == len(found) == 1
        sys.stdout.write(document(found[0] if single else JobList(items=found), options.form))
    elif found:
        _print(_Layout.of(found, options).lines(found))
    else:
        _say_none(every, options)
    return Exit.DONE


def _watch(agent: Agent, options: JobsOptions) -> None:
    """Print each job that changes, as kubectl does: rows are appended. Ends only by CliError or interrupt."""
    printed: dict[tuple[str, str, str], JobView] = {}
    layout: _Layout | None = None
    for view in agent.follow():
        if view is None:
            continue
        # A name that is unknown at first is a mistake; one that goes away later is not.
        found = _matching(view.jobs, options) if layout else _chosen(view.jobs, options)
        changed = tuple(job for job in found if printed.get(_key(job)) != job)
        printed = {_key(job): job for job in found}
        if options.form in {"json", "yaml"}:
            _print_documents(changed, options.form)
        elif changed:
            first = layout is None
            layout = layout or _Layout.of(changed, options)
            _print(layout.lines(changed)[0 if first else 1 :])


def _print_documents(changed: Sequence[JobView], form: Form) -> None:
    for job in changed:
        sys.stdout.write(document(job, form) if form == "json" else f"---\n{document(job, form)}")
    sys.stdout.flush()


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


@dataclass(slots=True)
class _Layout:
    """Which columns there are and how wide they became; the same for all rows of one command."""

    namespaced: bool
    prefixed: bool
    wide: bool
    widths: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, found: Sequence[JobView], options: JobsOptions) -> "_Layout":
        """The columns that tell these jobs apart."""
        return cls(
            namespaced=options.namespaces_shown
            or (options.namespace is None and _differ(found, "namespace")),
            prefixed=_differ(found, "kind"),
            wide=options.form == "wide",
        )

    def lines(self, found: Sequence[JobView]) -> list[str]:
        """The heading and one row a job."""
        headers = (*(("NAMESPACE",) if self.namespaced else ()), *HEADERS, *(WIDE if self.wide else ()))
        now = datetime.now(UTC)
        rows = [self._row(job, now) for job in found]
        self.widths = columns([headers, *rows], self.widths)
        return table(headers, rows, widths=self.widths)

    def _row(self, job: JobView, now: datetime) -> tuple[str, ...]:
        first = (clean(job.namespace),) if self.namespaced else ()
        # As kubectl tells kinds apart when it prints several of them.
        name = clean(f"{job.kind.lower()}/{job.name}" if self.prefixed else job.name)
        counts = (str(count) for count in (job.desired, job.active, job.succeeded, job.failed))
        row = (*first, name, *counts, age_of(job.created_at, now), clean(job.message))
        return (*row, *_wide(job, now)) if self.wide else row


def _differ(found: Sequence[JobView], name: str) -> bool:
    return len({getattr(job, name) for job in found}) > 1


def _wide(job: JobView, now: datetime) -> tuple[str, ...]:
    end = job.completed_at or now
    took = age((end - job.started_at).total_seconds()) if job.started_at else "<none>"
    return job.kind, took, clean(",".join(job.images)), clean(job.source) or "<none>"
