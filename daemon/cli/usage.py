"""The words of the command line: its commands, their examples, the exit codes.

Imports next to nothing, so that ``--help`` and ``--version`` answer at once, and also where the extra ``cli``
is not installed.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from daemon.names import PROGRAM

EXTRA: Final = f"pip install '{PROGRAM}[cli]'"
DEFAULT_SOCKET: Final = "/run/inplaced/inplaced.sock"
SOCKET_VARIABLE: Final = "INPLACED_SOCKET"

COMMANDS: Final = {
    "agent": "Run the agent of a cluster's node, told by the API server what to have.",
    "controller": "Run the central controller of a cluster: it tells the nodes what to have.",
    "standalone": "Run the agent on a machine without Kubernetes, over a directory of manifests.",
    "pull": "Have images on this node before they are needed, and watch them come.",
    "jobs": "List the pull jobs of this node.",
    "status": "Show this node's runtime, disk, pulls and problems.",
}


class Exit(IntEnum):
    """What the process's exit code says."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    TIMED_OUT = 4
    INTERRUPTED = 130


MEANINGS: Final = {
    Exit.DONE: "all that was asked is done",
    Exit.FAILED: "some image failed, or the job that was named does not exist",
    Exit.USAGE: "a wrong argument, or the extra 'cli' is not installed",
    Exit.UNREACHABLE: "the agent cannot be reached, or does not answer as it should",
    Exit.TIMED_OUT: "--wait-timeout passed; the pulls go on in the agent",
    Exit.INTERRUPTED: "interrupted with Ctrl-C; the pulls go on in the agent",
}

CLUSTER_PULL_MEANINGS: Final = {
    Exit.DONE: "the images are on all the nodes that were meant; with --no-wait, they are asked for",
    Exit.FAILED: "some node failed, none was meant, or a job was removed",
    Exit.USAGE: "a wrong argument, no right to do it, or the extra 'cli' is not installed",
    Exit.UNREACHABLE: "the API server cannot be reached, or does not answer as it should",
    Exit.TIMED_OUT: "--wait-timeout passed; the jobs go on in the cluster",
    Exit.INTERRUPTED: "interrupted with Ctrl-C; the jobs go on in the cluster",
}

RESTART_MEANINGS: Final = {
    Exit.DONE: "all that was asked is done",
    Exit.FAILED: "something could not be restarted, or what was named does not exist",
    Exit.USAGE: "a wrong argument, no right to do it, or the extra 'cli' is not installed",
    Exit.UNREACHABLE: "the API server cannot be reached, or does not answer as it should",
    Exit.TIMED_OUT: "--timeout passed; the restart goes on in the cluster",
    Exit.INTERRUPTED: "interrupted with Ctrl-C; the restart goes on in the cluster",
}

ROLLOUT_MEANINGS: Final = {
    Exit.DONE: "the rollout is where it is to be; with --no-wait always",
    Exit.FAILED: "the rollout is stuck, or there is no such CloneSet",
    Exit.USAGE: "a wrong argument, no right to do it, or the extra 'cli' is not installed",
    Exit.UNREACHABLE: "the API server cannot be reached, or does not answer as it should",
    Exit.TIMED_OUT: "--timeout passed; the rollout goes on in the cluster",
    Exit.INTERRUPTED: "interrupted with Ctrl-C; the rollout goes on in the cluster",
}

RESIZE_MEANINGS: Final = {
    Exit.DONE: "all that was asked is done",
    Exit.FAILED: "some pod cannot have it, or what was named does not exist",
    Exit.USAGE: "a wrong argument, no right to do it, or the extra 'cli' is not installed",
    Exit.UNREACHABLE: "the API server cannot be reached, or does not answer as it should",
    Exit.TIMED_OUT: "--timeout passed; the resize goes on in the cluster",
    Exit.INTERRUPTED: "interrupted with Ctrl-C; the resize goes on in the cluster",
}

PULL_EXAMPLES: Final = f"""\
  {PROGRAM} pull nginx:1.27 registry.example.com/team/app:v2
  {PROGRAM} pull --creds-file ~/.docker/config.json --wait-timeout 10m registry.example.com/team/app:v2
  {PROGRAM} pull --no-wait --priority 10 nginx:1.27
  {PROGRAM} pull --output json nginx:1.27 | jq '.results[].result'
  {PROGRAM} pull --direct --runtime /run/containerd/containerd.sock nginx:1.27"""
JOBS_EXAMPLES: Final = f"""\
  {PROGRAM} jobs -A
  {PROGRAM} jobs web --watch
  {PROGRAM} jobs -n team --output wide"""
STATUS_EXAMPLES: Final = f"""\
  {PROGRAM} status --watch
  {PROGRAM} status --output json | jq .disk.available"""


def overview() -> str:
    """The text of ``inplaced --help``."""
    return f"""\
Usage: {PROGRAM} COMMAND [OPTIONS]

Changes Kubernetes pods in place: new images are on the node before they are needed.

Commands:
{_columns(COMMANDS)}

Options:
  --version             Print the version.
  --install-completion  Install the completion of the current shell.
  --show-completion     Print the completion of the current shell.
  --help                This text; after a command: that command's.

Examples:
  {PROGRAM} standalone --manifests /etc/inplaced/manifests
  {PROGRAM} pull nginx:1.27
  {PROGRAM} status --watch

{exit_codes()}
"""


def epilog(examples: str, meanings: Mapping[Exit, str] = MEANINGS) -> str:
    """What stands below a command's options: its examples and the exit codes."""
    # The form feed-like \b keeps typer from re-wrapping the paragraph that follows it.
    return f"\b\nExamples:\n{examples}\n\n\b\n{exit_codes(meanings)}"


def exit_codes(meanings: Mapping[Exit, str] = MEANINGS) -> str:
    """The table of exit codes."""
    return "Exit codes:\n" + _columns({str(int(code)): text for code, text in meanings.items()})


def _columns(rows: dict[str, str]) -> str:
    width = max(len(name) for name in rows)
    return "\n".join(f"  {name:<{width}}  {text}" for name, text in rows.items())
