"""How far a job is, as ``kubectl inplaced pull`` says it in a line."""

from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest

from daemon.cli.cluster_lines import LineReporter, counts, result_line
from daemon.cli.output import Paint
from daemon.cli.shares import Share, Tracked
from daemon.objects.images import (
    ImagePullJob,
    ImagePullJobSpec,
    ImagePullJobStatus,
    ImageTag,
    ImageTagStatus,
)
from daemon.objects.meta import ObjectMeta

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def pulling(node: str) -> Share:
    return Share(node, "app:v1", ImageTag(tag="v1"), ImageTagStatus(tag="v1", phase="Pulling"))


def tracked(*shares: Share, seconds: float = 1.0, **status: Any) -> Tracked:
    job = ImagePullJob(
        metadata=ObjectMeta(name="web", namespace="shop", uid="u1"),
        spec=ImagePullJobSpec(image="app:v1"),
        status=ImagePullJobStatus(**status),
    )
    return Tracked("app:v1", job, shares=shares, seconds=seconds)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (tracked(), "asked"),
        (tracked(pulling("n1"), pulling("n2")), "2 pulling"),
        (tracked(seconds=11), "nobody has taken it up; is the controller running?"),
        (tracked(start_time=NOW, desired=3, succeeded=1, failed=1), "1 of 3 nodes, 1 failed"),
        (tracked(pulling("n1"), start_time=NOW, desired=3), "0 of 3 nodes, 1 pulling"),
    ],
)
def test_a_job_says_how_far_it_is(made: Tracked, said: str) -> None:
    assert counts(made) == said


def test_a_job_that_is_left_says_what_it_waits_for() -> None:
    left = result_line(tracked(seconds=20), Paint(StringIO()))

    assert left == "pending app:v1  after 20.0s: nobody has taken it up; is the controller running?"


def test_a_job_that_was_just_made_is_worth_no_line_until_nobody_takes_it_up() -> None:
    written = StringIO()
    with LineReporter(written) as lines:
        lines.show([tracked()])
        lines.show([tracked(seconds=11)])

    assert written.getvalue() == "app:v1: nobody has taken it up; is the controller running?\n"
