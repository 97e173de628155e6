"""``kubectl inplaced`` against a fake API server, with a kubeconfig as a user has one."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from daemon.cli.kubectl import main
from tests.fakes.apifaults import Fault
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.cluster import FakeCluster, cluster, node_image, told

CRDS = Path(__file__).parents[2] / "charts/inplaced/templates/crds"
SHORT_NAMES = sorted(
    name for file in CRDS.iterdir() for name in re.findall(r"shortNames: \[(\w+)\]", file.read_text())
)
IMAGE = "reg.test/app:v2"
ENDED = {"completionTime": "2026-05-01T12:00:09Z"}


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeCluster]:
    with cluster(tmp_path / "kubeconfig") as made:
        yield made


def run(fake: FakeCluster, *words: str) -> int:
    return main([*words, "--kubeconfig", str(fake.kubeconfig)])


def succeed(server: FakeApiServer, job: Mapping[str, Any]) -> None:
    server.store("imagepulljobs", told(job, desired=3, succeeded=3, message="job has completed", **ENDED))


def job(name: str, **status: Any) -> dict[str, Any]:
    made = {
        "apiVersion": "apps.kruise.io/v1beta1",
        "kind": "ImagePullJob",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"image": IMAGE, "parallelism": 2},
    }
    return told(made, **status) if status else made


def lease(node: str, namespace: str) -> dict[str, Any]:
    return {
        "kind": "Lease",
        "metadata": {"name": f"inplaced-{node}", "namespace": namespace},
        "spec": {"holderIdentity": node, "renewTime": "2026-05-01T12:00:00.000000Z"},
    }


def stored(fake: FakeCluster) -> list[Any]:
    return list(fake.do(lambda: list(fake.server.storage.of("imagepulljobs").values())))


def test_pull_makes_a_job_in_the_contexts_namespace_and_waits_for_its_end(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.play = succeed

    code = run(fake, "pull", IMAGE, "-l", "pool=web", "--parallelism", "20%", "--pull-secret", "registry")

    (made,) = stored(fake)
    assert (code, made["metadata"]["namespace"], made["spec"]["image"]) == (0, "shop", IMAGE)
    assert made["spec"]["selector"] == {"matchLabels": {"pool": "web"}}
    assert (made["spec"]["parallelism"], made["spec"]["pullSecrets"]) == ("20%", ["registry"])
    assert f"ok      {IMAGE}  on 3 nodes" in capsys.readouterr().out


def test_pull_tells_the_node_that_failed_with_its_reason_and_remedy(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(server: FakeApiServer, made: Mapping[str, Any]) -> None:
        status = {
            "phase": "Failed",
            "reason": "ImageNotFound",
            "message": "manifest unknown",
            "completionTime": "2026-05-01T12:00:05Z",
        }
        server.store("nodeimages", node_image("node-1", made, **status))
        ended = told(made, desired=2, succeeded=1, failed=1, failedNodes=["node-1"], **ENDED)
        server.store("imagepulljobs", ended)

    fake.play = fail

    code = run(fake, "pull", IMAGE)

    out = capsys.readouterr().out
    assert code == 1
    assert f"failed  {IMAGE} on node-1  ImageNotFound: manifest unknown" in out
    assert "remedy: " in out


def test_pull_answers_a_document_when_asked_for_one(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.play = succeed

    run(fake, "pull", IMAGE, "--output", "json")

    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert (result["image"], result["finished"], result["succeeded"]) == (IMAGE, True, 3)


def test_pull_without_waiting_names_its_job(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(fake, "pull", IMAGE, "--no-wait")

    (made,) = stored(fake)
    assert code == 0
    assert capsys.readouterr().out == f"imagepulljob/{made['metadata']['name']} created in shop for {IMAGE}\n"


def test_pull_gives_up_waiting_when_told_to_and_the_job_goes_on(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(fake, "pull", IMAGE, "--wait-timeout", "1s")

    assert code == 4
    assert "the jobs go on in the cluster" in capsys.readouterr().err
    assert len(stored(fake)) == 1


def test_pull_fails_when_no_node_is_meant(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    nobody = {
        "type": "Ready",
        "status": "True",
        "reason": "NoNodes",
        "message": "the selector matches no node",
    }

    def end(server: FakeApiServer, made: Mapping[str, Any]) -> None:
        ended = told(made, desired=0, message="job has completed", conditions=[nobody], **ENDED)
        server.store("imagepulljobs", ended)

    fake.play = end

    assert run(fake, "pull", IMAGE, "-l", "pool=web") == 1
    assert "0 of 0 nodes" in (out := capsys.readouterr().out)
    assert "the selector matches no node" in out


def test_pull_ends_when_its_job_is_removed(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    def remove(server: FakeApiServer, made: Mapping[str, Any]) -> None:
        fake.later(1.0, lambda: server.remove("imagepulljobs", made["metadata"]["name"], "shop"))

    fake.play = remove

    assert run(fake, "pull", IMAGE, "--wait-timeout", "15s") == 1
    assert "the job was removed" in capsys.readouterr().out


def test_pull_follows_jobs_alone_where_nodes_may_not_be_read(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.do(lambda: fake.server.fail(Fault(status=403, resource="nodeimages", times=1000)))
    fake.play = succeed

    assert run(fake, "pull", IMAGE) == 0
    assert "on 3 nodes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pull", "UPPER CASE"), "IMAGE"),
        (("pull", IMAGE, "--node", "a", "-l", "b=c"), "allowed is one of them"),
        (("pull", IMAGE, "-l", "b>1"), "app=web"),
        (("pull", IMAGE, "--node", "node-1", "--node", "nod-2"), "--node 'nod-2': there is no such node"),
        (("pull", IMAGE, "--parallelism", "many"), "a number of nodes, or 0% to 100%"),
        (("pull", IMAGE, "--parallelism", "101%"), "a number of nodes, or 0% to 100%"),
        (("pull",), "Missing argument"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_made(
    fake: FakeCluster, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.store("nodeimages", {"kind": "NodeImage", "metadata": {"name": "node-1"}})

    code = run(fake, *words)

    assert code == 2
    assert said in capsys.readouterr().err
    assert stored(fake) == []


def test_why_knows_a_node_that_is_not_there_from_one_without_an_agent(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.store("nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-2"}})

    assert run(fake, "why", "node/node-2") == 0
    assert "node/node-2: has no NodeImage" in capsys.readouterr().out
    assert run(fake, "why", "node/node-3") == 1
    assert capsys.readouterr().err == "error: there is no node 'node-3'\n"


def test_why_names_the_kinds_that_it_knows(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(fake, "why", "service/web") == 2
    assert "'service' is no kind that can be asked of; allowed: deploy, sts," in capsys.readouterr().err


@pytest.mark.parametrize("short", SHORT_NAMES)
def test_why_knows_the_short_names_that_kubectl_knows(
    fake: FakeCluster, short: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(fake, "why", f"{short}/nothing") == 1
    assert capsys.readouterr().err.startswith("error: there is no ")


def test_pull_names_its_own_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pull", "--help"]) == 0

    out = capsys.readouterr().out
    assert "the API server cannot be reached" in out
    assert "agent" not in out


def test_jobs_have_openkruises_columns(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    fake.store("imagepulljobs", job("web", desired=3, active=1, succeeded=2, message="job is running"))

    assert run(fake, "jobs") == 0
    first, row = capsys.readouterr().out.splitlines()
    assert first.split() == ["NAME", "TOTAL", "ACTIVE", "SUCCEED", "FAILED", "AGE", "MESSAGE"]
    assert row.split()[:5] == ["web", "3", "1", "2", "0"]


def test_jobs_of_all_namespaces_have_a_column_for_it(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.store("imagepulljobs", job("web", desired=1))

    run(fake, "jobs", "-A", "--output", "wide")

    first, row = capsys.readouterr().out.splitlines()
    assert (first.split()[0], first.split()[-1]) == ("NAMESPACE", "IMAGES")
    assert (row.split()[0], row.split()[-1]) == ("shop", IMAGE)


def test_nodes_tell_agents_and_counts(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    fake.store("imagepulljobs", job("web"))
    (made,) = stored(fake)
    fake.store("nodeimages", node_image("node-1", made, phase="Pulling"))

    fake.store("leases", lease("node-2", "kube-system"))

    assert run(fake, "nodes", "--release-namespace", "kube-system") == 0
    told = capsys.readouterr()
    first, row = told.out.splitlines()
    assert first.split()[:3] == ["NODE", "AGENT", "SEEN"]
    assert row.split()[:3] == ["node-1", "0.1.0", "never"]
    assert not told.err
    assert run(fake, "nodes") == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[1].split()[:3] == ["node-1", "0.1.0", "<unknown>"]
    assert "No agent's Lease can be seen in namespace inplaced; is --release-namespace" in told.err


def test_why_finds_a_job_a_node_and_says_when_there_is_neither(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.store("imagepulljobs", job("web", desired=1))
    (made,) = stored(fake)
    fake.store("nodeimages", node_image("node-1", made, phase="Pulling", progress=42))

    assert run(fake, "why", "web") == 0
    assert "imagepulljob/web: 0 of 1 nodes have the image" in capsys.readouterr().out
    assert run(fake, "why", "node/node-1") == 0
    assert "node/node-1: 0 of 1 images are there" in capsys.readouterr().out
    assert run(fake, "why", "nothing") == 1
    assert "'nothing' is no pod, job, restart or CloneSet in namespace shop" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "command"), [([], "why"), (["rollout"], "status")])
def test_the_commands_are_listed_where_none_is_named(
    words: list[str], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0

    told = capsys.readouterr()
    assert told.out.startswith("Usage: kubectl inplaced")
    assert f"  {command} " in told.out
    assert not told.err
