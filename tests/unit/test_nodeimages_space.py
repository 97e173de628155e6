"""The disk guard: which pulls start when there is not room for all."""

import pytest

from daemon.nodeimages.planner import plan
from daemon.nodeimages.plans import Attempt, Facts, Failure, Look, Pull, Stage
from tests.unit.node_plans import MIB, observed, wanted


def test_a_pull_that_would_fill_the_disk_is_held_and_says_what_is_missing() -> None:
    facts = Facts(needed=20 * MIB)

    made = plan(observed(wanted(), attempts={"app:1": Attempt(0, facts=facts)}))

    assert made.actions == ()
    assert made.report["app:1"].reason == "NoSpace"
    assert made.report["app:1"].message == "needs 20.0 MiB of disk, 10.0 MiB are available above the reserve"
    assert made.held["app:1"].remedy


def test_two_pulls_that_fit_alone_do_not_share_the_same_room() -> None:
    attempts = {ref: Attempt(0, facts=Facts(needed=6 * MIB)) for ref in ("a:1", "b:1")}

    made = plan(observed(wanted("a"), wanted("b"), attempts=attempts))

    assert [action.wanted.name for action in made.actions if isinstance(action, Pull)] == ["a"]
    assert made.held.keys() == {"b:1"}


def test_what_a_running_pull_will_still_take_is_not_given_away() -> None:
    attempts = {
        "a:1": Attempt(0, Stage.PULLING, outstanding=8 * MIB),
        "b:1": Attempt(0, facts=Facts(needed=4 * MIB)),
    }

    made = plan(observed(wanted("a"), wanted("b"), attempts=attempts))

    assert made.held.keys() == {"b:1"}


def test_a_full_disk_uses_up_no_retry() -> None:
    full = Attempt(0, failures=0, failure=Failure("NoSpace", "full"), retry_at=0.0)

    made = plan(observed(wanted(backoff_limit=0), attempts={"app:1": full}))

    assert made.actions == (Look(wanted(backoff_limit=0)),)
    assert made.report["app:1"].phase == "Waiting"


def test_what_needs_nothing_is_pulled_on_a_disk_that_is_overfull() -> None:
    busy = Attempt(0, Stage.PULLING, outstanding=20 * MIB)
    attempts = {"busy:1": busy, "app:1": Attempt(0, facts=Facts(needed=0))}

    made = plan(observed(wanted("busy"), wanted(), attempts=attempts, available=0))

    assert made.actions == (Pull(wanted(), Facts(needed=0)),)
    assert made.held == {}


@pytest.mark.parametrize("stale", [True, False])
def test_what_is_held_is_looked_at_again_once_its_layers_may_have_come(stale: bool) -> None:
    held = Attempt(0, facts=Facts(needed=20 * MIB), stale=stale, failures=2)

    made = plan(observed(wanted(), attempts={"app:1": held}))

    assert made.actions == ((Look(wanted(), 2),) if stale else ())
    assert made.report["app:1"].reason == "NoSpace"


def test_what_fits_is_pulled_without_a_second_look() -> None:
    facts = Facts(needed=MIB)

    made = plan(observed(wanted(), attempts={"app:1": Attempt(0, facts=facts, stale=True)}))

    assert made.actions == (Pull(wanted(), facts),)


def test_a_second_look_takes_nothing_back_of_what_was_told() -> None:
    looking = Attempt(0, Stage.LOOKING, facts=Facts(needed=20 * MIB), stale=True)

    made = plan(observed(wanted(), attempts={"app:1": looking}))

    assert made.actions == ()
    assert (made.report["app:1"].phase, made.report["app:1"].reason) == ("Waiting", "NoSpace")
    assert made.held.keys() == {"app:1"}
