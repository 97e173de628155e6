"""The command as it is installed: what it answers at once, what it imports, how it does without its extra."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import daemon
from daemon.cli.usage import COMMANDS, DEFAULT_SOCKET, MEANINGS, SOCKET_VARIABLE, Exit
from daemon.config import Config
from tests.fakes.agent import ScriptedAgent, a_job, serving

pytestmark = pytest.mark.e2e

CHECKOUT = Path(daemon.__file__).parents[1]
TIMEOUT = 30.0
BARE = (
    f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); from daemon.__main__ import main; sys.exit(main())"
)


def run(*command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=os.environ | environment
    )


def inplaced(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return run(sys.executable, "-m", "daemon", *words, **environment)


def without_the_extra(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run without any installed package, as -S leaves them out."""
    return run(sys.executable, "-S", "-c", BARE, *words)


def imported(*words: str) -> set[str]:
    found = run(sys.executable, "-X", "importtime", "-m", "daemon", *words)
    return {line.rpartition("|")[2].strip() for line in found.stderr.splitlines() if "|" in line}


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("help",), ()])
def test_help_lists_all_commands_and_exit_codes_also_without_the_extra(words: tuple[str, ...]) -> None:
    found = without_the_extra(*words)

    assert found.returncode == 0
    assert all(f"  {name}" in found.stdout and text in found.stdout for name, text in COMMANDS.items())
    assert all(f"  {int(code)} " in found.stdout and text in found.stdout for code, text in MEANINGS.items())


def test_the_version_is_told_also_without_the_extra() -> None:
    found = without_the_extra("--version")

    assert (found.returncode, found.stdout) == (0, f"inplaced {daemon.__version__}\n")


@pytest.mark.parametrize("command", ["pull", "jobs", "status"])
def test_a_command_without_the_extra_says_how_to_install_it(command: str) -> None:
    found = without_the_extra(command, "x")

    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr.count("\n") == 1
    assert f"inplaced {command}" in found.stderr
    assert "pip install 'inplaced[cli]'" in found.stderr


def test_the_installed_script_is_the_module() -> None:
    script = Path(sys.executable).with_name("inplaced")

    assert run(str(script), "--version").stdout == inplaced("--version").stdout


@pytest.mark.parametrize("command", ["pull", "jobs", "status"])
def test_the_help_of_a_command_has_examples_and_exit_codes(command: str) -> None:
    found = inplaced(command, "--help")

    assert found.returncode == 0
    assert f"Examples:\n    inplaced {command}" in found.stdout
    assert all(text in found.stdout for text in MEANINGS.values())


def test_an_unknown_command_is_refused() -> None:
    found = inplaced("fly")

    assert found.returncode == Exit.USAGE
    assert found.stderr == "error: No such command 'fly'; see 'inplaced --help'\n"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("inplaced s", {"standalone", "status"}),
        ("inplaced jobs --output y", {"yaml"}),
        ("inplaced ", {*COMMANDS}),
    ],
)
def test_the_shell_completes_words(typed: str, offered: set[str]) -> None:
    words = typed.split(" ")

    found = inplaced(_INPLACED_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=str(len(words) - 1))

    assert offered <= set(found.stdout.split())


def test_the_socket_is_the_one_that_the_agent_listens_on_by_default() -> None:
    assert Config.__dataclass_fields__["socket"].default == DEFAULT_SOCKET
    assert SOCKET_VARIABLE == "INPLACED_SOCKET"


def test_version_and_help_import_next_to_nothing() -> None:
    for word in ("--version", "--help"):
        names = imported(word)

        assert "daemon.cli.usage" in names
        assert not names & {"typer", "rich", "msgspec", "asyncio", "aiohttp", "yaml", "http.client"}


def test_jobs_imports_only_what_it_uses(tmp_path: Path) -> None:
    with serving(ScriptedAgent(tmp_path / "agent.sock")) as agent:
        agent.show(jobs=(a_job("web"),))
        names = imported("jobs", "--socket", str(agent.path))

    assert {"typer", "msgspec", "http.client", "daemon.cli.jobs"} <= names
    assert not {name.partition(".")[0] for name in names} & {
        "rich",
        "asyncio",
        "aiohttp",
        "grpclib",
        "yaml",
        "structlog",
    }
    assert not names & {"daemon.cli.pull", "daemon.cli.status", "daemon.standalone", "daemon.config"}


def test_the_version_takes_less_than_a_tenth_of_a_second() -> None:
    best = min(_seconds_of_version() for _ in range(5))

    assert best < 0.1


def _seconds_of_version() -> float:
    """Of the processor, not of the clock, so that a busy machine makes no difference."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    inplaced("--version")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
