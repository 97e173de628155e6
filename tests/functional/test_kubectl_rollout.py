"""``kubectl inplaced rollout status`` against a fake API server, for a person and for a program."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from daemon.cli.kubectl import main
from daemon.cli.rollout_reports import reporter
from daemon.cli.rollouts import PodStep, Rollout
from tests.fakes.apifaults import Fault
from tests.fakes.cluster import FakeCluster, cluster

CONTROLLER = {"apiVersion": "apps.kruise.io/v1beta1", "kind": "CloneSet", "name": "web", "controller": True}


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeCluster]:
    with cluster(tmp_path / "kubeconfig") as made:
        yield made


def run(fake: FakeCluster, *words: str) -> int:
    return main(["rollout", "status", *words, "--kubeconfig", str(fake.kubeconfig)])


def store(
    fake: FakeCluster,
    *,
    ready: str = "False",
    stalled: str = "False",
    updated: int = 1,
    **strategy: Any,
) -> None:
    """A set of two pods, of which so many are updated."""
    conditions = [
        {"type": type_, "status": status, "reason": "Updating", "message": "goes on"}
        for type_, status in (("Ready", ready), ("Stalled", stalled))
    ]
    status = {
        "observedGeneration": 1,
        "updateRevision": "web-new",
        "updatedReplicas": updated,
        "expectedUpdatedReplicas": 2,
        "availableReplicas": updated,
        "conditions": conditions,
    }
    spec = {
        "replicas": 2,
        "updateStrategy": strategy,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app"}]}},
    }
    metadata = {"name": "web", "namespace": "shop"}
    fake.store("clonesets", {"metadata": metadata, "spec": spec, "status": status})


def store_pod(fake: FakeCluster, name: str, revision: str, *, ready: bool = True) -> None:
    uid = fake.do(lambda: fake.server.document("clonesets", "web", "shop"))["metadata"]["uid"]
    labels = {"app": "web", "controller-revision-hash": revision}
    metadata = {
        "name": name,
        "namespace": "shop",
        "labels": labels,
        "ownerReferences": [{**CONTROLLER, "uid": uid}],
    }
    fake.store(
        "pods",
        {
            "metadata": metadata,
            "spec": {"nodeName": "node-1", "containers": [{"name": "app"}]},
            "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
        },
    )


def test_a_rollout_that_is_over_is_told_in_a_line(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    store(fake, ready="True", updated=2)

    code = run(fake, "cloneset/web")

    assert (code, capsys.readouterr().out) == (0, "cloneset/web is at web-new: goes on\n")


def test_steps_are_told_as_they_come_until_it_is_over(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    store(fake)
    store_pod(fake, "web-a", "web-new", ready=False)
    store_pod(fake, "web-b", "web-old")

    fake.do(lambda: fake.later(0.5, lambda: finish(fake)))
    code = run(fake, "web", "--timeout", "10s")

    out = capsys.readouterr().out
    assert code == 0
    assert "  pod/web-a: Starting, is not ready yet" in out
    assert "cloneset/web: goes on\n" in out
    assert out.endswith("cloneset/web is at web-new: goes on\n")


def all_of(terminal: int) -> Iterator[bytes]:
    """What was written to the other end, which is closed: Linux ends it with an error."""
    with os.fdopen(terminal, "rb", buffering=0) as file, suppress(OSError):
        while piece := file.read(65536):
            yield piece


def test_a_terminal_gets_a_table_of_the_pods() -> None:
    steps = (
        PodStep(
            name="web-a", node="node-1", revision="new", step="Changing", reason="its containers restart"
        ),
        PodStep(name="web-b", node="node-2", revision="old", step="Waiting"),
    )
    rollout = Rollout(
        name="web",
        namespace="shop",
        revision="web-new",
        updated=1,
        expected=2,
        available=1,
        replicas=2,
        pods=steps,
    )
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as stream, reporter(stream) as report:
        report.show(rollout)
        report.show(rollout, away=True)

    seen = b"".join(all_of(ours)).decode()

    for word in ("POD", "REASON", "web-a", "Changing", "its containers restart", "web-b", "Waiting"):
        assert word in seen
    assert "the API server is away" in seen


def finish(fake: FakeCluster) -> None:
    """Have the set be ready; on the server's own loop."""
    now: Any = fake.server.document("clonesets", "web", "shop")
    conditions = [{"type": "Ready", "status": "True", "reason": "Available", "message": "goes on"}]
    status = {**now["status"], "updatedReplicas": 2, "conditions": conditions}
    metadata = {"name": "web", "namespace": "shop"}
    fake.server.store("clonesets", {"metadata": metadata, "spec": now["spec"], "status": status})


