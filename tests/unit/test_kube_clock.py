"""Time as the API server has it: what an answer's date says about it."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from daemon.kube.clock import ServerClock


def date(ahead: float) -> str:
    """What a server says whose clock is so many seconds ahead of this machine's."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)


def off(clock: ServerClock) -> float:
    """Seconds by which it is ahead of this machine's."""
    return (clock.precise() - datetime.now(UTC)).total_seconds()


def heard(*aheads: float, took: float = 0.0) -> ServerClock:
    clock = ServerClock()
    for ahead in aheads:
        at = time.monotonic()
        clock.hear(date(ahead), at - took, at)
    return clock


def test_without_an_answer_it_is_the_machines_time() -> None:
    assert abs(off(ServerClock())) < 0.1


@given(st.floats(-3600, 3600))
def test_after_an_answer_it_is_the_servers_time_to_the_second(ahead: float) -> None:
    assert abs(off(heard(ahead)) - ahead) <= 1.1


def test_a_server_that_agrees_with_the_machine_changes_nothing() -> None:
    clock = ServerClock()
    before = off(clock)

    at = time.monotonic()
    clock.hear(date(0.0), at, at)

    assert abs(off(clock) - before) < 0.01


def test_a_slow_answer_says_less_about_the_time() -> None:
    assert abs(off(heard(-3.0, took=10.0))) < 0.1
    assert abs(off(heard(-300.0, took=10.0)) + 300) <= 11.1


def test_the_last_answer_counts() -> None:
    assert abs(off(heard(300.0, -300.0)) + 300) <= 1.1


@pytest.mark.parametrize("nonsense", [None, "", "yesterday", "2026-05-01T12:00:00Z", "Thu, 99 Foo 2026"])
def test_what_is_no_date_changes_nothing(nonsense: str | None) -> None:
    clock = ServerClock()

    clock.hear(nonsense, time.monotonic(), time.monotonic())

    assert abs(off(clock)) < 0.1


def test_a_machine_whose_clock_is_wrong_is_told_once() -> None:
    with capture_logs() as logs:
        clock = heard(-300.0, -300.0, -300.0)

    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert 298 <= logs[0]["ahead"] <= 302
    assert 298 <= clock.skew <= 302


def test_api_objects_have_whole_seconds_and_leases_more() -> None:
    clock = ServerClock()

    assert clock.now().microsecond == 0
    assert clock.now().tzinfo is UTC
    assert clock.precise() < clock.precise() + timedelta(microseconds=1)
