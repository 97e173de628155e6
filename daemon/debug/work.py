"""The jobs and the refused documents, as tables of the status page. Pure."""

from daemon import names
from daemon.debug import units
from daemon.debug.markup import Child, Html, element
from daemon.debug.overview import NOTHING, empty, reference, state
from daemon.debug.views import JobView, NodeView, ProblemView
from daemon.objects.meta import Condition

_JOB_COLUMNS = ("Job", "Images", "Done", "Active", "Failed", "Conditions", "Age")
_JOB_NUMBERS = {"Done", "Active", "Failed", "Age"}
_PROBLEM_COLUMNS = ("Where", "Object", "Field", "Value", "Allowed")
_MAX_VALUE = 200
_EXAMPLE = f"""apiVersion: {names.KRUISE_API}
kind: ImagePullJob
metadata: {{name: first}}
spec: {{image: "docker.io/library/busybox:1.36"}}"""
_MARKS = {names.RECONCILING: "busy", names.STALLED: "bad"}
"""Conditions that are good when they are false."""


def jobs(view: NodeView) -> Html:
    """All jobs, the newest first."""
    count = element("span", str(len(view.jobs)), class_="count") if view.jobs else None
    content: Child = _job_table(view) if view.jobs else _no_jobs()
    return element("section", element("h2", "Jobs", count), content, aria_label="Jobs")


def _no_jobs() -> Html:
    return empty("No job has been seen. The smallest manifest of one:", _EXAMPLE)


def _job_table(view: NodeView) -> Html:
    ordered = sorted(
        view.jobs,
        key=lambda job: (-job.created_at.timestamp() if job.created_at else 0.0, job.namespace, job.name),
    )
    rows = (_job(job, view) for job in ordered)
    return _table("jobs", "Jobs that this node has seen", _JOB_COLUMNS, _JOB_NUMBERS, list(rows))


def _table(kind: str, caption: str, columns: tuple[str, ...], numbers: set[str], rows: list[Html]) -> Html:
    headings = [
        element("th", name, scope="col", role="columnheader", class_=_classes(name, numbers))
        for name in columns
    ]
    return element(
        "table",
        element("caption", caption, class_="unseen"),
        element("thead", element("tr", *headings, role="row"), role="rowgroup"),
        element("tbody", *rows, role="rowgroup"),
        class_=kind,
        role="table",
    )


def _classes(name: str, numbers: set[str]) -> str:
    return f"c-{name.lower()}{' number' if name in numbers else ''}"


def _job(job: JobView, view: NodeView) -> Html:
    age: Child = units.ago(job.created_at, view.now) if job.created_at else NOTHING
    cells: tuple[tuple[str, Child], ...] = (
        ("Images", [reference(image) for image in job.images]),
        ("Done", f"{job.succeeded} / {job.desired}"),
        ("Active", job.active),
        ("Failed", element("span", str(job.failed), class_="state bad" if job.failed else None)),
        (
            "Conditions",
            element("ul", *map(_condition, filter(_is_told, job.conditions)), class_="conditions"),
        ),
        ("Age", age),
    )
    name = element(
        "th",
        element("span", f"{job.namespace}/" if job.namespace else "", class_="quiet"),
        element("b", job.name),
        element("span", _origin(job), class_="detail"),
        scope="row",
        role="rowheader",
        class_="c-job",
    )
    tds = (
        element("td", text, role="cell", class_=_classes(key, _JOB_NUMBERS), data_label=key)
        for key, text in cells
    )
    return element("tr", name, *tds, role="row", data_key=f"{job.kind}/{job.namespace}/{job.name}")


def _origin(job: JobView) -> str:
    return f"{job.kind} · {job.source}" if job.source else f"{job.kind} · asked for on this node"


def _condition(condition: Condition) -> Html:
    mark = "idle" if condition.status != "True" else _MARKS.get(condition.type, "good")
    word = condition.type if condition.status == "True" else f"Not {condition.type.lower()}"
    if condition.status == "Unknown":
        word = f"{condition.type}: unknown"
    return element(
        "li",
        state(mark, word),
        element("span", condition.reason, class_="reason"),
        element("span", condition.message, class_="quiet") if condition.message else None,
        data_key=condition.type,
    )


def _is_told(condition: Condition) -> bool:
    """Tell whether a condition says anything: of trouble that is absent there is nothing to say."""
    return condition.status != "False" or condition.type not in _MARKS


def problems(view: NodeView) -> Html | None:
    """Documents that were refused, None when there are none."""
    if not view.problems:
        return None
    heading = element("h2", "Refused documents", element("span", str(len(view.problems)), class_="count"))
    note = element("p", "Everything else went on. A corrected file is read at once.", class_="quiet")
    table = _table(
        "problems", "Documents that were refused", _PROBLEM_COLUMNS, set(), list(map(_problem, view.problems))
    )
    return element("section", heading, note, table, aria_label="Refused documents", data_key="problems")


def _breakable(field: str) -> list[Child]:
    """A path of a field that is wrapped after its dots."""
    first, *others = field.split(".")
    return [first, *(part for other in others for part in (".", Html("<wbr>"), other))]


def _problem(problem: ProblemView) -> Html:
    value = problem.value if len(problem.value) <= _MAX_VALUE else problem.value[:_MAX_VALUE] + "…"
    cells: tuple[tuple[str, Child], ...] = (
        ("Object", problem.object or "unknown"),
        ("Field", element("code", _breakable(problem.field)) if problem.field else NOTHING),
        ("Value", element("code", value) if value else NOTHING),
        ("Allowed", problem.allowed or NOTHING),
    )
    where = element(
        "th",
        element("code", f"{problem.file}:{problem.line}"),
        element("span", problem.message, class_="detail why"),
        scope="row",
        role="rowheader",
        class_="c-where",
    )
    tds = (
        element("td", text, role="cell", class_=_classes(key, set()), data_label=key) for key, text in cells
    )
    return element("tr", where, *tds, role="row", data_key=f"{problem.file}:{problem.line}:{problem.field}")
