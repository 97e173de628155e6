"""``inplaced jobs`` against an agent on a real socket."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from daemon.__main__ import main
from tests.fakes.agent import NOW, ScriptedAgent, a_job, serving
from tests.fakes.command import piped


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[ScriptedAgent]:
    with serving(ScriptedAgent(tmp_path / "agent.sock")) as agent:
        yield agent


def jobs(agent: ScriptedAgent, *words: str) -> int:
    return main(["jobs", *words, "--socket", str(agent.path)])


def test_jobs_have_the_columns_of_openkruise(
    agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=4, minutes=30)
    agent.show(
        jobs=(
            a_job("web", created_at=long_ago),
            a_job("a", active=0, failed=1, created_at=long_ago, message="1 node\nfailed"),
        )
    )

    code = jobs(agent)

    assert code == 0
    assert capsys.readouterr().out.splitlines() == [
        "NAME   TOTAL   ACTIVE   SUCCEED   FAILED   AGE     MESSAGE",
        "a      1       0        0         1        4h30m   1 node failed",
        "web    1       1        0         0        4h30m",
    ]


def test_namespaces_have_a_column_when_they_differ_or_all_are_asked_for(
    agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.show(jobs=(a_job("web"), a_job("web", namespace="team")))

    jobs(agent)
    both = capsys.readouterr().out.splitlines()
    jobs(agent, "-n", "team")
    one = capsys.readouterr().out.splitlines()
    jobs(agent, "-n", "team", "-A")
    every = capsys.readouterr().out.splitlines()

    assert [line.split()[:2] for line in both] == [["NAMESPACE", "NAME"], ["default", "web"], ["team", "web"]]
    assert [line.split()[0] for line in one] == ["NAME", "web"]
    assert every == both


def test_kinds_are_told_apart_when_both_are_there(
    agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.show(jobs=(a_job("web"), a_job("web", kind="ImageListPullJob")))

    jobs(agent)
    both = capsys.readouterr().out
    jobs(agent, "imagelistpulljobs/web", "--output", "wide")
    one = capsys.readouterr().out

    assert "imagepulljob/web" in both
    assert "imagelistpulljob/web" in both
    assert "imagepulljob/web" not in one
    assert "ImageListPullJob" in one


def test_wide_adds_kind_duration_images_and_source(
    agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    job = a_job(
        "web", started_at=NOW, completed_at=NOW + timedelta(seconds=75), source="/etc/inplaced/a.yaml:3"
    )
    agent.show(jobs=(job,))

    jobs(agent, "--output", "wide")

    header, row = capsys.readouterr().out.splitlines()
    assert header.split()[-4:] == ["KIND", "DURATION", "IMAGES", "SOURCE"]
    assert row.split()[-4:] == ["ImagePullJob", "75s", "app:v2", "/etc/inplaced/a.yaml:3"]


def test_json_and_yaml_are_a_list_or_the_one_that_was_named(
    agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.show(jobs=(a_job("web"), a_job("db")))

    jobs(agent, "--output", "json")
    every = json.loads(capsys.readouterr().out)
    jobs(agent, "web", "--output", "yaml")
    one = yaml.safe_load(capsys.readouterr().out)

    assert [job["name"] for job in every["items"]] == ["db", "web"]
    assert (one["name"], one["createdAt"]) == ("web", every["items"][1]["createdAt"])


def test_no_jobs_is_told_on_stderr(agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]) -> None:
    nothing = jobs(agent)
    first = capsys.readouterr()
    agent.show(jobs=(a_job("web"),))
    elsewhere = jobs(agent, "-n", "team")
    second = capsys.readouterr()

    assert (nothing, elsewhere) == (0, 0)
    assert (first.out, first.err) == ("", "No jobs found.\n")
    assert (second.out, second.err) == ("", "No jobs found in namespace team; 1 in others, which -A shows.\n")


def test_an_unknown_name_is_told_with_where_there_is_one(
    agent: ScriptedAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.show(jobs=(a_job("web"),))

    code = jobs(agent, "nope")
    unknown = capsys.readouterr().err
    jobs(agent, "web", "-n", "team")
    elsewhere = capsys.readouterr().err

    assert code == 1
    assert unknown == "error: no job 'nope'. 'inplaced jobs -A' lists all.\n"
    assert elsewhere == "error: no job 'web' in namespace team. There is one in default: use -n default.\n"


def test_a_watch_appends_the_jobs_that_changed(agent: ScriptedAgent) -> None:
    agent.show(jobs=(a_job("web"), a_job("db")))

    with piped("jobs", "--watch", "--socket", str(agent.path)) as command:
        command.wait_for("web    1       1")
        agent.show(jobs=(a_job("web", succeeded=1, active=0, message="done"), a_job("db")))
        command.wait_for("done\n")
        agent.show(jobs=(a_job("a-longer-name"),))
        command.wait_for("a-longer-name")
        command.interrupt()
        code = command.ends()

    assert code == 130
    names = [line.split()[0] for line in command.text.splitlines()]
    assert names == ["NAME", "db", "web", "web", "a-longer-name"]


def test_a_watch_prints_a_document_for_each_change(agent: ScriptedAgent) -> None:
    agent.show(jobs=(a_job("web"),))

    with piped("jobs", "-w", "--output", "yaml", "--socket", str(agent.path)) as command:
        command.wait_for("conditions: []")
        agent.show(jobs=(a_job("web", message="done"),))
        command.wait_for("message: done")
        command.interrupt()
        command.ends()

    documents = [found for found in yaml.safe_load_all(command.text) if found]
    assert [found["message"] for found in documents] == ["", "done"]


def test_a_watch_ends_at_once_without_an_agent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["jobs", "--watch", "--socket", str(tmp_path / "none.sock")])

    assert code == 3
    assert "no agent: there is no socket" in capsys.readouterr().err
