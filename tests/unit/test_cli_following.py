"""What is read from the agent's views about the images that were asked for."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from daemon.cli.following import UNSEEN, Followed, look, report
from daemon.debug.views import JobView, NodeView, PullView
from daemon.objects.meta import Condition

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ASKED = Followed("app:v2", "inplaced/pull-1")
OWNERS = ("ImagePullJob/inplaced/pull-1",)


def job(**changes: Any) -> JobView:
    usual: dict[str, Any] = {
        "kind": "ImagePullJob",
        "namespace": "inplaced",
        "name": "pull-1",
        "images": ("app:v2",),
        "desired": 1,
        "active": 1,
        "succeeded": 0,
        "failed": 0,
    }
    return JobView(**(usual | changes))


def seen(*jobs: JobView, pulls: tuple[PullView, ...] = ()) -> NodeView:
    return NodeView(node="n", version="1", started_at=NOW, now=NOW, ready=True, jobs=jobs, pulls=pulls)


def test_a_job_of_another_kind_or_namespace_with_that_name_is_another() -> None:
    others = seen(
        job(kind="ImageListPullJob", completed_at=NOW, succeeded=1),
        job(namespace="team", completed_at=NOW, succeeded=1),
    )

    assert not look(ASKED, others, 1.0).ended


def test_a_job_that_ended_well_has_succeeded() -> None:
    after = look(ASKED, seen(job(completed_at=NOW, succeeded=1)), 1.5)

    assert (after.result, after.seconds) == ("Succeeded", 1.5)


def test_a_failed_pull_tells_why() -> None:
    pull = PullView(image="x", phase="Failed", owners=OWNERS, reason="NotFound", message="no", remedy="look")

    after = look(ASKED, seen(job(completed_at=NOW, failed=1, message="1 failed"), pulls=(pull,)), 1.0)

    assert (after.result, after.reason, after.message, after.remedy) == ("Failed", "NotFound", "no", "look")


def test_a_job_that_failed_by_itself_tells_why_though_its_pull_goes_on_for_others() -> None:
    pull = PullView(image="x", phase="Pulling", owners=OWNERS)
    late = Condition(type="Ready", status="False", reason="DeadlineExceeded")
    over = job(completed_at=NOW, failed=1, message="too late", conditions=(late,))

    after = look(ASKED, seen(over, pulls=(pull,)), 1.0)

    assert (after.result, after.reason, after.message) == ("Failed", "DeadlineExceeded", "too late")


def test_a_job_that_vanished_after_its_image_came_has_succeeded() -> None:
    pull = PullView(image="x", phase="Succeeded", owners=OWNERS)
    before = look(ASKED, seen(job(), pulls=(pull,)), 1.0)

    assert look(before, seen(), 2.0).result == "Succeeded"


def test_a_job_that_never_was_seen_is_given_up_after_a_while() -> None:
    assert look(ASKED, seen(), UNSEEN - 1).result == "Unfinished"
    assert look(ASKED, seen(), UNSEEN + 1).reason == "Removed"


def test_a_report_counts_what_became_of_all() -> None:
    good = look(ASKED, seen(job(completed_at=NOW, succeeded=1)), 1.0)

    found = report([good, ASKED], 2.34)

    assert (found.succeeded, found.failed, found.unfinished, found.seconds) == (1, 0, 1, 2.3)
    assert [item.result for item in found.results] == ["Succeeded", "Unfinished"]


counts = st.integers(0, 2)
views = st.builds(
    seen,
    st.builds(
        job,
        completed_at=st.none() | st.just(NOW),
        succeeded=counts,
        failed=counts,
        namespace=st.sampled_from(["inplaced", "team"]),
    ),
    pulls=st.tuples(
        st.builds(
            PullView,
            image=st.just("x"),
            phase=st.sampled_from(["Waiting", "Pulling", "Succeeded", "Failed"]),
            owners=st.sampled_from([OWNERS, ()]),
        )
    ),
)


@given(st.lists(views, min_size=1, max_size=6))
def test_an_end_is_final_and_a_failure_has_a_reason(every: list[NodeView]) -> None:
    now, ends = ASKED, []
    for number, view in enumerate(every):
        now = look(now, view, float(number))
        ends += [now] if now.ended else []

    assert all(end == ends[0] for end in ends)
    assert all(end.reason for end in ends if end.result == "Failed")
