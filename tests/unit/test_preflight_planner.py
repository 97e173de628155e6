"""What a node says of the next revision of one of its pods."""

import pytest

from daemon.objects.next_revisions import NextRevision
from daemon.preflight.planner import Observed, Pull, plan

WEB = "docker.io/repo/web:2"
APP = "registry:5000/app:2"
BOTH = NextRevision("web-6d9f", {"web": "repo/web:2", "app": APP})


def test_it_is_ready_when_all_images_are_there() -> None:
    answer = plan(Observed(BOTH, {WEB, APP}, {}))

    assert (answer.ready, answer.reason) == (True, "Pulled")


def test_it_waits_for_the_images_that_are_not() -> None:
    answer = plan(Observed(BOTH, {WEB}, {}))

    assert (answer.ready, answer.reason) == (False, "Pulling")
    assert answer.message == f"{APP}: waits for its turn"
    assert not answer.is_final


@pytest.mark.parametrize(
    ("pull", "words"),
    [
        (Pull("Pulling", 40, 120 * 2**20, 300 * 2**20), "40 %, 120.0 of 300.0 MiB"),
        (Pull("Unpacking", 100), "100 %"),
        (Pull("Waiting"), "waits for its turn"),
        (Pull("BackingOff", reason="TimedOut", message="no answer"), "tried again after TimedOut: no answer"),
    ],
)
def test_the_message_tells_how_far_each_is(pull: Pull, words: str) -> None:
    answer = plan(Observed(BOTH, {APP}, {WEB: pull}))

    assert answer.reason == "Pulling"
    assert answer.message == f"repo/web:2: {words}"


@pytest.mark.parametrize(
    ("pull", "reason"),
    [
        (Pull("Failed", reason="ImageNotFound", message="no such tag"), "PullFailed"),
        (Pull("Waiting", reason="NoSpace", message="needs 3 GiB"), "NoSpace"),
        (Pull("Failed", reason="NoSpace", message="needs 3 GiB"), "NoSpace"),
    ],
)
def test_what_is_in_the_way_is_told_with_its_image(pull: Pull, reason: str) -> None:
    answer = plan(Observed(BOTH, {APP}, {WEB: pull}))

    assert (answer.ready, answer.reason) == (False, reason)
    assert answer.message.startswith("repo/web:2: ")
    assert pull.message in answer.message


def test_what_failed_once_is_no_failure_when_the_image_is_there() -> None:
    answer = plan(Observed(BOTH, {WEB, APP}, {WEB: Pull("Failed", reason="TimedOut")}))

    assert answer.ready


def test_a_name_that_is_none_can_never_be_pulled() -> None:
    answer = plan(Observed(NextRevision("web-1", {"web": "UPPER case"}), set(), {}))

    assert answer.reason == "PullFailed"
    assert "UPPER case" in answer.message


def test_resources_that_do_not_fit_are_told_when_the_images_are_there() -> None:
    answer = plan(Observed(BOTH, {WEB, APP}, {}, shortage="cpu 2 more is needed, 500m is free"))

    assert (answer.ready, answer.reason) == (False, "WouldNotFit")
    assert "500m is free" in answer.message
