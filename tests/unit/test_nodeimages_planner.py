"""What the node decides about its wanted images, for single cases and for any world."""

from collections.abc import Mapping
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from daemon.nodeimages.planner import plan
from daemon.nodeimages.plans import (
    Attempt,
    Cancel,
    Facts,
    Failure,
    Look,
    Observed,
    Pin,
    Plan,
    Pull,
    Stage,
    Unpin,
)
from daemon.objects.images import ImageTagStatus
from tests.unit.node_plans import MIB, NOW, done, observed, wanted


def test_an_unknown_image_is_looked_at_before_anything_else() -> None:
    made = plan(observed(wanted()))

    assert made.actions == (Look(wanted()),)
    assert made.report["app:1"].phase == "Waiting"


def test_no_more_images_are_looked_at_than_are_soon_pulled() -> None:
    items = [wanted(name) for name in "abcdef"]
    ready = {f"{name}:1": Attempt(0, facts=Facts(needed=1)) for name in "bc"}
    running = {"a:1": Attempt(0, stage=Stage.PULLING, facts=Facts(needed=1))}

    made = plan(observed(*items, attempts=ready | running, workers=1))

    assert made.actions == ()


def test_what_waits_for_room_keeps_nobody_from_being_looked_at() -> None:
    items = [wanted(name) for name in "abcd"]
    held = {f"{name}:1": Attempt(0, facts=Facts(needed=99 * MIB)) for name in "bc"}
    running = {"a:1": Attempt(0, stage=Stage.PULLING, facts=Facts(needed=1))}

    made = plan(observed(*items, attempts=held | running, workers=1))

    assert made.actions == (Look(wanted("d")),)


def test_a_missing_image_that_fits_is_pulled() -> None:
    facts = Facts(needed=MIB)

    made = plan(observed(wanted(), attempts={"app:1": Attempt(0, facts=facts)}))

    assert made.actions == (Pull(wanted(), facts),)
    assert made.report["app:1"].phase == "Pulling"


def test_a_present_image_is_reported_and_pinned_without_a_pull() -> None:
    attempts = {"app:1": Attempt(0, image_id="sha256:1")}

    made = plan(observed(wanted(), attempts=attempts))

    assert made.actions == (Pin("app:1"),)
    assert made.report["app:1"].phase == "Succeeded"
    assert made.report["app:1"].image_id == "app@sha256:1"


@pytest.mark.parametrize("pinned", [None, frozenset({"app:1"})], ids=["cannot pin", "is pinned"])
def test_nothing_is_pinned_twice_or_where_that_is_not_possible(pinned: frozenset[str] | None) -> None:
    made = plan(observed(wanted(), attempts={"app:1": Attempt(0, image_id="sha256:1")}, pinned=pinned))

    assert made.actions == ()
    assert made.report["app:1"].phase == "Succeeded"


def test_a_refused_pin_is_not_tried_again_and_does_not_hold_the_report_back() -> None:
    attempts = {"app:1": Attempt(0, image_id="sha256:1")}

    made = plan(observed(wanted(), attempts=attempts, pin_refused={"app:1"}))

    assert made.actions == ()
    assert made.report["app:1"].phase == "Succeeded"


@pytest.mark.parametrize(("age", "pins"), [(29, ()), (30, (Pin("app:1"),))])
def test_pins_wait_for_running_pulls_but_never_for_long(age: int, pins: tuple[Pin, ...]) -> None:
    recorded = ImageTagStatus(tag="1", phase="Succeeded", completion_time=NOW - timedelta(seconds=age))
    busy = {"other:1": Attempt(0, Stage.PULLING)}

    made = plan(observed(wanted(), wanted("other"), recorded={"app:1": recorded}, attempts=busy))

    assert made.actions == pins


@pytest.mark.parametrize(("ago", "pins", "wake_in"), [(0.2, (), 0.1), (0.3, (Pin("app:1"),), None)])
def test_pins_leave_the_first_moments_after_a_pull_to_its_report(
    ago: float, pins: tuple[Pin, ...], wake_in: float | None
) -> None:
    made = plan(observed(wanted(), recorded={"app:1": done()}, monotonic=100.0, pulled_at=100.0 - ago))

    assert made.actions == pins
    assert made.wake_in == pytest.approx(wake_in)


def test_a_finished_request_is_never_begun_again() -> None:
    made = plan(observed(wanted(), recorded={"app:1": done()}, pinned={"app:1"}))

    assert made.actions == ()
    assert made.report["app:1"] == done()


def test_a_finished_image_that_lost_its_pin_gets_it_back() -> None:
    made = plan(observed(wanted(), recorded={"app:1": done()}))

    assert made.actions == (Pin("app:1"),)


def test_a_status_of_another_version_is_ignored() -> None:
    made = plan(observed(wanted(version=2), recorded={"app:1": done(version=1)}))

    assert made.actions == (Look(wanted(version=2)),)
    assert made.report["app:1"].completion_time is None


