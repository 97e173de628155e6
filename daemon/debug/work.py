"""The jobs and the refused documents, as tables of the status page. Pure."""

from daemon import names
from daemon.debug import units
from daemon.debug.markup import Child, Html, element
from daemon.debug.overview import NOTHING, empty, reference, state
from daemon.debug.tables import Form
from daemon.debug.views import JobView, NodeView, ProblemView
from daemon.objects.meta import Condition

_JOBS = Form(
    "jobs",
    "Jobs that this node has seen",
    ("Job", "Images", "Done", "Active", "Failed", "Conditions", "Age"),
    {"Done", "Active", "Failed", "Age"},
)
_PROBLEMS = Form("problems", "Documents that were refused", ("Where", "Object", "Field", "Value", "Allowed"))
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
    return _JOBS.table(_job(job, view) for job in ordered)


def _job(job: JobView, view: NodeView) -> Html:
    name = (
        element("span", f"{job.namespace}/" if job.namespace else "", class_="quiet"),
        element("b", job.name),
        element("span", _origin(job), class_="detail"),
    )
    return _JOBS.row(
        f"{job.kind}/{job.namespace}/{job.name}",
        name,
        [reference(image) for image in job.images],
        f"{job.succeeded} / {job.desired}",
        job.active,
        element("span", str(job.failed), class_="state bad" if job.failed else None),
        _conditions(job),
        units.ago(job.created_at, view.now) if job.created_at else NOTHING,
    )


def _origin(job: JobView) -> str:
    return f"{job.kind} · {job.source}" if job.source else f"{job.kind} · asked for on this node"


def _conditions(job: JobView) -> Html:
    if not job.conditions:
        return element("span", job.message, class_="quiet") if job.message else NOTHING
    return element("ul", *map(_condition, filter(_is_told, job.conditions)), class_="conditions")


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
    table = _PROBLEMS.table(map(_problem, view.problems))
    return element("section", heading, note, table, aria_label="Refused documents", data_key="problems")


def _breakable(field: str) -> list[Child]:
    """A path of a field that is wrapped after its dots."""
    first, *others = field.split(".")
    return [first, *(part for other in others for part in (".", Html("<wbr>"), other))]


def _problem(problem: ProblemView) -> Html:
    value = problem.value if len(problem.value) <= _MAX_VALUE else problem.value[:_MAX_VALUE] + "…"
    return _PROBLEMS.row(
        f"{problem.file}:{problem.line}:{problem.field}",
        (
            element("code", f"{problem.file}:{problem.line}"),
            element("span", problem.message, class_="detail why"),
        ),
        problem.object or "unknown",
        element("code", _breakable(problem.field)) if problem.field else NOTHING,
        element("code", value) if value else NOTHING,
        problem.allowed or NOTHING,
    )
