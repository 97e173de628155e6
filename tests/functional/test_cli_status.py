"""``inplaced status`` against an agent on a real socket."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from daemon.__main__ import main
from daemon.debug.views import DiskView, PodsView, ProblemView, RuntimeView
from tests.fakes.agent import MIB, NOW, ScriptedAgent, a_job, a_pull, serving
from tests.fakes.command import piped
from tests.fakes.node_pods import troubled_pods

SOCKET = "/run/containerd/containerd.sock"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[ScriptedAgent]:
    with serving(ScriptedAgent(tmp_path / "agent.sock")) as agent:
        yield agent


def status(agent: ScriptedAgent, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    code = main(["status", *words, "--socket", str(agent.path)])

    assert code == 0
    return capsys.readouterr().out


def test_a_healthy_node_is_five_lines(agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]) -> None:
    agent.show(jobs=(a_job("web"), a_job("db", failed=1, completed_at=NOW)))

    assert status(agent, capsys).splitlines() == [
        "Node:     node-7, ready",
        "Agent:    inplaced 0.1.0, up 3h",
        f"Runtime:  containerd 2.3.7 at {SOCKET}, ready, progress by bytes, pins by label",
        "Disk:     /var/lib/containerd, 51.0 GiB for pulls, 81.0 GiB free of 200.0 GiB, 30.0 GiB kept free",
        "Jobs:     2 in all, 1 going on, 1 with failures",
    ]


def test_trouble_is_told_with_its_remedy(agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]) -> None:
    agent.show(
        pulls=(
            a_pull("nope:1", "Failed", reason="NotFound", message="unknown", remedy="check the name"),
            a_pull(
                "slow:1", "BackingOff", failures=2, reason="TimedOut", retry_at=NOW + timedelta(seconds=8)
            ),
            a_pull("fine:1", "Succeeded", bytes_done=MIB, bytes_total=MIB, percent=100),
        )
    )

    said = status(agent, capsys)

    assert "  nope:1: failed, NotFound: unknown\n    remedy: check the name\n" in said
    assert "  slow:1: attempt 2 failed, TimedOut, again in 8s\n" in said
    assert "fine:1   Succeeded    100%   1.0/1.0 MiB" in said
    assert said.count("fine:1") == 1


def test_what_is_wrong_with_the_node_is_told(
    agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    down = RuntimeView(socket="/run/crio/crio.sock", ready=False, message="connection refused")
    full = DiskView(mountpoint="/var", capacity=MIB, free=0, reserve=0, available=0)
    agent.show(ready=False, runtimes=(down,), disk=full)

    said = status(agent, capsys)

    assert "node-7, not ready" in said
    assert "unknown at /run/crio/crio.sock, not ready: connection refused" in said
    assert "0 B for pulls, 0 B free of 1.0 MiB, 0 B kept free (full)" in said


def test_a_node_without_a_runtime_says_what_to_do(
    agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.show(runtimes=(), disk=None)

    said = status(agent, capsys)

    assert "Runtime:  none found; start one, or name its socket with --runtime" in said
    assert "Disk:" not in said


def test_what_changes_in_place_is_told_a_line_each(
    agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.show(pods=PodsView())
    assert "Restarts" not in status(agent, capsys)

    agent.show(pods=troubled_pods(NOW))
    lines = status(agent, capsys).splitlines()

    for title in ("Updates:", "Restarts:", "Resizes:", "Last errors:"):
        assert title in lines
    why = "labels or annotations of the pod changed GREETING, COLOUR"
    assert f"  default/web-7d9f4-q9zrt/app: {why}: PreStop, for 2s" in lines
    assert f"  default/web-7d9f4-h6ptv/app: {why}: Done, took 1.0s" in lines


def test_a_refused_manifest_is_told_with_its_place_and_what_is_allowed(
    agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = ProblemView(
        file="a.yaml",
        line=12,
        object="ImagePullJob default/x",
        field="spec.parallelism",
        value="50%",
        message="is no integer",
        allowed="0 or more",
    )
    agent.show(problems=(problem,))

    assert status(agent, capsys).endswith(
        "  a.yaml:12: ImagePullJob default/x spec.parallelism '50%': is no integer\n    allowed: 0 or more\n"
    )


def test_json_and_yaml_hold_the_whole_view(agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]) -> None:
    as_json = json.loads(status(agent, capsys, "--output", "json"))
    as_yaml = yaml.safe_load(status(agent, capsys, "--output", "yaml"))

    assert as_json["disk"]["available"] == 51 * 1024 * MIB
    assert as_yaml["node"] == as_json["node"] == "node-7"


def test_wide_tells_owners_and_pins(agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]) -> None:
    owners = ("ImagePullJob/default/web", "ImagePullJob/team/db")
    agent.show(
        pulls=(a_pull("a:1", "Succeeded", owners=owners, pinned=True, priority=7, image_id="sha256:1"),)
    )

    *_, row = status(agent, capsys, "--output", "wide").splitlines()

    assert row.split()[-5:] == ["7", "0", "yes", ",".join(owners), "sha256:1"]


def test_a_watch_in_a_pipe_prints_whole_documents(agent: ScriptedAgent) -> None:
    with piped("status", "--watch", "--socket", str(agent.path)) as command:
        command.wait_for("node-7, ready\n")
        agent.show(ready=False)
        command.wait_for("node-7, not ready\n")
        command.interrupt()
        code = command.ends()

    assert code == 130
    assert command.text.count("---\nNode:") == 2


def test_a_refused_document_is_told_with_all_that_is_known_of_it_and_no_more(
    agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    field = ProblemView(
        file="a.yaml",
        line=6,
        message="is not a known field",
        object="ImagePullJob default/a",
        field="spec.paralelism",
        allowed="parallelism",
    )
    text = ProblemView(file="b.yaml", line=10, message="is not YAML")
    agent.show(problems=(field, text))

    said = status(agent, capsys)

    assert "  a.yaml:6: ImagePullJob default/a spec.paralelism: is not a known field\n" in said
    assert "    allowed: parallelism\n" in said
    assert "  b.yaml:10: is not YAML" in said
