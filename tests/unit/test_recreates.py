"""What is kept of requests to start containers anew, and what is read off them."""

import pytest

from daemon import names
from daemon.kube.resources import LOCAL_RECREATES
from daemon.objects.recreates import ContainerRecreateRequest, slim, state_of
from tests.unit.recreates import UID, container_id, known, of_openkruise, request


def test_an_open_request_is_kept_whole() -> None:
    asked = known(phase="Recreating")

    assert slim(asked) is asked
    assert LOCAL_RECREATES.kept is slim


def test_of_an_ended_one_is_kept_that_it_has_ended() -> None:
    ended = slim(known(phase="Completed", status={"message": "1 of 1 containers recreated"}))

    assert ended.completed
    assert (ended.metadata.uid, ended.pod_key.name) == ("uid-of-again", "web")
    assert (ended.spec.containers, ended.status.message, ended.metadata.labels) == ((), "", {})


def test_the_pod_that_is_meant_is_told_by_the_controller_or_by_openkruise_s_webhook() -> None:
    assert known().pod_uid == UID
    assert of_openkruise().pod_uid == UID
    assert request().pod_uid == ""


def test_the_container_that_is_meant_is_too() -> None:
    ours, theirs = known(), of_openkruise()

    assert state_of(ours, ours.spec.containers[0]).container_id == container_id("app")
    assert state_of(theirs, theirs.spec.containers[0]).container_id == container_id("app")


@pytest.mark.parametrize(
    ("asked", "foreign"),
    [
        (known(), False),
        (of_openkruise(), True),
        (request(metadata={"labels": {names.RECREATE_ACTIVE_LABEL: "true"}}), False),
    ],
    ids=["ours", "openkruise's", "only labelled"],
)
def test_openkruise_s_requests_are_known_by_what_its_webhook_alone_can_write(
    asked: ContainerRecreateRequest, foreign: bool
) -> None:
    assert asked.foreign is foreign


def test_older_ones_come_first_and_names_decide_within_a_second() -> None:
    asked = [known("b"), known("c", age=5), known("a")]

    assert [each.metadata.name for each in sorted(asked, key=lambda each: each.order)] == ["c", "a", "b"]
