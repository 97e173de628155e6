"""``kubectl inplaced resize`` and ``why`` of a pod that waits for room, against a fake API server."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from daemon import names
from daemon.cli.kubectl import main
from daemon.objects.resizes import digest_of
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.cluster import FakeCluster, Play, cluster

NOW = "2026-05-01T12:00:09Z"
BOTH = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeCluster]:
    with cluster(tmp_path / "kubeconfig") as made:
        yield made


def run(fake: FakeCluster, *words: str) -> int:
    return main([*words, "--kubeconfig", str(fake.kubeconfig)])


def pod(name: str = "web-0", *, more: Any = (), annotations: Any = None, **resources: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": {"app": "web"},
            "annotations": annotations or {},
        },
        "spec": {"nodeName": "n1", "containers": [{"name": "app", "resources": resources or BOTH}, *more]},
        "status": {"phase": "Running"},
    }


def asked(fake: FakeCluster, name: str = "web-0") -> Any:
    """What the annotation says."""
    found = fake.do(lambda: fake.server.document("pods", name, "shop"))
    return json.loads(found["metadata"]["annotations"][names.RESOURCES_ANNOTATION])


def answering(reason: str, message: str) -> Play:
    """An agent that tells the same of every wish."""

    def react(server: FakeApiServer, changed: Mapping[str, Any]) -> None:
        metadata = {key: each for key, each in changed["metadata"].items() if key != "resourceVersion"}
        text = metadata.get("annotations", {}).get(names.RESOURCES_ANNOTATION)
        if (
            text is None
            or "status" not in changed
            or names.RESIZE_RECORD_ANNOTATION in metadata["annotations"]
        ):
            return
        record = {"wish": digest_of(text), "reason": reason, "since": NOW}
        annotations = metadata["annotations"] | {names.RESIZE_RECORD_ANNOTATION: json.dumps(record)}
        told = {
            "type": names.RESOURCES_IN_SYNC,
            "status": "True" if reason == "InSync" else "False",
            "reason": reason,
            "message": message,
        }
        status = {**changed["status"], "conditions": [told]}
        server.store(
            "pods", {**changed, "metadata": {**metadata, "annotations": annotations}, "status": status}
        )

    return react


@pytest.mark.parametrize(
    ("words", "wish"),
    [
        (["--cpu", "150m"], {"requests": {"cpu": "150m"}, "limits": {}}),
        (["--cpu", "500m/1"], {"requests": {"cpu": "500m"}, "limits": {"cpu": "1"}}),
        (["--cpu", "/1"], {"requests": {}, "limits": {"cpu": "1"}}),
        (["--memory", "1Gi"], {"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}}),
        (
            ["--cpu", "150m", "--memory", "/128Mi"],
            {"requests": {"cpu": "150m"}, "limits": {"memory": "128Mi"}},
        ),
    ],
)
def test_what_is_asked_stands_in_the_annotation(fake: FakeCluster, words: list[str], wish: Any) -> None:
    fake.store("pods", pod())
    fake.react = answering("InSync", "app: cpu request 150m")

    assert run(fake, "resize", "web-0", *words) == 0

    assert asked(fake) == {"containers": {"app": wish}}


def test_policies_and_the_deadline_are_asked_for(fake: FakeCluster) -> None:
    fake.store("pods", pod())

    code = run(
        fake,
        *("resize", "web-0", "--cpu", "150m", "--no-wait"),
        *("--on-deferred", "rollback", "--on-infeasible", "Rollback", "--deadline", "5m"),
    )

    wish = asked(fake)
    assert code == 0
    assert (wish["onDeferred"], wish["onInfeasible"], wish["deadlineSeconds"]) == (
        "Rollback",
        "Rollback",
        300,
    )


def test_what_was_rolled_back_can_be_asked_for_again(fake: FakeCluster) -> None:
    fake.store("pods", pod())
    fake.react = answering("RolledBack", "restored app: cpu request 100m, as there was no room")
    first = run(fake, "resize", "web-0", "--cpu", "150m")
    fake.react = lambda _server, _pod: None

    run(fake, "resize", "web-0", "--cpu", "150m", "--no-wait")

    assert first == 1
    assert asked(fake)["revision"] == f"after-{NOW}"
    assert asked(fake)["containers"]["app"]["requests"] == {"cpu": "150m"}


def test_what_other_containers_were_asked_stays(fake: FakeCluster) -> None:
    before = {"revision": "web-1", "containers": {"log": {"limits": {"cpu": "1"}}}}
    annotations = {names.RESOURCES_ANNOTATION: json.dumps(before)}
    fake.store("pods", pod(more=[{"name": "log"}], annotations=annotations))

    assert run(fake, "resize", "web-0", "-c", "app", "--cpu", "150m", "--no-wait") == 0

    assert asked(fake)["containers"] == {
        "log": {"limits": {"cpu": "1"}},
        "app": {"requests": {"cpu": "150m"}, "limits": {}},
    }
    assert "revision" not in asked(fake)


def test_all_pods_of_a_selector_are_resized(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("web-0", "web-1"):
        fake.store("pods", pod(name))
    fake.react = answering("InSync", "app: cpu request 150m")

    assert run(fake, "resize", "-l", "app=web", "--cpu", "150m") == 0

    lines = capsys.readouterr().out.splitlines()
    ends = [line for line in lines if line.startswith("ok")]
    assert [line.rpartition(" in ")[0] for line in ends] == [
        f"ok      pod/{name}  app: cpu request 150m" for name in ("web-0", "web-1")
    ]


def removed(server: FakeApiServer) -> None:
    server.remove("pods", "web-1", "shop")


def replaced(server: FakeApiServer) -> None:
    """Another pod has its name by now."""
    removed(server)
    server.store("pods", pod("web-1"))


@pytest.mark.parametrize("goes", [removed, replaced])
@pytest.mark.parametrize("words", [[], ["--no-wait"]])
def test_a_pod_that_goes_meanwhile_keeps_no_other_from_what_was_asked(
    fake: FakeCluster,
    capsys: pytest.CaptureFixture[str],
    goes: Callable[[FakeApiServer], None],
    words: list[str],
) -> None:
    for name in ("web-0", "web-1", "web-2"):
        fake.store("pods", pod(name))
    answer = answering("InSync", "app: cpu request 150m")
    gone: list[str] = []

    def react(server: FakeApiServer, changed: Mapping[str, Any]) -> None:
        answer(server, changed)
        if not gone:
            gone.append(changed["metadata"]["name"])
            goes(server)

    fake.react = react

    assert run(fake, "resize", "-l", "app=web", "--cpu", "150m", *words) == 1

    said = capsys.readouterr()
    assert "pod/web-1  it was removed before it could be asked\n" in said.out + said.err
    assert gone == ["web-0"]
    assert asked(fake, "web-2") == asked(fake)


@pytest.mark.parametrize("reason", ["Infeasible", "Error", "RolledBack", "Unsupported"])
def test_what_cannot_be_fails(fake: FakeCluster, capsys: pytest.CaptureFixture[str], reason: str) -> None:
    fake.store("pods", pod())
    fake.react = answering(reason, "the node can never hold it")

    assert run(fake, "resize", "web-0", "--cpu", "64/64") == 1

    assert f"failed  pod/web-0  {reason}: the node can never hold it" in capsys.readouterr().out


def test_what_waits_is_shown_and_left(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    fake.store("pods", pod())
    fake.react = answering("Deferred", "waits for room")

    assert run(fake, "resize", "web-0", "--cpu", "150m", "--timeout", "1s") == 4

    out, err = capsys.readouterr()
    assert "pod/web-0  Deferred: waits for room" in out.splitlines()
    assert "pending pod/web-0  Deferred: waits for room" in out
    assert "'kubectl inplaced why pod/web-0' tells what it waits for" in err


def test_a_document_has_stdout_for_itself(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    fake.store("pods", pod())
    fake.react = answering("InSync", "app: cpu request 150m")

    assert run(fake, "resize", "web-0", "--cpu", "150m", "--output", "json") == 0

    (result,) = json.loads(capsys.readouterr().out)["pods"]
    assert (result["name"], result["node"], result["outcome"]) == ("web-0", "n1", "InSync")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["web-0"], "nothing is asked: allowed are --cpu and --memory"),
        (["web-0", "--cpu", "lots"], "--cpu 'lots': 'lots' is no quantity"),
        (["web-0", "--cpu", "-1"], "--cpu '-1': -1 is negative"),
        (["web-0", "--cpu", "/"], "allowed is REQUEST, REQUEST/LIMIT or /LIMIT"),
        (["web-0", "--cpu", "300m"], "above the limit 200m of pod web-0; allowed: --cpu 300m/LIMIT"),
        (["web-0", "--cpu", "1", "-c", "db"], "has no such one; allowed: app"),
        (["two", "--cpu", "1m"], "name one by --container; allowed: app, log"),
        (["deploy/web", "--cpu", "1"], "is a workload; allowed: POD"),
        (["web-0", "--cpu", "1", "--on-deferred", "never"], "allowed: wait or rollback"),
    ],
)
def test_is_refused_before_anything_is_asked(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    fake.store("pods", pod())
    fake.store("pods", pod("two", more=[{"name": "log"}]))

    assert run(fake, "resize", *words) == 2

    assert told in capsys.readouterr().err
    assert fake.do(lambda: fake.server.count("patch")) == 0


def test_a_pod_that_is_not_there_is_named(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(fake, "resize", "gone", "--cpu", "1") == 1

    assert "there is no running pod pod/gone in namespace shop" in capsys.readouterr().err


def test_why_tells_who_holds_the_room(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    fake.store(
        "nodes", {"metadata": {"name": "n1"}, "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}}}
    )
    fake.react = answering("Deferred", "waits for room")
    fake.store("pods", pod("holder", requests={"cpu": "1500m", "memory": "64Mi"}))
    fake.store("pods", pod(annotations={names.RESOURCES_ANNOTATION: '{"containers":{"app":{}}}'}))
    for number in range(6):
        fake.store("pods", pod(f"small-{number}", requests={"cpu": "10m"}))

    assert run(fake, "why", "pod/web-0") == 0

    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    (said,) = [line for line in lines if line.startswith("its resources are not in sync: Deferred for ")]
    assert said.endswith(": waits for room")
    assert lines[-8:-1] == [
        "node n1 has cpu 2 and memory 1Gi for pods, of which cpu 340m and memory 896Mi is free",
        "cpu 1500m and memory 64Mi is held by shop/holder",
        *(f"cpu 10m is held by shop/small-{number}" for number in range(4)),
        "cpu 20m is held by 2 others",
    ]