def test_a_pull_that_is_no_longer_wanted_is_cancelled() -> None:
    made = plan(observed(attempts={"app:1": Attempt(3, Stage.PULLING)}))

    assert made.actions == (Cancel("app:1", 3),)


def test_a_pull_of_an_older_version_is_cancelled_and_the_newer_one_waits_for_its_end() -> None:
    made = plan(observed(wanted(version=4), attempts={"app:1": Attempt(3, Stage.PULLING)}))

    assert made.actions == (Cancel("app:1", 3),)
    assert made.report["app:1"].version == 4


def test_a_pin_is_released_when_its_request_is_gone() -> None:
    made = plan(observed(pinned={"app:1"}))

    assert made.actions == (Unpin("app:1"),)


def test_higher_priority_goes_first_then_the_older_request() -> None:
    late = wanted("late", created_at=NOW + timedelta(seconds=1))
    early, urgent = wanted("early"), wanted("urgent", priority=5, created_at=NOW + timedelta(seconds=2))
    attempts = {item.ref: Attempt(0, facts=Facts()) for item in (late, early, urgent)}

    made = plan(observed(late, early, urgent, attempts=attempts, workers=2))

    assert [action.wanted.name for action in made.actions if isinstance(action, Pull)] == ["urgent", "early"]


def test_running_pulls_use_up_the_workers() -> None:
    attempts = {"a:1": Attempt(0, Stage.PULLING), "b:1": Attempt(0, facts=Facts())}

    made = plan(observed(wanted("a"), wanted("b"), attempts=attempts, workers=1))

    assert made.actions == ()


def test_a_failure_waits_for_its_back_off_and_says_why() -> None:
    failed = Attempt(0, failures=1, failure=Failure("Denied", "no access"), retry_at=103.5)

    made = plan(observed(wanted(), attempts={"app:1": failed}))

    assert made.actions == ()
    assert made.wake_in == pytest.approx(3.5)
    assert made.report["app:1"].message == "no access"
    assert made.report["app:1"].failures == 1


@pytest.mark.parametrize(("failures", "phase"), [(3, "Waiting"), (4, "Failed")])
def test_the_back_off_limit_counts_retries_not_attempts(failures: int, phase: str) -> None:
    failed = Attempt(0, failures=failures, failure=Failure("Denied", "no access"))

    made = plan(observed(wanted(backoff_limit=3), attempts={"app:1": failed}))

    assert made.report["app:1"].phase == phase


def test_failures_of_an_earlier_process_count() -> None:
    recorded = ImageTagStatus(tag="1", phase="Waiting", failures=2)

    made = plan(observed(wanted(), recorded={"app:1": recorded}))

    assert made.actions == (Look(wanted(), failures=2),)


def test_an_invalid_reference_fails_at_once_with_its_reason() -> None:
    broken = wanted(problem=Failure("InvalidReference", "tag '!' is wrong", final=True))

    made = plan(observed(broken))

    assert made.report["app:1"].phase == "Failed"
    assert made.report["app:1"].reason == "InvalidReference"


def test_a_deadline_ends_a_running_pull_first_and_then_the_request() -> None:
    late = wanted(deadline_at=NOW)

    running = plan(observed(late, attempts={"app:1": Attempt(0, Stage.PULLING)}))
    ended = plan(observed(late, attempts={"app:1": Attempt(0)}))

    assert running.actions == (Cancel("app:1", 0),)
    assert ended.actions == ()
    assert ended.report["app:1"].reason == "DeadlineExceeded"


def test_the_plan_wakes_up_for_the_deadline() -> None:
    made = plan(
        observed(
            wanted(deadline_at=NOW + timedelta(seconds=7)), attempts={"app:1": Attempt(0, Stage.PULLING)}
        )
    )

    assert made.wake_in == pytest.approx(7.0)


def test_nothing_is_started_while_the_runtime_is_away() -> None:
    attempts = {"b:1": Attempt(0, facts=Facts()), "c:1": Attempt(0, image_id="sha256:1")}

    made = plan(observed(wanted("a"), wanted("b"), wanted("c"), attempts=attempts, runtime_ready=False))

    assert made.actions == ()


