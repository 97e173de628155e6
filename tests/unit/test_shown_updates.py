"""What people see of the revisions that pods become next."""

from datetime import UTC, datetime

import msgspec
import pytest

from daemon import names
from daemon.debug.views import PullView
from daemon.objects.local_pods import LocalPod
from daemon.preflight.shown import updates

SINCE = datetime(2026, 5, 1, 12, tzinfo=UTC)
WEB = "docker.io/repo/web:2"
PULL = PullView(image=WEB, phase="Pulling", percent=40, bytes_done=120_000_000, bytes_total=300_000_000)
SECRET = "hunter2-of-the-database"


def told(reason: str = "", *, name: str = "web-1", resources: bool = False) -> LocalPod:
    announced = {"revision": "web-6d9f", "images": {"app": "repo/web:2"}, "since": SINCE.isoformat()}
    if resources:
        announced["resources"] = {"app": {"requests": {"cpu": "2"}}}
    condition = {
        "type": names.NEXT_REVISION_READY,
        "status": "True" if reason == "Pulled" else "False",
        "reason": reason,
        "message": f"web-6d9f: this is {reason}",
    }
    env = [{"name": "PASSWORD", "value": SECRET}]
    document = {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "annotations": {names.NEXT_REVISION_ANNOTATION: msgspec.json.encode(announced).decode()},
        },
        "spec": {"containers": [{"name": "app", "image": "repo/web:1", "env": env}]},
        "status": {"conditions": [condition] if reason else []},
    }
    return msgspec.convert(document, LocalPod)


def test_a_pod_that_was_told_nothing_is_not_shown() -> None:
    assert updates([msgspec.convert({"metadata": {"name": "a", "namespace": "b"}}, LocalPod)], [PULL]) == ()


def test_progress_is_that_of_the_pull_under_the_full_name_of_the_image() -> None:
    (shown,) = updates([told("Pulling")], [PULL])

    assert (shown.revision, shown.since, shown.reason) == ("web-6d9f", SINCE, "Pulling")
    assert shown.message == "repo/web:2: 40 %, 114.4 of 286.1 MiB"
    (image,) = shown.images
    assert (image.image, image.percent, image.bytes_done, image.bytes_total) == (
        "repo/web:2",
        40,
        120_000_000,
        300_000_000,
    )


def test_an_image_that_is_on_the_node_needs_no_pull_to_be_shown_so() -> None:
    (shown,) = updates([told("Pulled")], [])

    assert shown.ready
    assert [(each.phase, each.percent) for each in shown.images] == [("Succeeded", 100)]


@pytest.mark.parametrize(
    ("reason", "fits"), [("", None), ("Pulling", None), ("WouldNotFit", False), ("Pulled", True)]
)
def test_whether_the_resources_fit_is_told_once_it_is_known(reason: str, fits: bool | None) -> None:
    (shown,) = updates([told(reason, resources=True)], [PULL])

    assert shown.fits is fits


def test_pods_whose_node_is_not_prepared_come_first() -> None:
    shown = updates([told("Pulled", name="a"), told("Pulling", name="b"), told(name="c")], [])

    assert [each.pod for each in shown] == ["b", "c", "a"]


def test_no_value_of_a_variable_is_shown() -> None:
    assert SECRET not in str(msgspec.json.encode(updates([told("Pulling")], [PULL])))
