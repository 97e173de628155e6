"""Failures of calls in the planner's terms: what is final, what uses up a retry, what a person can do."""

import pytest

from daemon.cri.errors import (
    CriError,
    ImageNotFoundError,
    InvalidReferenceError,
    RuntimeDownError,
    TimedOutError,
    WrongPlatformError,
)
from daemon.nodeimages.plans import DEADLINE, NO_SPACE, UNCOUNTED
from daemon.nodeimages.pulling import failure_of, failure_of_question, remedy_for


@pytest.mark.parametrize(
    ("kind", "final"),
    [
        (ImageNotFoundError, False),
        (TimedOutError, False),
        (InvalidReferenceError, True),
        (WrongPlatformError, True),
    ],
)
def test_only_what_another_request_mends_is_final(kind: type[CriError], final: bool) -> None:
    failure = failure_of(kind("PullImage", "UNKNOWN", "the runtime's words"))

    assert (failure.reason, failure.message) == (kind.reason, "the runtime's words")
    assert (failure.remedy, failure.final) == (kind.remedy, final)


def test_a_failure_without_words_names_the_call_and_its_code() -> None:
    failure = failure_of(TimedOutError("PullImage", "DEADLINE_EXCEEDED", ""))

    assert failure.message == "PullImage: DEADLINE_EXCEEDED"


def test_a_question_without_an_answer_means_that_the_runtime_is_down() -> None:
    error = TimedOutError("ImageStatus", "DEADLINE_EXCEEDED", "no answer before the deadline")

    failure = failure_of_question(error)

    assert (failure.reason, failure.message) == ("RuntimeDown", "no answer before the deadline")
    assert failure.remedy == RuntimeDownError.remedy
    assert failure.reason in UNCOUNTED


def test_a_question_that_fails_otherwise_is_told_as_it_is() -> None:
    error = InvalidReferenceError("ImageStatus", "INVALID_ARGUMENT", "invalid reference format")

    assert failure_of_question(error) == failure_of(error)


@pytest.mark.parametrize("reason", ["ImageNotFound", "RuntimeDown", NO_SPACE, DEADLINE])
def test_each_reason_has_a_remedy(reason: str) -> None:
    assert remedy_for(reason)


def test_an_unknown_reason_has_none() -> None:
    assert remedy_for("SomethingElse") == ""
