"""The node as text, for a person with curl. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from daemon.debug import pod_lines, units
from daemon.debug.units import one_line
from daemon.debug.views import DiskView, JobView, NodeView, PodsView, ProblemView, PullView, RuntimeView
from daemon.names import PROGRAM

_WIDEST = 60
"""Characters to which shorter image names are padded; a longer one pushes its facts aside."""


def status(view: NodeView) -> str:
    """Everything that matters, one line a thing."""
    return "\n".join(_lines(view)) + "\n"


def flags(settings: Mapping[str, Any]) -> str:
    """Every setting as ``name=value``, by name."""
    return "".join(f"{name}={_value(settings[name])}\n" for name in sorted(settings))


def _lines(view: NodeView) -> Iterator[str]:
    up = units.countdown((view.now - view.started_at).total_seconds())
    yield f"{PROGRAM} {view.version} on {view.node}: {'ready' if view.ready else 'not ready'}, up {up}"
    yield from _section("Runtimes", map(_runtime, view.runtimes), empty="none found")
    yield from _section("Disk", map(_disk, [view.disk] if view.disk else []), empty="not measured yet")
    if view.pods is not None:
        yield from _pods(view.pods, view)
    yield from _section(
        f"Images ({len(view.pulls)})", _pulls(view.pulls), empty=f"none; try: {PROGRAM} pull IMAGE"
    )
    yield from _section(f"Jobs ({len(view.jobs)})", map(_job, view.jobs), empty="none")
    if view.problems:
        yield from _section(
            f"Refused documents ({len(view.problems)})", map(_problem, view.problems), empty=""
        )


def _pods(pods: PodsView, view: NodeView) -> Iterator[str]:
    if pods.problem:
        yield from _section("Pods", [pods.problem], empty="")
        return
    for title, lines in pod_lines.lists(pods, view.now):
        yield from _section(f"{title} ({len(lines)})", lines, empty="none")


def _section(title: str, lines: Iterable[str], *, empty: str) -> Iterator[str]:
    yield ""
    yield title
    yield from (f"  {line}" for line in list(lines) or [empty])


def _runtime(runtime: RuntimeView) -> str:
    state = "ready" if runtime.ready else f"not ready: {one_line(runtime.message) or 'no reason given'}"
    name = " ".join(filter(None, (runtime.name, runtime.version))) or "unknown runtime"
    return f"{name} at {runtime.socket}: {state}; progress in {runtime.progress}, pins by {runtime.pins}"


def _disk(disk: DiskView) -> str:
    return (
        f"{disk.mountpoint}: {units.size(disk.free)} free of {units.size(disk.capacity)}, "
        f"{units.size(disk.reserve)} in reserve, {units.size(disk.available)} available to pulls"
    )


def _pulls(pulls: Sequence[PullView]) -> Iterator[str]:
    width = min(max((len(pull.image) for pull in pulls), default=0), _WIDEST)
    for pull in pulls:
        facts = ", ".join(_facts(pull))
        yield f"{pull.phase:<10} {pull.percent:>3}%  {pull.image:<{width}}  {facts}".rstrip()
        if pull.reason or pull.message:
            yield f"    {pull.reason}: {one_line(pull.message)}"
        if pull.remedy:
            yield f"    what to do: {one_line(pull.remedy)}"


def _facts(pull: PullView) -> Iterator[str]:
    if pull.bytes_total:
        yield units.fraction(pull.bytes_done, pull.bytes_total)
    if pull.rate:
        yield units.rate(pull.rate)
    if pull.seconds_left is not None:
        yield f"{units.countdown(pull.seconds_left)} left"
    if pull.bytes_reused:
        yield f"{units.size(pull.bytes_reused)} reused"
    if pull.failures:
        yield f"{pull.failures} failed attempts"
    if pull.retry_at is not None:
        yield f"again at {pull.retry_at:%H:%M:%S}"
    if pull.pinned:
        yield "pinned"


def _job(job: JobView) -> str:
    counts = f"{job.succeeded}/{job.desired} done, {job.active} active, {job.failed} failed"
    said = f"; {one_line(job.message)}" if job.message else ""
    return f"{job.kind} {job.namespace}/{job.name}: {counts}{said}"


def _problem(problem: ProblemView) -> str:
    about = f" ({problem.object})" if problem.object else ""
    return f"{problem.file}:{problem.line}{about}: {one_line(problem.message)}"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)
