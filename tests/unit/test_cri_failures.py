"""Free texts of runtimes and what they mean."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from daemon.cri import errors
from daemon.cri.failures import classify, classify_call
from daemon.metrics import PULL_REASONS

REF = "registry.test:5000/team/app:v1"
CODES = [
    "UNKNOWN",
    "NOT_FOUND",
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "CANCELLED",
    "FAILED_PRECONDITION",
    "INTERNAL",
]
EXAMPLES = yaml.safe_load(Path(__file__).with_name("cri_failures.yaml").read_text())
TABLE = [
    (reason, example["code"], example["text"])
    for reason, examples in EXAMPLES.items()
    for example in examples
]


def test_the_table_has_every_reason_that_a_runtime_can_give() -> None:
    others = {
        "DeadlineExceeded",
        "CallFailed",
        "NotFound",
        "Unsupported",
    }  # the agent's own, and of other calls
    assert {*EXAMPLES} | others == set(PULL_REASONS)


@pytest.mark.parametrize(("reason", "code", "text"), TABLE)
def test_real_texts_have_their_reason(reason: str, code: str, text: str) -> None:
    assert classify(code, text).reason == reason


@pytest.mark.parametrize(
    "word", ["x509:", "unauthorized:", "toomanyrequests", "manifest-unknown/404", "eof", "denied"]
)
@pytest.mark.parametrize(("reason", "code", "text"), TABLE)
def test_the_name_of_an_image_is_not_taken_for_a_cause(reason: str, code: str, text: str, word: str) -> None:
    named = text.replace(REF, f"registry.test:5000/{word}/app:v1")

    assert classify(code, named).reason == reason


@given(code=st.sampled_from(CODES) | st.text(), text=st.text())
def test_any_text_has_a_class_whose_reason_the_metrics_know(code: str, text: str) -> None:
    assert classify(code, text).reason in PULL_REASONS


@given(
    text=st.lists(st.sampled_from([text for _, _, text in TABLE])).map(": ".join), code=st.sampled_from(CODES)
)
def test_any_chain_of_causes_has_a_class_whose_reason_the_metrics_know(text: str, code: str) -> None:
    assert classify(code, text).reason in PULL_REASONS


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "text", ["x", '"', "/", "snapshot ", "lease content digest ", "status 5", "anonymous token "]
)
def test_hostile_texts_are_classified_in_no_time(text: str) -> None:
    assert classify("UNKNOWN", text * (400_000 // len(text))) is errors.PullFailedError


def test_the_cause_is_found_at_the_end_of_a_very_long_text() -> None:
    text = f"failed to pull: {'layer ' * 20_000}: no space left on device"

    assert classify("UNKNOWN", text) is errors.NoSpaceError


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("NOT_FOUND", errors.NotFoundError),
        ("ALREADY_EXISTS", errors.AlreadyExistsError),
        ("UNAVAILABLE", errors.RuntimeDownError),
        ("DEADLINE_EXCEEDED", errors.TimedOutError),
        ("UNIMPLEMENTED", errors.UnsupportedError),
        ("UNKNOWN", errors.CallFailedError),
        ("something new", errors.CallFailedError),
    ],
)
def test_calls_other_than_pulls_go_by_their_code_alone(code: str, kind: type[errors.CriError]) -> None:
    assert classify_call("ContainerStatus", code, "no space left on device: manifest unknown") is kind


def test_pulls_go_by_their_text() -> None:
    assert classify_call("PullImage", "UNKNOWN", "manifest unknown") is errors.ImageNotFoundError