def test_a_rollout_that_is_stuck_fails(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    store(fake, stalled="True")

    code = run(fake, "web")

    assert (code, capsys.readouterr().out.splitlines()[-1]) == (
        1,
        "cloneset/web is stuck, Updating: goes on",
    )


def test_it_can_be_asked_once(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    store(fake)
    store_pod(fake, "web-a", "web-new")

    code = run(fake, "web", "--no-wait", "-o", "json")

    told = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (told["updated"], told["expected"], told["done"]) == (1, 2, False)
    assert [(pod["name"], pod["step"]) for pod in told["pods"]] == [("web-a", "Done")]


def test_following_ends_in_time(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    store(fake)

    code = run(fake, "web", "--timeout", "1s")

    assert code == 4
    assert "waited too long; the rollout goes on in the cluster" in capsys.readouterr().err


def test_a_set_that_is_not_there_is_said_so(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(fake, "web")

    assert code == 1
    assert "there is no cloneset 'web' in namespace shop" in capsys.readouterr().err


def test_why_tells_where_a_pod_is_in_the_rollout(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    store(fake)
    store_pod(fake, "web-a", "web-old")

    code = main(["why", "pod/web-a", "--kubeconfig", str(fake.kubeconfig)])

    out = capsys.readouterr().out
    assert code == 0
    assert "  its rollout: Waiting\n" in out
    assert "  cloneset/web: goes on\n" in out


def test_why_tells_of_a_pod_what_may_be_read_without_its_set(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    store(fake)
    store_pod(fake, "web-a", "web-old", ready=False)
    fake.do(lambda: fake.server.fail(Fault(status=403, resource="clonesets", times=1000)))

    code = main(["why", "web-a", "--kubeconfig", str(fake.kubeconfig)])

    assert (code, capsys.readouterr().out) == (0, "pod/web-a: is not ready, and nothing is asked of it\n")


@pytest.mark.parametrize("name", ["cloneset/web", "web"])
def test_why_tells_of_a_set_how_far_it_is_and_of_those_pods_that_move(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    store(fake)
    store_pod(fake, "web-a", "web-old")
    store_pod(fake, "web-b", "web-new", ready=False)

    code = main(["why", name, "--kubeconfig", str(fake.kubeconfig)])

    assert code == 0
    assert capsys.readouterr().out.splitlines() == [
        "cloneset/web: 1 of 2 pods are ready",
        "  rollout to web-new: goes on",
        "  1 pod waits for its turn",
        "  pod/web-b: is not ready, and nothing is asked of it",
        "    its rollout: Starting, is not ready yet",
    ]


def test_why_tells_that_pods_are_kept_by_the_partition(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    store(fake, ready="True", partition=1)
    store_pod(fake, "web-a", "web-old")

    main(["why", "web", "--kubeconfig", str(fake.kubeconfig)])

    assert capsys.readouterr().out.splitlines()[1:] == ["  1 pod stays as it is, kept by the partition"]


def test_other_kinds_are_refused(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(fake, "deploy/web")

    assert code == 2
    assert "allowed: a CloneSet" in capsys.readouterr().err


def test_a_missing_right_is_told_and_not_waited_for(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    store(fake)
    fake.do(lambda: fake.server.fail(Fault(status=403, resource="pods", times=1000)))

    assert run(fake, "web") == 2

    assert capsys.readouterr().err.startswith("error: ")


def test_a_cluster_without_the_kind_is_said_so(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    fake.do(lambda: fake.server.kinds.pop("clonesets"))

    assert run(fake, "web") == 1

    assert "the cluster has no clonesets.apps.kruise.io" in capsys.readouterr().err
