"""What a person sees while images come: bars on a real terminal, lines in a pipe."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.fakes.agent import MIB, ScriptedAgent, a_job, a_pull, serving
from tests.fakes.command import DEADLINE, on_terminal, piped

SHOW_CURSOR = b"\x1b[?25h"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[ScriptedAgent]:
    with serving(ScriptedAgent(tmp_path / "agent.sock")) as agent:
        yield agent


def asking(agent: ScriptedAgent, *images: str) -> tuple[str, ...]:
    return ("pull", *images, "--socket", str(agent.path))


def test_a_pipe_gets_a_line_for_each_tenth_and_each_change_of_phase(agent: ScriptedAgent) -> None:
    with piped(*asking(agent, "a:1")) as command:
        command.wait_for("a:1: waiting\n")
        agent.move("a:1", "Pulling")
        command.wait_for("a:1: pulling\n")
        agent.move("a:1", "Pulling", percent=3, bytes_done=3 * MIB, bytes_total=100 * MIB)
        agent.move("a:1", "Pulling", percent=41, bytes_done=41 * MIB, rate=MIB, seconds_left=59.0)
        command.wait_for("a:1: pulling 41 % (41.0 MiB of 100.0 MiB, 1.0 MiB/s, 59s left)\n")
        agent.move("a:1", "Unpacking", percent=100)
        command.wait_for("a:1: unpacking\n")
        agent.move("a:1", "Succeeded", bytes_done=100 * MIB)
        code = command.ends()

    assert code == 0
    assert "ok      a:1  100.0 MiB fetched in " in command.text
    assert "pulling 3 %" not in command.text
    assert b"\x1b" not in command.raw


def test_a_pipe_is_told_why_a_pull_pauses_each_time(agent: ScriptedAgent) -> None:
    with piped(*asking(agent, "a:1")) as command:
        command.wait_for("a:1: waiting")
        agent.move("a:1", "BackingOff", failures=1, reason="TimedOut", message="no answer")
        command.wait_for("a:1: attempt 1 failed, TimedOut: no answer\n")
        agent.move("a:1", "BackingOff", failures=2)
        command.wait_for("a:1: attempt 2 failed, TimedOut: no answer\n")


def test_a_restart_of_the_agent_does_not_end_the_wait(tmp_path: Path) -> None:
    agent = ScriptedAgent(tmp_path / "agent.sock")

    with ExitStack() as cleanup:
        with serving(agent):
            command = cleanup.enter_context(piped(*asking(agent, "a:1")))
            command.wait_for("a:1: waiting")
            agent.move("a:1", "Pulling")
            command.wait_for("a:1: pulling")
        command.wait_for("the agent is away; waiting for it\n")
        agent.move("a:1", "Succeeded", bytes_done=MIB)
        with serving(agent):
            code = command.ends()

    assert code == 0
    assert "ok      a:1  1.0 MiB fetched" in command.text


def test_the_same_reason_is_told_once_though_the_pull_looks_around_in_between(agent: ScriptedAgent) -> None:
    with piped(*asking(agent, "a:1")) as command:
        command.wait_for("a:1: waiting")
        agent.move("a:1", "BackingOff", failures=1, reason="TimedOut", message="no answer")
        command.wait_for("a:1: attempt 1 failed")
        agent.move("a:1", "Waiting")
        agent.move("a:1", "BackingOff")
        agent.move("a:1", "Waiting", failures=0, reason="NoSpace", message="too full")
        command.wait_for("a:1: waits, NoSpace: too full")

    assert command.text.count("attempt 1 failed") == 1


def test_the_result_waits_for_the_job_and_is_told_once(agent: ScriptedAgent) -> None:
    with piped(*asking(agent, "a:1", "b:1")) as command:
        command.wait_for("a:1: waiting")
        first, second = agent.view.pulls
        agent.show(pulls=(replace(first, phase="Succeeded"), replace(second, phase="Pulling")))
        command.wait_for("b:1: pulling")
        before = command.text
        agent.move("a:1", "Succeeded")
        agent.move("b:1", "Succeeded")
        code = command.ends()

    assert code == 0
    assert "ok" not in before
    assert "succeeded" not in before
    assert [line.split()[1] for line in command.text.splitlines() if line.startswith("ok ")] == ["a:1", "b:1"]


def test_a_job_that_is_removed_meanwhile_is_a_failure(agent: ScriptedAgent) -> None:
    with piped(*asking(agent, "a:1")) as command:
        command.wait_for("a:1: waiting")
        agent.move("a:1", "Pulling")
        command.wait_for("a:1: pulling")
        agent.show(jobs=(), pulls=())
        code = command.ends()

    assert code == 1
    assert "failed  a:1  Removed: the request was removed before its end was seen" in command.text


def test_a_terminal_shows_bars_while_images_come_and_results_when_they_ended(agent: ScriptedAgent) -> None:
    with on_terminal(*asking(agent, "registry.example/app:v2", "nope:1"), columns=140) as command:
        command.wait_for("waiting")
        sizes = {"bytes_done": 63 * MIB, "bytes_total": 100 * MIB, "bytes_reused": 2048 * MIB}
        agent.move("registry.example/app:v2", "Pulling", percent=63, rate=9 * MIB, seconds_left=4.2, **sizes)
        command.wait_for("63%")
        command.wait_for("63.0/100.0 MiB")
        agent.move("nope:1", "Failed", reason="NotFound", message="unknown", remedy="check the name")
        command.wait_for("failed  nope:1  NotFound: unknown")
        agent.move("registry.example/app:v2", "Succeeded", bytes_done=100 * MIB)
        code = command.ends()

    drawn = next(line for line in command.text.splitlines() if "63.0/100.0 MiB" in line)
    assert code == 1
    assert "━" in drawn
    assert all(part in drawn for part in ("pulling", "63%", "9.0 MiB/s", "4s", "2.0 GiB reused"))
    assert "ok      registry.example/app:v2  100.0 MiB fetched in" in command.text
    assert "2 images: 1 succeeded, 1 failed in" in command.text
    assert SHOW_CURSOR in command.raw


def test_a_terminal_says_why_an_image_is_held_up(agent: ScriptedAgent) -> None:
    with on_terminal(*asking(agent, "a:1"), columns=80) as command:
        command.wait_for("waiting")
        agent.move("a:1", "BackingOff", failures=1, reason="TimedOut", message="no answer")
        command.wait_for("retrying")
        command.wait_for("a:1: attempt 1 failed, TimedOut: no answer")


@pytest.mark.parametrize("columns", [40, 80, 300])
def test_bars_fit_into_any_terminal(columns: int, agent: ScriptedAgent) -> None:
    image = "registry.example.com:5000/a/very/long/path/of/an/image:v2.0.17"

    with on_terminal(*asking(agent, image), columns=columns) as command:
        command.wait_for("waiting")
        agent.move(image, "Pulling", percent=50, bytes_done=MIB, bytes_total=2 * MIB, rate=MIB)
        command.wait_for("pulling")
        lines = [line for line in command.text.splitlines() if "pulling" in line]

    assert lines
    assert max(len(line.rstrip()) for line in lines) <= columns


def test_more_images_than_lines_still_fit(agent: ScriptedAgent) -> None:
    images = [f"a:{number}" for number in range(30)]

    with on_terminal(*asking(agent, *images), rows=10) as command:
        command.wait_for("0 of 30 done")
        command.wait_for("25 not shown")


def test_ctrl_c_says_that_the_pulls_go_on(agent: ScriptedAgent) -> None:
    with on_terminal(*asking(agent, "a:1")) as command:
        command.wait_for("waiting")
        command.interrupt()
        code = command.ends()

    assert code == 130
    assert "interrupted; the pulls go on in the agent: 'inplaced jobs' lists them" in command.text
    assert command.raw.rfind(SHOW_CURSOR) > command.raw.rfind(b"\x1b[?25l")
    assert "Traceback" not in command.text


def test_a_terminated_command_gives_the_cursor_back(agent: ScriptedAgent) -> None:
    with on_terminal(*asking(agent, "a:1")) as command:
        command.wait_for("waiting")
        command.process.terminate()
        code = command.ends()

    assert code == 143
    assert command.raw.rfind(SHOW_CURSOR) > command.raw.rfind(b"\x1b[?25l")


def test_no_color_is_honoured(agent: ScriptedAgent) -> None:
    agent.ends = {"a:1": a_pull("a:1", "Succeeded")}

    with on_terminal(*asking(agent, "a:1"), env={"NO_COLOR": "1"}) as plain:
        plain.ends()
    with on_terminal(*asking(agent, "a:1")) as coloured:
        coloured.ends()

    assert b"\x1b[32mok" not in plain.raw
    assert b"\x1b[32mok" in coloured.raw


def test_a_dumb_terminal_gets_lines(agent: ScriptedAgent) -> None:
    with on_terminal(*asking(agent, "a:1"), env={"TERM": "dumb"}) as command:
        command.wait_for("a:1: waiting")
        agent.move("a:1", "Succeeded")
        code = command.ends()

    assert code == 0
    assert b"\x1b" not in command.raw


def test_status_is_redrawn_on_a_terminal(agent: ScriptedAgent) -> None:
    with on_terminal("status", "--watch", "--socket", str(agent.path)) as command:
        command.wait_for("node-7, ready")
        agent.show(pulls=(a_pull("a:1", "Pulling", percent=37),))
        command.wait_for("37%")
        command.interrupt()
        code = command.ends()

    assert code == 130
    assert "Traceback" not in command.text


def test_a_reader_that_left_ends_the_command_quietly(agent: ScriptedAgent) -> None:
    agent.show(jobs=(a_job("web"),))
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "daemon", "jobs", "--socket", str(agent.path)],
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=DEADLINE,
            check=False,
        )
    finally:
        os.close(writing)

    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, b"")
