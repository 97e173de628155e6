"""``inplaced pull`` against an agent on a real socket, its output read as a pipe would."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from daemon.__main__ import main
from daemon.debug.sources import PullAnswer, PullRequest, RefusedError
from tests.fakes.agent import MIB, ScriptedAgent, a_pull, serving

SECRET = "s3cr3t-hunter2"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[ScriptedAgent]:
    with serving(ScriptedAgent(tmp_path / "agent.sock")) as agent:
        yield agent


def pull(agent: ScriptedAgent, *words: str) -> int:
    return main(["pull", *words, "--socket", str(agent.path)])


def credentials(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_pulled_image_is_told_with_what_was_fetched_and_reused(
    agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.ends = {"app:v2": a_pull("app:v2", "Succeeded", bytes_done=412 * MIB, bytes_reused=2048 * MIB)}

    code = pull(agent, "app:v2")

    said = capsys.readouterr()
    assert code == 0
    assert "ok      app:v2  412.0 MiB fetched in 0." in said.out
    assert "2.0 GiB reused" in said.out
    assert said.err == ""


def test_an_image_that_was_there_is_told_so(agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]) -> None:
    agent.ends = {"app:v2": a_pull("app:v2", "Succeeded", started_at=None)}

    code = pull(agent, "app:v2")

    assert code == 0
    assert "ok      app:v2  was on the node already" in capsys.readouterr().out


def test_a_failed_image_has_its_reason_and_remedy_on_stderr_and_code_1(
    agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.ends = {
        "nope:1": a_pull(
            "nope:1", "Failed", reason="NotFound", message="manifest unknown", remedy="check the name"
        ),
        "app:v2": a_pull("app:v2", "Succeeded", bytes_done=MIB),
    }

    code = pull(agent, "nope:1", "app:v2")

    said = capsys.readouterr()
    assert code == 1
    assert "failed  nope:1  NotFound: manifest unknown" in said.err
    assert "remedy: check the name" in said.err
    assert "2 images: 1 succeeded, 1 failed in" in said.out


def test_every_option_reaches_the_agent(agent: ScriptedAgent, tmp_path: Path) -> None:
    config = json.dumps({"auths": {"r.example": {"auth": SECRET}}})
    file = credentials(tmp_path / "config.json", config)
    words = [
        "--always",
        "--priority",
        "-5",
        "--timeout",
        "2m",
        "--retries",
        "7",
        "--deadline",
        "1h",
        "--ttl",
        "0",
    ]

    code = pull(agent, "a:1", "b:1", "a:1", "--no-wait", "--creds-file", str(file), *words)

    assert code == 0
    wanted = PullRequest(
        images=("a:1", "b:1"),
        docker_config=config,
        image_pull_policy="Always",
        priority=-5,
        timeout_seconds=120,
        backoff_limit=7,
        active_deadline_seconds=3600,
        ttl_seconds_after_finished=0,
    )
    assert agent.asked == [wanted]


def test_an_attempt_has_no_longer_than_the_deadline_of_all(agent: ScriptedAgent) -> None:
    pull(agent, "a:1", "--no-wait", "--deadline", "30s")

    assert agent.asked[0].timeout_seconds == 30


def test_who_waits_keeps_the_request_until_its_end_was_seen(agent: ScriptedAgent) -> None:
    agent.ends = {"a:1": a_pull("a:1", "Succeeded")}

    pull(agent, "a:1", "--ttl", "0")
    pull(agent, "b:1", "--ttl", "0", "--no-wait")

    assert [request.ttl_seconds_after_finished for request in agent.asked] == [10, 0]


def test_without_waiting_the_jobs_are_named(agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]) -> None:
    code = pull(agent, "a:1", "b:1", "--no-wait")

    assert code == 0
    assert capsys.readouterr().out.splitlines() == [
        "imagepulljob/inplaced/pull-0 asked for a:1",
        "imagepulljob/inplaced/pull-1 asked for b:1",
    ]


def test_json_alone_is_on_stdout(agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]) -> None:
    agent.ends = {
        "a:1": a_pull("a:1", "Succeeded", bytes_done=5, bytes_reused=7, image_id="sha256:1", pinned=True),
        "b:1": a_pull("b:1", "Failed", reason="Denied", message="no", remedy="ask"),
    }

    code = pull(agent, "a:1", "b:1", "--output", "json")

    said = capsys.readouterr()
    found = json.loads(said.out)
    assert code == 1
    assert (found["succeeded"], found["failed"], found["unfinished"]) == (1, 1, 0)
    assert found["results"][0] | {"seconds": 0} == {
        "image": "a:1",
        "job": "inplaced/pull-0",
        "result": "Succeeded",
        "seconds": 0,
        "bytesFetched": 5,
        "bytesReused": 7,
        "imageId": "sha256:1",
        "pinned": True,
        "reason": "",
        "message": "",
        "remedy": "",
    }
    assert "failed  b:1  Denied: no" in said.err


def test_yaml_holds_the_same_as_json(agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]) -> None:
    agent.ends = {"a:1": a_pull("a:1", "Succeeded", image_id="sha256:1")}

    pull(agent, "a:1", "--output", "yaml")

    assert yaml.safe_load(capsys.readouterr().out)["results"][0]["imageId"] == "sha256:1"


def test_wide_ends_with_a_table(agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]) -> None:
    agent.ends = {"a:1": a_pull("a:1", "Succeeded", bytes_done=MIB, image_id="sha256:1", pinned=True)}

    pull(agent, "a:1", "--output", "wide")

    header, row = capsys.readouterr().out.splitlines()[-2:]
    assert header.split() == [
        "IMAGE",
        "RESULT",
        "FETCHED",
        "REUSED",
        "TOOK",
        "PINNED",
        "JOB",
        "IMAGE",
        "ID",
        "REASON",
    ]
    assert row.startswith("a:1     Succeeded   1.0 MiB   0 B")


def test_a_wait_that_is_too_long_ends_with_code_4_and_leaves_the_pull_to_the_agent(
    agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    code = pull(agent, "a:1", "--wait-timeout", "1s", "--output", "json")

    said = capsys.readouterr()
    assert code == 4
    assert "waited too long; the pulls go on in the agent" in said.err
    assert json.loads(said.out)["results"][0]["result"] == "Unfinished"


def test_the_agents_refusal_is_a_wrong_argument(
    agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_request: PullRequest) -> PullAnswer:
        raise RefusedError("priority 9999999 is not allowed")

    agent.answer = refuse

    code = pull(agent, "a:1", "--priority", "9999999")

    assert code == 2
    assert capsys.readouterr().err == "error: priority 9999999 is not allowed\n"


def test_an_answer_that_misses_a_job_is_the_agents_fault(
    agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.answer = lambda _request: PullAnswer(jobs=("inplaced/only",))

    code = pull(agent, "a:1", "b:1")

    assert code == 3
    assert "answered 1 jobs for 2 images" in capsys.readouterr().err


def test_no_agent_is_told_with_every_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["pull", "a:1", "--socket", str(tmp_path / "none.sock")])

    said = capsys.readouterr().err
    assert code == 3
    assert f"no agent: there is no socket {tmp_path}/none.sock" in said
    assert all(way in said for way in ("inplaced standalone --manifests", "--socket", "pull --direct"))


def test_the_socket_can_come_from_the_environment(
    agent: ScriptedAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INPLACED_SOCKET", f"unix://{agent.path}")

    code = main(["pull", "a:1", "--no-wait"])

    assert code == 0
    assert [request.images for request in agent.asked] == [("a:1",)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["App:v2"], "IMAGE 'App:v2': invalid repository 'App'"),
        (["a:1", "--timeout", "soon"], "--timeout 'soon' is no duration; allowed: seconds as in 90"),
        (["a:1", "--timeout", "0"], "--timeout '0' is out of range; allowed: 1s to"),
        (["a:1", "--timeout", "2h", "--deadline", "1h"], "--timeout 7200s is longer than --deadline 3600s"),
        (["a:1", "--ttl", ""], "--ttl '' is no duration"),
        (["a:1", "--priority", "high"], "--priority 'high' is not allowed; allowed: a whole number from"),
        (["a:1", "--retries", "-1"], "--retries '-1' is not allowed; allowed: a whole number from 0 to"),
        (["a:1", "--output", "xml"], "--output 'xml' is not allowed; allowed: json, yaml, wide"),
        (["a:1", "--wait-timeout", "1d"], "--wait-timeout '1d' is no duration"),
        (["a:1", "--speed", "9"], "No such option: --speed; see 'inplaced pull --help'"),
        ([], "Missing argument 'IMAGE'; see 'inplaced pull --help'"),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_allowed(
    words: list[str], said: str, agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    code = pull(agent, *words)

    assert code == 2
    assert said in capsys.readouterr().err
    assert agent.asked == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'{{"auths": {SECRET}}}', "is not JSON"),
        (f'["{SECRET}"]', "has no 'auths'"),
        (f'{{"auths": "{SECRET}"}}', "'auths' is not an object"),
        ("[" * 100_000 + SECRET, "is not JSON"),
    ],
)
def test_a_bad_credentials_file_is_refused_without_its_content(
    text: str, said: str, agent: ScriptedAgent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = credentials(tmp_path / "config.json", text)

    code = pull(agent, "a:1", "--creds-file", str(file))

    heard = capsys.readouterr()
    assert code == 2
    assert f"--creds-file {file}: {said}" in heard.err
    assert SECRET not in heard.err + heard.out


def test_a_credentials_file_that_is_no_text_is_refused(
    agent: ScriptedAgent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = credentials(tmp_path / "config.json", "")
    file.write_bytes(b"\xff\xfe")

    code = pull(agent, "a:1", "--creds-file", str(file))

    assert code == 2
    assert f"--creds-file {file}: is not a text file" in capsys.readouterr().err


def test_a_missing_credentials_file_is_refused(
    agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    code = pull(agent, "a:1", "--creds-file", "/nowhere/config.json")

    assert code == 2
    assert "--creds-file /nowhere/config.json: cannot be read: No such file" in capsys.readouterr().err


def test_a_credentials_file_that_others_may_read_is_only_warned_of(
    agent: ScriptedAgent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = credentials(tmp_path / "config.json", '{"auths": {"r.example": {"auth": "x"}}}')
    file.chmod(0o644)

    code = pull(agent, "a:1", "--no-wait", "--creds-file", str(file))

    assert code == 0
    assert f"warning: {file} may be read by others" in capsys.readouterr().err
    assert len(agent.asked) == 1


def test_credentials_that_only_a_helper_knows_are_warned_of(
    agent: ScriptedAgent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = credentials(tmp_path / "config.json", '{"credsStore": "desktop"}')

    pull(agent, "a:1", "--no-wait", "--creds-file", str(file))

    assert "keeps its credentials in a helper program" in capsys.readouterr().err


def test_what_a_registry_says_does_not_steer_the_terminal(
    agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.ends = {"a:1": a_pull("a:1", "Failed", reason="Other", message="\x1b[2Jgone\r\nline\x07")}

    pull(agent, "a:1")

    assert r"Other: \x1b[2Jgone line\x07" in capsys.readouterr().err
