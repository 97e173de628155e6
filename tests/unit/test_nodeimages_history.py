"""What a plan says of requests over time: beginning, failures, deadline, neighbours."""

from datetime import timedelta

import pytest

from daemon.nodeimages.planner import PIN_WITHIN, is_finished, plan
from daemon.nodeimages.plans import Attempt, Facts, Failure, Look, Observed, Pin, Pull, Stage
from daemon.objects.images import ImageTagStatus
from tests.unit.node_plans import MIB, NOW, done, observed, wanted

LATER = NOW + timedelta(seconds=10)
DENIED = Failure("Denied", "no access")


def reported(seen: Observed) -> ImageTagStatus:
    return plan(seen).report["app:1"]


def recorded(version: int = 0, phase: str = "Waiting", **values: object) -> ImageTagStatus:
    return ImageTagStatus(tag="1", phase=phase, version=version, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "version", "finished"),
    [
        (None, 0, False),
        (done(version=1), 1, True),
        (done(version=1), 2, False),
        (recorded(version=1), 1, False),
    ],
)
def test_only_an_end_of_the_same_version_is_the_end(
    status: ImageTagStatus | None, version: int, finished: bool
) -> None:
    assert is_finished(status, version) is finished


def test_a_pull_begins_now_and_is_told_as_running() -> None:
    status = reported(observed(wanted(), attempts={"app:1": Attempt(0, facts=Facts())}))

    assert (status.phase, status.start_time) == ("Pulling", NOW)


def test_the_beginning_of_a_request_does_not_move_with_a_new_attempt() -> None:
    attempt = Attempt(0, facts=Facts(), started_at=NOW - timedelta(seconds=5))

    status = reported(observed(wanted(), attempts={"app:1": attempt}))

    assert status.start_time == NOW - timedelta(seconds=5)


def test_the_recorded_beginning_of_a_request_survives_a_restart() -> None:
    before = recorded(start_time=NOW - timedelta(hours=1))
    attempt = Attempt(0, Stage.PULLING, started_at=NOW)

    status = reported(observed(wanted(), recorded={"app:1": before}, attempts={"app:1": attempt}))

    assert status.start_time == NOW - timedelta(hours=1)


def test_without_a_recorded_beginning_the_attempts_is_told() -> None:
    attempt = Attempt(0, Stage.PULLING, started_at=NOW)

    status = reported(observed(wanted(), recorded={"app:1": recorded()}, attempts={"app:1": attempt}))

    assert status.start_time == NOW


def test_another_version_inherits_neither_beginning_nor_failures() -> None:
    old = Attempt(1, Stage.CANCELLING, started_at=NOW, failures=3)
    before = recorded(version=1, start_time=NOW, failures=3)

    status = reported(observed(wanted(version=2), recorded={"app:1": before}, attempts={"app:1": old}))

    assert (status.version, status.start_time, status.failures) == (2, None, 0)


def test_an_image_that_an_older_version_brought_is_looked_at_anew() -> None:
    old = Attempt(1, image_id="sha256:1")

    made = plan(observed(wanted(version=2), attempts={"app:1": old}))

    assert made.actions == (Look(wanted(version=2)),)


@pytest.mark.parametrize("stage", [Stage.PULLING, Stage.CANCELLING])
def test_an_older_version_that_still_runs_does_not_speak_for_the_newer(stage: Stage) -> None:
    old = Attempt(1, stage, image_id="sha256:1", percent=50)

    status = reported(observed(wanted(version=2), attempts={"app:1": old}))

    assert (status.phase, status.progress, status.image_id) == ("Waiting", 0, "")


def test_failures_that_were_recorded_for_another_version_do_not_count() -> None:
    before = recorded(version=1, failures=3)

    made = plan(observed(wanted(version=2), recorded={"app:1": before}))

    assert made.actions == (Look(wanted(version=2), failures=0),)


def test_an_older_version_that_is_still_ending_is_waited_for() -> None:
    old = Attempt(1, Stage.CANCELLING, facts=Facts(), failure=DENIED)

    made = plan(observed(wanted(version=2), attempts={"app:1": old}))

    assert made.actions == ()
    assert (made.report["app:1"].phase, made.report["app:1"].reason) == ("Waiting", "")


def test_a_pull_that_is_being_cancelled_waits_and_wakes_nobody() -> None:
    late = wanted(deadline_at=NOW)

    made = plan(observed(late, attempts={"app:1": Attempt(0, Stage.CANCELLING, failure=DENIED)}))

    assert (made.actions, made.wake_in) == ((), None)
    assert (made.report["app:1"].phase, made.report["app:1"].reason) == ("Waiting", "")


def test_a_running_pull_tells_its_percent_and_not_the_failure_before_it() -> None:
    running = Attempt(0, Stage.PULLING, failure=DENIED, percent=42, failures=1)

    status = reported(observed(wanted(), attempts={"app:1": running}))

    assert (status.phase, status.progress, status.reason, status.failures) == ("Pulling", 42, "", 1)


def test_a_look_is_not_begun_twice_and_keeps_the_reason_of_the_last_failure() -> None:
    looking = Attempt(0, Stage.LOOKING, failure=DENIED, failures=1)

    made = plan(observed(wanted(), attempts={"app:1": looking}))

    assert made.actions == ()
    assert (made.report["app:1"].phase, made.report["app:1"].reason) == ("Waiting", "Denied")


