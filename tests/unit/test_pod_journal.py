"""What people see of a node's restarts: step by step, bounded, and without what is secret."""

import msgspec
import pytest
from msgspec.structs import replace

from daemon.debug.views import PodsView, RestartView
from daemon.localpods.journal import MOST_ENDED, MOST_ERRORS, MOST_OPEN, Journal, Subject
from daemon.localpods.sights import MOST_ROWS, bounded, joined
from daemon.objects.local_pods import Container, LocalPod
from daemon.restarts.planner import plan
from daemon.restarts.plans import Stopping
from daemon.restarts.shown import requested, show
from tests.fakes.clock import FakeClock
from tests.unit.recreates import known
from tests.unit.restarting_pods import COLOUR, id_of, record, running, told, waiting, web
from tests.unit.test_restarts_planner import drifted, observed

WHY = "labels or annotations of the pod changed COLOUR"


def begun(journal: Journal, number: int = 1, pod: LocalPod | None = None) -> Subject:
    about = Subject(pod or web(), "app", id_of(number))
    journal.step(about, "Stopping", why=WHY)
    return about


def told_of(journal: Journal) -> list[tuple[str, str]]:
    return [(each.container, each.step) for each in journal.restarts]


def test_a_restart_ends_when_the_successor_runs_and_tells_how_long_it_took() -> None:
    clock = FakeClock()
    journal = Journal(clock)
    about = begun(journal)

    clock.pass_by(1.5)
    journal.step(about, "Successor")
    journal.take(web(), web(waiting()))
    clock.pass_by(1.0)
    journal.take(web(waiting()), web(running(2, restarts=1)))

    (ended,) = journal.restarts
    assert (ended.step, ended.why, ended.seconds) == ("Done", WHY, 2.5)
    assert ended.ended_at == clock.now()


def test_the_first_who_tells_of_a_restart_tells_why() -> None:
    journal = Journal(FakeClock())
    about = begun(journal)

    journal.step(about, "Successor", why="something else")

    assert [(each.step, each.why) for each in journal.restarts] == [("Successor", WHY)]


def test_a_kubelet_in_back_off_is_told() -> None:
    journal = Journal(FakeClock())
    begun(journal)

    journal.take(None, web(waiting(reason="CrashLoopBackOff")))

    assert told_of(journal) == [("app", "BackOff")]


def test_what_was_not_begun_can_be_withdrawn_and_what_was_cannot() -> None:
    journal = Journal(FakeClock())
    journal.step(Subject(web(), "app", id_of(1)), "Waiting", why=WHY)
    journal.step(Subject(web(), "side", id_of(2)), "PreStop", why=WHY)

    journal.withdraw(id_of(1))
    journal.withdraw(id_of(2))

    assert told_of(journal) == [("side", "PreStop")]


def test_a_restart_that_has_ended_does_not_begin_again() -> None:
    journal = Journal(FakeClock())
    about = begun(journal)
    journal.end(id_of(1), "it could not be stopped")

    journal.step(about, "Successor")

    assert [(each.step, each.detail) for each in journal.restarts] == [("Failed", "it could not be stopped")]


def test_the_restarts_of_a_pod_go_with_it() -> None:
    journal = Journal(FakeClock())
    begun(journal)

    journal.take(web(), None)

    assert journal.restarts == ()


def test_nothing_grows_without_end() -> None:
    journal = Journal(FakeClock())
    for number in range(2 * MOST_OPEN):
        begun(journal, number)
    assert len(journal.restarts) == MOST_OPEN

    for number in range(2 * MOST_OPEN):
        journal.end(id_of(number))
    for number in range(2 * MOST_ERRORS):
        journal.error(web(), "Refused", f"{number} {'x' * 10_000}")

    assert len(journal.restarts) == MOST_ENDED
    assert len(journal.errors) == MOST_ERRORS
    assert journal.errors[0].message.startswith(f"{2 * MOST_ERRORS - 1} ")
    assert len(msgspec.json.encode(journal.errors)) < 16_000


def test_whoever_looks_is_told_of_changes_only() -> None:
    calls: list[str] = []
    journal = Journal(FakeClock(), lambda: calls.append("changed"))
    about = begun(journal)
    calls.clear()

    journal.step(about, "Stopping")
    journal.take(replace(web(opted_in=False)), web(opted_in=False))
    assert calls == []
    journal.step(about, "Successor")
    journal.take(web(), web())

    assert calls == ["changed", "changed"]


def test_rows_are_bounded_counted_and_in_order() -> None:
    clock = FakeClock()
    row = RestartView(namespace="shop", pod="web", container="app", step="Due", since=clock.now())
    clock.pass_by(1)
    later = replace(row, since=clock.now())
    ended = replace(row, step="Done", ended_at=clock.now())
    clock.pass_by(1)
    latest = replace(row, step="Done", ended_at=clock.now())

    view = bounded(joined([PodsView(restarts=(ended, later)), PodsView(restarts=(latest, row))]))
    assert view.restarts == (row, later, latest, ended)
    assert view.omitted == {}
    many = bounded(PodsView(restarts=(row,) * (MOST_ROWS + 7)))
    assert (len(many.restarts), many.omitted) == (MOST_ROWS, {"restarts": 7})


def test_a_drifted_container_is_shown_with_the_names_of_its_variables_and_no_value() -> None:
    secret = "hunter2-of-the-database"
    pod = web(colour=secret, runs=told())
    journal = Journal(FakeClock())

    show(journal, pod, plan(observed(pod, records={id_of(1): record("another-secret")})).found)

    (shown,) = journal.restarts
    assert (shown.step, shown.why) == ("Due", WHY)
    assert secret not in str(msgspec.json.encode(shown))
    assert "another-secret" not in str(msgspec.json.encode(shown))


def test_a_container_that_is_not_to_be_started_anew_after_all_is_shown_no_more() -> None:
    journal = Journal(FakeClock())
    show(journal, drifted(), plan(observed(drifted())).found)

    show(journal, web(), plan(observed(web(runs=told()))).found)

    assert journal.restarts == ()


def test_why_a_container_cannot_be_started_anew_is_shown() -> None:
    once = Container(name="app", env=(COLOUR,), restart_policy="Never")
    pod = drifted(container=once)
    journal = Journal(FakeClock())

    show(journal, pod, plan(observed(pod)).found)

    (shown,) = journal.restarts
    assert (shown.step, shown.detail) == (
        "Failed",
        "its restartPolicy is Never: the kubelet might not start it again",
    )


def test_an_agent_that_comes_after_the_stop_shows_that_the_successor_is_awaited() -> None:
    pod = drifted()
    journal = Journal(FakeClock())

    show(journal, pod, plan(observed(pod, stops={id_of(1): Stopping(done=True)})).found)

    assert told_of(journal) == [("app", "Successor")]


@pytest.mark.parametrize("phase", ["Pending", "Recreating"])
def test_containers_that_wait_to_be_started_on_request_are_shown_until_the_journal_knows_them(
    phase: str,
) -> None:
    journal = Journal(FakeClock())
    request = known(phase=phase)

    (shown,) = requested(journal, [request])
    assert (shown.pod, shown.container) == ("web", "app")
    assert shown.why == "ContainerRecreateRequest again asks for a new one"

    state = request.status.container_recreate_states[0]
    journal.step(Subject(web(), "app", state.container_id), "Stopping")
    assert list(requested(journal, [request])) == []
