"""What people see of the resizes of a node."""

from collections.abc import Mapping, Sequence

import msgspec

from daemon import names
from daemon.debug.views import ResizeView
from daemon.localpods.room import Changes
from daemon.objects.local_pods import LocalPod
from daemon.objects.resizes import Record, digest_of, written
from daemon.resizes.shown import ASKED, in_force
from daemon.resizes.shown import resizes as shown_resizes
from tests.unit.resize_pods import NOW, pod, res, wish


def resizes(pods: Sequence[LocalPod | None], before: Mapping[str, Changes] = {}) -> tuple[ResizeView, ...]:
    return shown_resizes(pods, before)


def recorded(reason: str, message: str = "", **fields: object) -> LocalPod:
    """A pod that asks for something, of which *reason* is told."""
    asked = msgspec.json.encode(wish("250m", "200m 256Mi")).decode()
    record = Record(wish=digest_of(asked), reason=reason, since=NOW, **fields)  # type: ignore[arg-type]
    condition = {"type": names.RESOURCES_IN_SYNC, "status": "False", "reason": reason, "message": message}
    return pod(
        wish=asked, annotations={names.RESIZE_RECORD_ANNOTATION: written(record)}, conditions=[condition]
    )


def test_a_pod_that_asks_for_nothing_is_not_shown() -> None:
    assert resizes([pod(), None]) == ()


def test_a_wish_of_which_nothing_is_told_yet_is_asked_for() -> None:
    (shown,) = resizes([pod(wish=wish("250m"))])

    assert (shown.state, shown.since, shown.message) == (ASKED, None, "")


def test_quantities_are_shown_from_what_is_in_force_to_what_is_wanted() -> None:
    (shown,) = resizes([recorded("Deferred", "waits for room")])

    assert (shown.state, shown.message, shown.since) == ("Deferred", "waits for room", NOW)
    assert [(each.container, each.name, each.before, each.wanted) for each in shown.changes] == [
        ("app", "cpu request", "100m", "250m"),
        ("app", "cpu limit", "", "200m"),
        ("app", "memory limit", "128Mi", "256Mi"),
    ]


def test_what_was_before_is_shown_after_the_end_too() -> None:
    asked = wish("250m")
    text = msgspec.json.encode(asked).decode()
    before = in_force(pod(wish=asked), text)

    (shown,) = resizes([pod(wish=asked, app=res("250m 64Mi", "500m 128Mi"))], {"uid-web": before})

    assert [(each.name, each.before, each.wanted) for each in shown.changes] == [
        ("cpu request", "100m", "250m")
    ]


def test_after_a_roll_back_what_was_restored_is_shown_as_what_was_before() -> None:
    before = {"": pod().spec.resources, "app": pod().spec.containers[0].resources}

    (shown,) = resizes([recorded("RolledBack", before=before)])

    assert [each.before for each in shown.changes] == ["100m", "", "128Mi"]


def test_a_wish_that_cannot_be_read_is_shown_without_what_it_asks_for() -> None:
    (shown,) = resizes([pod(wish="{")])

    assert (shown.state, shown.changes) == (ASKED, ())


def test_the_pod_as_a_whole_stands_without_a_container() -> None:
    (shown,) = resizes([pod(wish={"pod": res("1")})])

    assert [(each.container, each.name, each.wanted) for each in shown.changes] == [("", "cpu request", "1")]


def test_pods_in_sync_come_last() -> None:
    done, waiting = recorded("InSync"), recorded("Deferred")

    assert [each.state for each in resizes([done, waiting])] == ["Deferred", "InSync"]
