"""The command ``inplaced``: sends the first word to its part, importing only what that part uses."""

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from daemon import __version__
from daemon.cli.usage import EXTRA, Exit, overview
from daemon.names import PROGRAM


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    match words:
        case ["--version" | "-V" | "version"]:
            print(f"{PROGRAM} {__version__}")  # noqa: T201 - the command line's own output
            return Exit.DONE
        case [] | ["--help" | "-h" | "help"] if not _completes():
            print(overview(), end="")  # noqa: T201 - the command line's own output
            return Exit.DONE
        case ["standalone", *rest]:
            from daemon.standalone import main as standalone

            return standalone(rest)
        case ["agent", *rest]:
            from daemon.trust import import_aiohttp

            import_aiohttp()  # before all that imports it
            from daemon.agent import main as agent

            return agent(rest)
        case ["controller", *rest]:
            from daemon.controller import main as controller

            return controller(rest)
        case _:
            return _terminal(words)


def _terminal(words: list[str]) -> int:
    if any(find_spec(name) is None for name in ("typer", "rich")):
        if words == ["status"]:
            from daemon.cli.bare import bare_status

            return bare_status()
        command = " ".join([PROGRAM, *words[:1]])
        sys.stderr.write(f"{command}: the command line tool is not installed; {EXTRA} installs it\n")
        return Exit.USAGE
    from daemon.cli.app import run

    return run(words)


def _completes() -> bool:
    """Whether the shell asks for completions: typer answers it, even on an empty line."""
    return f"_{PROGRAM.upper()}_COMPLETE" in os.environ


if __name__ == "__main__":
    sys.exit(main())
