"""``kubectl inplaced`` where the cluster is not known, not there, or not open to whoever asks."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from daemon.cli.kubectl import main
from tests.fakes.apifaults import Fault
from tests.fakes.cluster import FakeCluster, cluster, told

IMAGE = "reg.test/app:v2"
JOB = {
    "apiVersion": "apps.kruise.io/v1beta1",
    "kind": "ImagePullJob",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"image": IMAGE, "parallelism": 2},
}


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeCluster]:
    with cluster(tmp_path / "kubeconfig") as made:
        yield made


def run(fake: FakeCluster, *words: str) -> int:
    return main([*words, "--kubeconfig", str(fake.kubeconfig)])


def test_a_cluster_that_cannot_be_reached_is_told_with_its_exit_code(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.do(fake.server.stop)

    assert run(fake, "nodes") == 3
    assert "is the API server up" in capsys.readouterr().err


def test_a_cluster_that_is_not_known_is_told_with_what_to_name(
    fake: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))

    assert main(["nodes"]) == 3
    assert "no cluster is known: KUBECONFIG names" in capsys.readouterr().err
    assert main(["nodes", "--kubeconfig", str(tmp_path / "absent")]) == 2
    assert "absent: there is no such file" in capsys.readouterr().err
    assert run(fake, "nodes", "--context", "other") == 2
    assert "--context 'other' is not there; allowed: fake" in capsys.readouterr().err


@pytest.mark.parametrize("words", [(), ("--context", "fake")])
def test_a_kubeconfig_that_may_not_be_looked_for_is_told(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not by rights, which root has all of: the operating system refuses such a name, too."""
    refused = tmp_path / ("x" * 300)

    assert main(["nodes", "--kubeconfig", str(refused), *words]) == 3
    assert "x cannot be used: [Errno 36] File name too long" in capsys.readouterr().err


def test_an_empty_kubeconfig_variable_is_none(
    fake: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", "")

    assert main(["jobs"]) == 3
    assert f"there is no {tmp_path}/.kube/config" in capsys.readouterr().err
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube/config").write_text(fake.kubeconfig.read_text())
    assert main(["jobs"]) == 0
    assert "No jobs found in namespace shop" in capsys.readouterr().err


def refuse(fake: FakeCluster, *plurals: str) -> None:
    """As to somebody who has no right to read them."""
    for plural in plurals:
        fake.do(partial(fake.server.fail, Fault(status=403, resource=plural, times=1000)))


@pytest.mark.parametrize("words", [("nodes",), ("jobs",), ("pull", IMAGE), ("why", "node/node-1")])
def test_who_has_no_right_is_told_whom_to_ask(
    fake: FakeCluster, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(fake, "nodeimages", "imagepulljobs")

    assert run(fake, *words) == 2
    assert "'kubectl auth can-i --list' shows what you may do" in capsys.readouterr().err


def test_why_tells_of_a_job_what_may_be_read(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    stuck = {"type": "Ready", "status": "False", "reason": "ImageNotFound", "message": "1 of 2 nodes failed"}
    over = {
        "message": "job has completed",
        "failedNodes": ["node-2"],
        "conditions": [stuck],
        "completionTime": "2026-05-01T12:00:09Z",
    }
    fake.store("imagepulljobs", told(JOB, desired=2, succeeded=1, failed=1, **over))
    refuse(fake, "nodeimages", "leases", "pods", "clonesets", "workloadrestarts")

    assert run(fake, "why", "web") == 0
    assert capsys.readouterr().out.splitlines() == [
        "imagepulljob/web: is over. 1 of 2 nodes have the image, 1 failed",
        "  node-2: failed",
        "  1 of 2 nodes failed",
        "  what its nodes say is not shown: that needs the right to list nodeimages, which you have not",
    ]


@pytest.mark.parametrize("kind", ["pod", "crr"])
def test_why_of_a_kind_that_may_be_read_speaks_of_no_other(
    fake: FakeCluster, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(fake, "workloadrestarts", "leases")

    assert run(fake, "why", f"{kind}/nothing") == 1
    assert capsys.readouterr().err == f"error: there is no {kind} 'nothing' in namespace shop\n"


def test_why_says_where_it_was_not_allowed_to_look(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(fake, "nodeimages", "pods")

    assert run(fake, "why", "nothing") == 1
    assert "not looked at, as you may not list them: pods, nodeimages;" in capsys.readouterr().err
    refuse(fake, "nodes")
    assert run(fake, "why", "nothing") == 1
    assert "not looked at" in capsys.readouterr().err
    assert run(fake, "why", "pj/nothing") == 1
    assert capsys.readouterr().err == "error: there is no pj 'nothing' in namespace shop\n"
