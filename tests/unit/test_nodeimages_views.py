"""What a person sees of the node's images."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from daemon.cri.extras import Blob, Ingest
from daemon.cri.progress import Progress, Sighting, begin, finish, observe
from daemon.debug.views import PullView
from daemon.nodeimages.plans import Failure, Stage, Wanted
from daemon.nodeimages.records import Record
from daemon.nodeimages.views import Known, pull_views
from daemon.objects.images import ImageTagStatus

NOW = datetime(2026, 5, 1, tzinfo=UTC)
OLD, NEW = "sha256:old", "sha256:new"
BEGUN = begin((Blob(OLD, 300), Blob(NEW, 1000)), Sighting(0.0, present=frozenset({OLD})))
HALF = observe(BEGUN, Sighting(1.0, (Ingest(NEW, 500, 1000),)))
WHOLE = observe(HALF, Sighting(2.0, present=frozenset({NEW})))


def wanted(name: str = "app", **values: Any) -> Wanted:
    fields: dict[str, Any] = {"version": 2, "created_at": NOW, "owners": ("ImagePullJob/default/web",)}
    return Wanted(ref=f"{name}:1", name=name, tag="1", **(fields | values))


def known(*items: Wanted, **values: Any) -> Known:
    fields: dict[str, Mapping[str, object] | frozenset[str]] = {
        "report": {},
        "records": {},
        "running": {},
        "held": {},
        "pinned": frozenset(),
        "last": {},
    }
    return Known(wanted={item.ref: item for item in items}, **(fields | values))


def row(**values: Any) -> PullView:
    """The row of the one image, everything about it given without its name."""
    named = {key: {"app:1": value} for key, value in values.items()}
    (found,) = pull_views(known(wanted(), **named))
    return found


def status(phase: str, **values: Any) -> ImageTagStatus:
    return ImageTagStatus(tag="1", phase=phase, version=2, **values)  # type: ignore[arg-type]


def record(stage: Stage, failure: Failure | None = None) -> Record:
    return Record(wanted(), stage, failure=failure, retry_time=NOW + timedelta(seconds=9))


def test_an_image_of_which_nothing_is_known_waits() -> None:
    found = row()

    assert (found.phase, found.percent, found.version) == ("Waiting", 0, 2)
    assert (found.image, found.owners) == ("app:1", ("ImagePullJob/default/web",))


DENIED = Failure("Denied", "no access")


@pytest.mark.parametrize(
    ("told", "done", "progress", "phase", "percent"),
    [
        ("Waiting", None, None, "Waiting", 0),
        ("Waiting", record(Stage.IDLE), None, "Waiting", 0),
        ("Waiting", record(Stage.IDLE, DENIED), None, "BackingOff", 0),
        ("Waiting", record(Stage.LOOKING, DENIED), None, "Waiting", 0),
        ("Waiting", record(Stage.IDLE, DENIED), HALF, "BackingOff", 0),
        ("Pulling", record(Stage.PULLING), None, "Pulling", 0),
        ("Pulling", record(Stage.PULLING, DENIED), HALF, "Pulling", 50),
        ("Pulling", record(Stage.PULLING), WHOLE, "Unpacking", 99),
        ("Succeeded", None, None, "Succeeded", 100),
        ("Succeeded", record(Stage.IDLE), HALF, "Succeeded", 100),
        ("Failed", record(Stage.IDLE, DENIED), HALF, "Failed", 0),
    ],
)
def test_phase_and_percent_follow_from_what_is_known(
    told: str, done: Record | None, progress: Progress | None, phase: str, percent: int
) -> None:
    values = {"report": status(told), "records": done, "running": progress}

    found = row(**{key: value for key, value in values.items() if value is not None})

    assert (found.phase, found.percent) == (phase, percent)


def test_bytes_layers_and_rate_of_a_running_pull_are_shown() -> None:
    found = row(report=status("Pulling"), running=HALF)

    assert (found.bytes_done, found.bytes_total, found.bytes_reused) == (500, 1000, 300)
    assert found.rate == pytest.approx(500.0)
    assert found.seconds_left == pytest.approx(1.0)
    assert [(layer.digest, layer.state, layer.done, layer.size) for layer in found.layers] == [
        (OLD, "reused", 0, 300),
        (NEW, "fetching", 500, 1000),
    ]


def test_of_unknown_layers_no_total_is_promised() -> None:
    unknown = observe(begin(None, Sighting(0.0)), Sighting(1.0, (Ingest(NEW, 500, 1000),)))

    found = row(report=status("Pulling"), running=unknown)

    assert (found.bytes_done, found.bytes_total, found.seconds_left) == (500, 0, None)


def test_an_ended_pull_shows_its_bytes_but_no_rate() -> None:
    told = status("Succeeded", image_id="app@sha256:1", start_time=NOW)

    found = row(report=told, last=finish(HALF))

    assert (found.bytes_done, found.bytes_reused, found.rate, found.seconds_left) == (1000, 300, 0.0, None)
    assert found.image_id == "app@sha256:1"


def test_a_request_that_found_its_image_shows_nothing_of_an_earlier_pull() -> None:
    found = row(report=status("Succeeded", image_id="app@sha256:1"), last=finish(HALF))

    assert (found.bytes_done, found.bytes_total, found.bytes_reused, found.layers) == (0, 0, 0, ())
    assert (found.phase, found.percent) == ("Succeeded", 100)


def test_a_running_pull_hides_the_one_before_it() -> None:
    found = row(report=status("Pulling"), running=BEGUN, last=finish(HALF))

    assert found.bytes_done == 0


@pytest.mark.parametrize("phase", ["Waiting", "Failed"])
@pytest.mark.parametrize("reason", ["Denied", "NoSpace", "DeadlineExceeded"])
def test_a_failure_comes_with_its_remedy(phase: str, reason: str) -> None:
    found = row(report=status(phase, reason=reason, message="why", failures=2))

    assert (found.reason, found.message, found.failures) == (reason, "why", 2)
    assert found.remedy


def test_without_a_failure_there_is_no_remedy() -> None:
    assert row(report=status("Succeeded"), records=record(Stage.IDLE, DENIED)).remedy == ""


def test_the_next_try_is_shown_while_it_is_awaited_and_no_longer() -> None:
    waiting = row(report=status("Waiting"), records=record(Stage.IDLE, DENIED))
    failed = row(report=status("Failed"), records=record(Stage.IDLE, DENIED))

    assert (waiting.retry_at, failed.retry_at) == (NOW + timedelta(seconds=9), None)


def test_pins_are_shown() -> None:
    found = pull_views(known(wanted("a"), wanted("b"), pinned=frozenset({"b:1"})))

    assert {view.image: view.pinned for view in found} == {"a:1": False, "b:1": True}


def test_running_images_stand_first_then_by_what_can_still_happen() -> None:
    phases = {"s": "Succeeded", "f": "Failed", "w": "Waiting", "p": "Pulling", "b": "Waiting", "u": "Pulling"}
    report = {f"{name}:1": status(phase) for name, phase in phases.items()}

    found = pull_views(
        known(
            *(wanted(name) for name in phases),
            report=report,
            running={"u:1": WHOLE},
            records={"b:1": record(Stage.IDLE, DENIED)},
        )
    )

    assert [view.image for view in found] == ["p:1", "u:1", "b:1", "w:1", "f:1", "s:1"]


def test_in_one_phase_priority_counts_then_age_then_name() -> None:
    late = wanted("late", created_at=NOW + timedelta(milliseconds=500))
    later = wanted("early", created_at=NOW + timedelta(seconds=1))

    found = pull_views(known(wanted("b"), wanted("a"), later, late, wanted("urgent", priority=9)))

    assert [view.image for view in found] == ["urgent:1", "a:1", "b:1", "late:1", "early:1"]


PROGRESSES = st.sampled_from([BEGUN, HALF, WHOLE, finish(HALF), begin(None, Sighting(0.0))])
WORLDS = st.builds(
    lambda names, **values: known(*(wanted(name) for name in names), **values),
    st.sets(st.sampled_from("abc")),
    report=st.dictionaries(
        st.sampled_from(["a:1", "b:1", "c:1", "gone:1"]),
        st.sampled_from(["Waiting", "Pulling", "Succeeded", "Failed"]).map(status),
    ),
    running=st.dictionaries(st.sampled_from(["a:1", "b:1", "gone:1"]), PROGRESSES),
    last=st.dictionaries(st.sampled_from(["a:1", "c:1", "gone:1"]), PROGRESSES),
    records=st.dictionaries(
        st.sampled_from(["a:1", "gone:1"]),
        st.builds(record, st.sampled_from(Stage), st.sampled_from([None, DENIED])),
    ),
)


@given(WORLDS)
def test_each_wanted_image_has_one_row_that_makes_sense(seen: Known) -> None:
    views = pull_views(seen)

    assert sorted(view.image for view in views) == sorted(seen.wanted)
    for view in views:
        assert 0 <= view.percent <= 100
        assert view.percent < 100 or view.phase in ("Succeeded", "Unpacking")
        assert view.bytes_total == 0 or view.bytes_done <= view.bytes_total
        assert view.rate == 0.0 or view.phase == "Pulling"


@given(WORLDS)
def test_the_order_does_not_depend_on_the_order_of_the_spec(seen: Known) -> None:
    turned = replace(seen, wanted=dict(reversed(list(seen.wanted.items()))))

    assert pull_views(turned) == pull_views(seen)
