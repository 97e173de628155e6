"""The command itself: which part a word leads to, and what is said when a part is not there."""

import os
import subprocess
import sys

import pytest

from daemon import __version__
from daemon.__main__ import main

WITHOUT_EXTRA = "import sys; sys.modules['typer'] = None; from daemon.__main__ import main; sys.exit(main())"


@pytest.mark.parametrize("word", ["--version", "-V", "version"])
def test_the_version_is_told(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main([word])

    assert (code, capsys.readouterr().out) == (0, f"inplaced {__version__}\n")


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_help_names_every_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code = main(words)

    said = capsys.readouterr().out
    assert code == 0
    assert [
        word for word in ("standalone", "agent", "pull", "jobs", "status") if f"  {word} " not in said
    ] == []


@pytest.mark.parametrize(
    ("part", "setting"),
    [
        ("standalone", "--manifests (or INPLACED_MANIFESTS)"),
        ("agent", "--node-name (or INPLACED_NODE_NAME)"),
    ],
)
def test_each_process_reads_its_own_settings(
    part: str, setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([part])

    assert (code, capsys.readouterr().err) == (2, f"{setting} is required\n")


def test_without_the_extra_its_commands_say_how_to_install_it_and_others_work() -> None:
    command = [sys.executable, "-c", WITHOUT_EXTRA]

    refused = subprocess.run([*command, "jobs"], capture_output=True, text=True, timeout=30, check=False)
    status = subprocess.run(
        [*command, "status"],
        env=os.environ | {"INPLACED_SOCKET": "/nowhere/socket"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    told = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=30, check=False)

    assert refused.returncode == 2
    assert refused.stderr == (
        "inplaced jobs: the command line tool is not installed; pip install 'inplaced[cli]' installs it\n"
    )
    assert (status.returncode, "no agent: there is no socket /nowhere/socket" in status.stderr) == (3, True)
    assert told.returncode == 0
