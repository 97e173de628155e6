"""What can go wrong between a person and the agent, each with its exit code.

UsageError: correct the argument. NoRightError: ask for the right. UnreachableError: start the agent, or
name its socket. TimedOutError: wait longer. NotFoundError: name something that exists.
"""

from typing import ClassVar

from daemon.cli.usage import Exit


class CliError(Exception):
    """Base: the message is for a person and carries the remedy."""

    code: ClassVar[Exit] = Exit.FAILED


class NotFoundError(CliError):
    """What was named does not exist."""


class UsageError(CliError):
    """An argument is wrong; the message names it, its value and what is allowed."""

    code = Exit.USAGE


class NoRightError(UsageError):
    """Whoever asks may not do that, or not read it."""


class UnreachableError(CliError):
    """The agent cannot be talked to."""

    code = Exit.UNREACHABLE


class TimedOutError(CliError):
    """The person's own limit of waiting passed."""

    code = Exit.TIMED_OUT
