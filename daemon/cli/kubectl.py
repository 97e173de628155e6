"""``kubectl inplaced``: images on the nodes of a cluster, asked for and followed with the user's kubeconfig.

kubectl finds it as the program ``kubectl-inplaced``. Imports nothing heavy before a command is known.
"""

import sys
from collections.abc import Sequence
from importlib.util import find_spec

from daemon.cli.usage import EXTRA, Exit


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if any(find_spec(name) is None for name in ("typer", "rich")):
        sys.stderr.write(f"kubectl inplaced: the command line tool is not installed; {EXTRA} installs it\n")
        return Exit.USAGE
    from daemon.cli.kubectl_app import run

    return run(words)


if __name__ == "__main__":
    sys.exit(main())