def test_a_failure_that_no_retry_can_mend_ends_the_request_at_once() -> None:
    final = Attempt(0, failures=1, failure=Failure("WrongPlatform", "not for arm64", final=True))

    status = reported(observed(wanted(), attempts={"app:1": final}))

    assert (status.phase, status.reason, status.message) == ("Failed", "WrongPlatform", "not for arm64")


@pytest.mark.parametrize("reason", ["NoSpace", "RuntimeDown"])
def test_what_the_node_recovers_from_never_ends_a_request(reason: str) -> None:
    waiting = Attempt(0, failures=9, failure=Failure(reason, "wait"))

    assert reported(observed(wanted(), attempts={"app:1": waiting})).phase == "Waiting"


def test_an_attempt_that_still_runs_does_not_end_the_request_by_what_failed_before() -> None:
    looking = Attempt(0, Stage.LOOKING, failures=9, failure=DENIED)

    assert reported(observed(wanted(), attempts={"app:1": looking})).phase == "Waiting"


def test_a_deadline_that_is_still_to_come_changes_nothing() -> None:
    item = wanted(deadline_at=LATER)

    running = plan(observed(item, attempts={"app:1": Attempt(0, Stage.PULLING)}))
    waiting = plan(observed(item, attempts={"app:1": Attempt(0, facts=Facts())}))

    assert (running.actions, running.report["app:1"].phase) == ((), "Pulling")
    assert waiting.actions == (Pull(item, Facts()),)


def test_a_late_pull_is_not_told_as_failed_before_it_has_ended() -> None:
    late = wanted(deadline_at=NOW)

    assert reported(observed(late, attempts={"app:1": Attempt(0, Stage.PULLING)})).phase == "Pulling"


def test_a_request_that_ran_out_of_time_tells_what_failed_last() -> None:
    late = wanted(deadline_at=NOW)

    after = reported(observed(late, attempts={"app:1": Attempt(0, failures=2, failure=DENIED)}))
    untried = reported(observed(late))

    assert after.message == "pulling exceeds the activeDeadlineSeconds; last attempt: no access"
    assert untried.message == "pulling exceeds the activeDeadlineSeconds"


def test_an_image_that_is_there_succeeded_also_after_its_deadline() -> None:
    late = wanted(deadline_at=NOW)

    status = reported(observed(late, attempts={"app:1": Attempt(0, image_id="sha256:1")}))

    assert (status.phase, status.progress, status.completion_time) == ("Succeeded", 100, NOW)


@pytest.mark.parametrize(("retry_at", "acts"), [(99.9, True), (100.0, True), (100.1, False)])
def test_the_next_attempt_begins_when_its_pause_is_over(retry_at: float, acts: bool) -> None:
    failed = Attempt(0, failures=1, failure=DENIED, retry_at=retry_at)

    made = plan(observed(wanted(), attempts={"app:1": failed}))

    assert bool(made.actions) is acts
    assert (made.wake_in is None) is acts


@pytest.mark.parametrize(("looking", "looks"), [(0, 4), (1, 3), (4, 0), (6, 0)])
def test_as_many_images_are_looked_at_ahead_as_twice_the_workers(looking: int, looks: int) -> None:
    attempts = {f"l{number}:1": Attempt(0, Stage.LOOKING) for number in range(looking)}
    items = [wanted(f"l{number}") for number in range(looking)] + [wanted(f"w{n}") for n in range(9)]

    made = plan(observed(*items, attempts=attempts, workers=2))

    assert sum(isinstance(action, Look) for action in made.actions) == looks


@pytest.mark.parametrize(("needed", "pulled"), [(10 * MIB, True), (10 * MIB + 1, False)])
def test_an_image_may_take_all_of_the_room_and_not_a_byte_more(needed: int, pulled: bool) -> None:
    made = plan(observed(wanted(), attempts={"app:1": Attempt(0, facts=Facts(needed=needed))}))

    assert bool(made.actions) is pulled


def test_an_image_that_is_held_up_lets_a_smaller_one_pass() -> None:
    attempts = {
        "big:1": Attempt(0, facts=Facts(needed=99 * MIB)),
        "small:1": Attempt(0, facts=Facts(needed=1)),
    }
    big, small = wanted("big", priority=9), wanted("small")

    made = plan(observed(big, small, attempts=attempts, workers=1))

    assert made.actions == (Pull(small, Facts(needed=1)),)


def test_pins_wait_for_a_pull_that_begins_in_the_same_plan() -> None:
    attempts = {"new:1": Attempt(0, facts=Facts())}

    made = plan(observed(wanted(), wanted("new"), recorded={"app:1": done()}, attempts=attempts))

    assert made.actions == (Pull(wanted("new"), Facts()),)
    assert made.wake_in is not None
    assert 0 < made.wake_in <= PIN_WITHIN.total_seconds()


@pytest.mark.parametrize(("age", "pins"), [(PIN_WITHIN - timedelta(seconds=1), 0), (PIN_WITHIN, 1)])
def test_pins_do_not_wait_for_long(age: timedelta, pins: int) -> None:
    seen = observed(
        wanted(),
        wanted("new"),
        now=NOW + age,
        recorded={"app:1": done()},
        attempts={"new:1": Attempt(0, Stage.PULLING)},
    )

    assert sum(isinstance(action, Pin) for action in plan(seen).actions) == pins


def test_a_pin_of_an_image_that_is_being_worked_on_is_not_released() -> None:
    made = plan(observed(pinned={"app:1"}, attempts={"app:1": Attempt(0, Stage.CANCELLING)}))

    assert made.actions == ()
