"""``kubectl inplaced restart`` and ``why POD`` against a fake API server."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from daemon import names
from daemon.cli.kubectl import main
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.cluster import FakeCluster, cluster
from tests.fakes.command import on_terminal

SHOW_CURSOR = b"\x1b[?25h"
NOW = "2026-05-01T12:00:09Z"
READY = {"type": "Ready", "status": "True", "reason": "Completed", "observedGeneration": 1}


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeCluster]:
    with cluster(tmp_path / "kubeconfig") as made:
        yield made


def run(fake: FakeCluster, *words: str) -> int:
    return main([*words, "--kubeconfig", str(fake.kubeconfig)])


def pod(name: str = "web-0", **fields: Any) -> dict[str, Any]:
    status = {
        "name": "app",
        "containerID": "containerd://c1",
        "ready": True,
        "restartCount": 5,
        "state": {"running": {"startedAt": NOW}},
    }
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": {"app": "web"},
            "creationTimestamp": NOW,
            **fields.pop("metadata", {}),
        },
        "spec": {"nodeName": "n1", "containers": [{"name": "app"}, {"name": "log"}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{**status, **fields.pop("container", {})}],
        },
    }


def stored(fake: FakeCluster, plural: str) -> list[Any]:
    return list(fake.do(lambda: list(fake.server.storage.of(plural).values())))


def succeed(server: FakeApiServer, made: Mapping[str, Any]) -> None:
    """What the controller tells of a restart that went well."""
    if made["kind"] == "WorkloadRestart":
        status = {"desired": 3, "restarted": 3, "message": "3 of 3 pods restarted", "conditions": [READY]}
        server.store("workloadrestarts", {**made, "status": {**status, "completionTime": NOW}})
        return
    states = [{"name": each["name"], "phase": "Succeeded"} for each in made["spec"]["containers"]]
    status = {"phase": "Completed", "completionTime": NOW, "containerRecreateStates": states}
    server.store("containerrecreaterequests", {**made, "status": status})


def fail(server: FakeApiServer, made: Mapping[str, Any]) -> None:
    """What it tells of one that did not."""
    status = {
        "desired": 2,
        "restarted": 1,
        "failed": 1,
        "message": "1 of 2 pods failed; web-0: not ready",
        "failures": [{"pod": "web-0", "reason": "RecreateFailed", "message": "not ready"}],
        "conditions": [{**READY, "status": "False"}],
        "completionTime": NOW,
    }
    server.store("workloadrestarts", {**made, "status": status})


def test_one_pod_is_restarted_by_a_request_for_all_its_containers(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.store("pods", pod())
    fake.play = succeed

    code = run(fake, "restart", "web-0", "--grace", "5s", "--min-ready", "2s", "--deadline", "1m")

    (made,) = stored(fake, "containerrecreaterequests")
    (found,) = stored(fake, "pods")
    assert code == 0
    assert made["metadata"]["labels"] == {names.RECREATE_POD_LABEL: found["metadata"]["uid"]}
    assert made["spec"]["podName"] == "web-0"
    assert [each["name"] for each in made["spec"]["containers"]] == ["app", "log"]
    assert made["spec"]["strategy"] == {"terminationGracePeriodSeconds": 5, "minStartedSeconds": 2}
    assert (made["spec"]["activeDeadlineSeconds"], made["spec"]["ttlSecondsAfterFinished"]) == (60, 3600)
    assert "ok      pod/web-0  2 of 2 containers restarted in" in capsys.readouterr().out


def test_one_container_of_a_pod_is_restarted_by_name(fake: FakeCluster) -> None:
    fake.store("pods", pod())
    fake.play = succeed

    assert run(fake, "restart", "pod/web-0", "-c", "log") == 0

    (made,) = stored(fake, "containerrecreaterequests")
    assert made["spec"]["containers"] == [{"name": "log"}]


@pytest.mark.parametrize(
    ("typed", "version", "kind"),
    [
        ("deploy/web", "apps/v1", "Deployment"),
        ("deployment.apps/web", "apps/v1", "Deployment"),
        ("sts/web", "apps/v1", "StatefulSet"),
        ("ds/web", "apps/v1", "DaemonSet"),
        ("rs/web", "apps/v1", "ReplicaSet"),
        ("cloneset/web", "apps.kruise.io/v1beta1", "CloneSet"),
        ("statefulset.apps.kruise.io/web", "apps.kruise.io/v1beta1", "StatefulSet"),
    ],
)
def test_a_workload_is_restarted_in_the_words_of_kubectl(
    fake: FakeCluster, typed: str, version: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.play = succeed

    code = run(fake, "restart", typed, "--max-unavailable", "25%", "--order", "namedescending", "-c", "app")

    (made,) = stored(fake, "workloadrestarts")
    assert code == 0
    assert made["spec"]["workloadRef"] == {"apiVersion": version, "kind": kind, "name": "web"}
    assert (made["spec"]["maxUnavailable"], made["spec"]["order"]) == ("25%", "NameDescending")
    assert made["spec"]["containers"] == ["app"]
    assert f"ok      {kind.lower()}/web  3 of 3 pods restarted in" in capsys.readouterr().out


def test_pods_are_chosen_by_labels(fake: FakeCluster) -> None:
    fake.play = succeed

    assert run(fake, "restart", "-l", "app=web,tier!=cache,canary,!old") == 0

    (made,) = stored(fake, "workloadrestarts")
    assert made["spec"]["selector"] == {
        "matchLabels": {"app": "web"},
        "matchExpressions": [
            {"key": "tier", "operator": "NotIn", "values": ["cache"]},
            {"key": "canary", "operator": "Exists"},
            {"key": "old", "operator": "DoesNotExist"},
        ],
    }


def test_what_failed_is_told_with_its_exit_code(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.play = fail

    assert run(fake, "restart", "deploy/web") == 1

    out = capsys.readouterr().out
    assert "failed  web-0: not ready" in out
    assert "failed  deployment/web  1 of 2 pods restarted, 1 failed in" in out


def test_a_document_tells_how_it_ended(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    fake.play = fail

    run(fake, "restart", "deploy/web", "--output", "json")

    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["target"], told["result"]) == ("WorkloadRestart", "deployment/web", "Failed")
    assert (told["total"], told["restarted"], told["failed"]) == (2, 1, 1)
    assert told["failures"] == [{"name": "web-0", "message": "not ready"}]


def test_progress_is_told_in_the_words_of_who_carries_it_out(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    def play(server: FakeApiServer, made: Mapping[str, Any]) -> None:
        status = {"desired": 3, "restarted": 1, "message": "1 of 3 pods restarted; not ready: web-9"}
        server.store("workloadrestarts", {**made, "status": status})
        name = made["metadata"]["name"]
        fake.later(1.0, lambda: succeed(server, server.document("workloadrestarts", name, "shop")))

    fake.play = play

    assert run(fake, "restart", "deploy/web", "--timeout", "20s") == 0
    assert "deployment/web: 1 of 3 pods restarted; not ready: web-9" in capsys.readouterr().out


def test_a_terminal_shows_a_bar_and_what_is_waited_for(fake: FakeCluster) -> None:
    def play(server: FakeApiServer, made: Mapping[str, Any]) -> None:
        failures = [{"pod": "web-7", "reason": "RecreateFailed", "message": "said"}]
        status = {
            "desired": 4,
            "restarted": 1,
            "failed": 1,
            "message": "not ready: web-9",
            "failures": failures,
        }
        server.store("workloadrestarts", {**made, "status": status})

    fake.play = play

    words = ("restart", "deploy/web", "--kubeconfig", str(fake.kubeconfig))
    with on_terminal(*words, module="daemon.cli.kubectl") as command:
        command.wait_for("1 of 4 pods restarted, 1 failed")
        command.wait_for("not ready: web-9")
        (made,) = stored(fake, "workloadrestarts")
        fake.do(lambda: succeed(fake.server, made))
        code = command.ends()

    assert code == 0
    assert "failed  web-7: said" in command.text
    assert "ok      deployment/web  3 of 3 pods restarted in" in command.text
    assert SHOW_CURSOR in command.raw


def test_ctrl_c_leaves_the_restart_to_the_cluster(fake: FakeCluster) -> None:
    words = ("restart", "deploy/web", "--kubeconfig", str(fake.kubeconfig))
    with on_terminal(*words, module="daemon.cli.kubectl") as command:
        command.wait_for("deployment/web")
        command.interrupt()
        code = command.ends()

    assert code == 130
    assert "interrupted; the restart goes on in the cluster" in command.text
    assert len(stored(fake, "workloadrestarts")) == 1


def test_without_waiting_the_request_is_named(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(fake, "restart", "deploy/web", "--no-wait") == 0

    (made,) = stored(fake, "workloadrestarts")
    name = made["metadata"]["name"]
    assert capsys.readouterr().out == f"workloadrestart/{name} created in shop for deployment/web\n"


def test_waiting_ends_when_told_to_and_the_restart_goes_on(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(fake, "restart", "deploy/web", "--timeout", "1s") == 4

    (made,) = stored(fake, "workloadrestarts")
    told = capsys.readouterr()
    assert f"kubectl inplaced why workloadrestart/{made['metadata']['name']}" in told.err
    assert "pending deployment/web  0 of 0 pods restarted after" in told.out


def test_a_request_that_somebody_removes_has_failed(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    def remove(server: FakeApiServer, made: Mapping[str, Any]) -> None:
        fake.later(1.0, lambda: server.remove("workloadrestarts", made["metadata"]["name"], "shop"))

    fake.play = remove

    assert run(fake, "restart", "deploy/web", "--timeout", "15s") == 1
    assert "the request was removed before its end was seen" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "nothing is named: allowed is one of POD, deploy/NAME"),
        (("web-0", "-l", "a=b"), 2, "allowed is one of"),
        (("svc/web",), 2, "'svc/web' names no pods; allowed: POD, deploy/NAME"),
        (("deployment.apps.kruise.io/web",), 2, "names no pods"),
        (("deploy/",), 2, "is no name"),
        (("-l", "=web"), 2, "allowed are labels as in app=web,tier!=cache"),
        (("deploy/web", "--max-unavailable", "0"), 2, "--max-unavailable"),
        (("deploy/web", "--max-unavailable", "200%"), 2, "1% to 100%"),
        (("deploy/web", "--order", "random"), 2, "allowed: OldestFirst, NewestFirst"),
        (("deploy/web", "--deadline", "1s"), 2, "--deadline"),
        (("web-0", "-c", "typo"), 2, "--container 'typo': pod web-0 has no such one; allowed: app, log"),
        (("missing",), 1, "there is no pod 'missing' in namespace shop"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_made(
    fake: FakeCluster, words: tuple[str, ...], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.store("pods", pod())

    assert run(fake, "restart", *words) == code

    assert said in capsys.readouterr().err
    assert not stored(fake, "workloadrestarts")
    assert not stored(fake, "containerrecreaterequests")


def test_why_tells_of_a_pod_and_of_a_restart(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    fake.store("pods", pod())
    run(fake, "restart", "-l", "app=web", "--no-wait")
    (made,) = stored(fake, "workloadrestarts")
    name = made["metadata"]["name"]
    capsys.readouterr()

    assert run(fake, "why", "web-0") == 0
    of_pod = capsys.readouterr().out
    assert run(fake, "why", f"wr/{name}") == 0
    of_restart = capsys.readouterr().out

    assert of_pod.startswith("pod/web-0: is ready\n")
    assert f"  workloadrestart/{name} has not come to it: nobody has taken it up" in of_pod
    assert of_restart.startswith(f"workloadrestart/{name} for pods by labels: nobody has taken it up for")
    assert run(fake, "why", "pod/nothing") == 1


def test_why_tells_of_the_pods_of_a_workload(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    spec = {"selector": {"matchLabels": {"app": "web"}}}
    fake.store("statefulsets", {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
    (made,) = stored(fake, "statefulsets")
    controller = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "controller": True}
    owners = {"ownerReferences": [{**controller, "uid": made["metadata"]["uid"]}]}
    waiting = {"ready": False, "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}}
    fake.store("pods", pod("web-0", metadata=owners))
    broken = pod("web-1", metadata=owners, container=waiting)
    fake.store("pods", {**broken, "status": {**broken["status"], "conditions": []}})
    fake.store("pods", pod("stranger"))
    run(fake, "restart", "sts/web", "--no-wait")
    capsys.readouterr()

    assert run(fake, "why", "sts/web") == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "statefulset/web: 1 of 2 pods are ready"
    assert lines[1].startswith("  workloadrestart/web-")
    assert "    container app waits: ImagePullBackOff: no such tag" in lines
    assert not any("stranger" in line for line in lines)
    assert run(fake, "why", "deploy/nothing") == 1
    assert "there is no deployment/nothing in namespace shop" in capsys.readouterr().err