NAMES = st.sampled_from(["a", "b", "c", "d"])
WANTED = st.builds(
    wanted,
    NAMES,
    st.integers(0, 2),
    priority=st.integers(-1, 1),
    backoff_limit=st.integers(0, 2),
    deadline_at=st.one_of(st.none(), st.integers(-2, 50).map(lambda left: NOW + timedelta(seconds=left))),
)
REFS = NAMES.map(lambda name: f"{name}:1")
FAILURES = st.builds(Failure, st.sampled_from(["Denied", "NoSpace", "RuntimeDown"]), st.just("why"))
ATTEMPTS = st.builds(
    Attempt,
    version=st.integers(0, 2),
    stage=st.sampled_from(Stage),
    facts=st.one_of(st.none(), st.builds(Facts, needed=st.integers(0, 20 * MIB))),
    failures=st.integers(0, 4),
    failure=st.one_of(st.none(), FAILURES),
    retry_at=st.floats(0, 200),
    image_id=st.sampled_from(["", "sha256:1"]),
    outstanding=st.integers(0, 20 * MIB),
)
STATUSES = st.builds(
    done, version=st.integers(0, 2), phase=st.sampled_from(["Succeeded", "Failed"])
) | st.builds(ImageTagStatus, tag=st.just("1"), phase=st.just("Pulling"), version=st.integers(0, 2))
WORLDS = st.builds(
    lambda items, **values: observed(*items.values(), **values),
    st.lists(WANTED, max_size=4).map(lambda items: {item.ref: item for item in items}),
    attempts=st.dictionaries(REFS, ATTEMPTS),
    recorded=st.dictionaries(REFS, STATUSES),
    pinned=st.one_of(st.none(), st.frozensets(REFS)),
    pin_refused=st.frozensets(REFS),
    available=st.integers(0, 30 * MIB),
    runtime_ready=st.booleans(),
    workers=st.integers(1, 3),
)


@given(WORLDS)
def test_no_more_pulls_run_than_there_are_workers(seen: Observed) -> None:
    running = sum(item.stage in (Stage.PULLING, Stage.CANCELLING) for item in seen.attempts.values())

    pulls = [action for action in plan(seen).actions if isinstance(action, Pull)]

    assert not pulls or running + len(pulls) <= seen.workers


@given(WORLDS)
def test_new_pulls_never_take_more_disk_than_there_is(seen: Observed) -> None:
    taken = sum(
        item.outstanding for item in seen.attempts.values() if item.stage in (Stage.PULLING, Stage.CANCELLING)
    )

    pulls = [action for action in plan(seen).actions if isinstance(action, Pull)]

    assert not pulls or taken + sum(pull.facts.needed for pull in pulls) <= max(seen.available, taken)


@given(WORLDS)
def test_an_image_is_pulled_only_while_it_is_wanted_absent_and_unfinished(seen: Observed) -> None:
    current = {item.ref: item for item in seen.wanted}

    for action in plan(seen).actions:
        if isinstance(action, Pull):
            attempt, recorded = seen.attempts[action.wanted.ref], seen.recorded.get(action.wanted.ref)
            assert current[action.wanted.ref] == action.wanted
            assert not attempt.image_id
            assert attempt.stage is Stage.IDLE
            assert (
                recorded is None or recorded.version != action.wanted.version or not recorded.completion_time
            )


@given(WORLDS)
def test_every_wanted_image_is_reported_in_its_own_version(seen: Observed) -> None:
    report = plan(seen).report

    assert {item.ref: item.version for item in seen.wanted} == {
        ref: status.version for ref, status in report.items()
    }


@given(WORLDS)
def test_nothing_is_pinned_and_unpinned_in_one_plan(seen: Observed) -> None:
    actions = plan(seen).actions
    pins = {action.ref for action in actions if isinstance(action, Pin)}
    unpins = {action.ref for action in actions if isinstance(action, Unpin)}

    assert not pins & unpins
    assert pins <= {item.ref for item in seen.wanted}


@given(WORLDS)
def test_every_world_settles(seen: Observed) -> None:
    made = Plan()
    for _ in range(12):
        made = plan(seen)
        seen = _after(seen, made)

    left = [action for action in made.actions if not isinstance(action, Look)]
    assert left == []
    for item in seen.wanted:
        status = made.report[item.ref]
        assert status.completion_time or item.ref in made.held or not seen.runtime_ready


def _after(seen: Observed, made: Plan) -> Observed:
    """The world in which every action has landed, and time has passed."""
    attempts = {
        ref: replace(attempt, stage=Stage.IDLE, outstanding=0) for ref, attempt in seen.attempts.items()
    }
    pinned = set(seen.pinned or ())
    for action in made.actions:
        match action:
            case Look(item, failures):
                attempts[item.ref] = Attempt(item.version, failures=failures, facts=Facts(needed=MIB))
            case Pull(item):
                attempts[item.ref] = replace(attempts[item.ref], image_id="sha256:1")
            case Cancel(ref):
                attempts.pop(ref)
            case Pin(ref):
                pinned.add(ref)
            case Unpin(ref):
                pinned.discard(ref)
    recorded: Mapping[str, ImageTagStatus] = {**seen.recorded, **made.report}
    wanted_now = {item.ref: item.version for item in seen.wanted}
    return replace(
        seen,
        monotonic=seen.monotonic + 100,
        attempts={ref: item for ref, item in attempts.items() if wanted_now.get(ref) == item.version},
        pinned=None if seen.pinned is None else frozenset(pinned),
        recorded=recorded,
    )
