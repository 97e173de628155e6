"""``kubectl inplaced get pods`` against a fake API server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon import names
from daemon.cli.kubectl import main
from tests.fakes.apifaults import Fault
from tests.fakes.cluster import FakeCluster, cluster

NOW = "2026-05-01T12:00:09Z"


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeCluster]:
    with cluster(tmp_path / "kubeconfig") as made:
        yield made


def run(fake: FakeCluster, *words: str) -> int:
    return main([*words, "--kubeconfig", str(fake.kubeconfig)])


def pod(name: str = "web-0", *, restarts: int = 5, **metadata: Any) -> dict[str, Any]:
    status = {
        "name": "app",
        "containerID": "containerd://c1",
        "ready": True,
        "restartCount": restarts,
        "state": {"running": {"startedAt": NOW}},
    }
    labels = {"app": "web"}
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": labels,
            "creationTimestamp": NOW,
            **metadata,
        },
        "spec": {"nodeName": "n1", "containers": [{"name": "app"}, {"name": "log"}]},
        "status": {"phase": "Running", "containerStatuses": [status]},
    }


def annotated(**annotations: str) -> dict[str, Any]:
    return {"annotations": annotations}


COUNTS = annotated(
    **{
        names.PLANNED_RESTARTS_ANNOTATION: '{"app":3}',
        names.RESTART_COUNTS_ANNOTATION: '{"app":{"revision":"web-1","restartCount":4}}',
    }
)


def test_pods_are_listed_with_the_restarts_that_nobody_asked_for(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.store("pods", pod(**COUNTS))
    fake.store("pods", pod("web-1", restarts=0))

    assert run(fake, "get", "pods") == 0

    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "READY", "STATUS", "RESTARTS", "UNPLANNED", "SINCE-UPDATE", "AGE"]
    assert first.split()[:6] == ["web-0", "1/2", "Running", "5", "2", "1"]
    assert second.split()[3:6] == ["0", "0", "<none>"]


def test_the_list_can_be_of_all_namespaces_wide_or_by_labels(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.store("pods", pod(**COUNTS))

    run(fake, "get", "pods", "-A", "-l", "app=web", "-o", "wide")
    head, row = capsys.readouterr().out.splitlines()
    run(fake, "get", "pods", "-l", "app=other")

    assert (head.split()[0], head.split()[-2:]) == ("NAMESPACE", ["NODE", "PLANNED"])
    assert (row.split()[0], row.split()[-2:]) == ("shop", ["n1", "app=3"])
    assert capsys.readouterr().err == "No pods found in namespace shop.\n"


def test_the_list_is_a_document_when_asked_for_one(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.store("pods", pod(**COUNTS))

    run(fake, "get", "pods", "-o", "json")

    (item,) = json.loads(capsys.readouterr().out)["items"]
    assert item["containers"] == [
        {"name": "app", "restarts": 5, "planned": 3, "unplanned": 2, "sinceUpdate": 1}
    ]


@pytest.mark.parametrize("words", [["pods", "web-1", "web-0"], ["pod/web-1", "po/web-0"]])
def test_pods_are_listed_by_their_names(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    for name in ("web-0", "web-1", "web-2"):
        fake.store("pods", pod(name))

    assert run(fake, "get", *words) == 0

    _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["web-1", "web-0"]


def test_pods_that_there_are_not_are_named_beside_those_that_there_are(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.store("pods", pod())

    assert run(fake, "get", "pods", "web-0", "web-9") == 1

    told = capsys.readouterr()
    assert "web-0" in told.out
    assert told.err == "error: there is no pod 'web-9' in namespace shop\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["services"], "allowed: pods"),
        (["deploy/web"], "allowed: pods"),
        (["pod/"], "allowed: pod/NAME"),
        (["pod/web-0", "web-1"], "allowed: pods"),
        (["pods", "pod/web-0"], "allowed: pods NAME, or pod/NAME"),
        (["pods", "web-0", "-l", "app=web"], "allowed is one of them"),
        (["pods", "web-0", "-A"], "allowed is one of them"),
    ],
)
def test_what_cannot_be_listed_is_told(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert run(fake, "get", *words) == 2
    assert said in capsys.readouterr().err


def test_a_missing_right_is_told(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    fake.do(lambda: fake.server.fail(Fault(status=403, resource="pods", times=1000)))

    assert run(fake, "get", "pods") == 2
    assert run(fake, "get", "pods", "web-0") == 2

    assert capsys.readouterr().err.count("error: ") == 2
