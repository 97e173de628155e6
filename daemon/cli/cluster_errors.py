"""What the API server refuses, as a person is told it: with the exit code, and a remedy for people."""

from daemon.cli.errors import CliError, NoRightError, NotFoundError, UnreachableError, UsageError
from daemon.kube.access import AccessError
from daemon.kube.errors import ApiError, ForbiddenError, MissingError, RefusedError, UnauthorizedError

_NO_RIGHT = "'kubectl auth can-i --list' shows what you may do here; who runs the cluster can allow more"
_NOBODY = "log in to the cluster again; does 'kubectl auth whoami' know you?"


def told(error: AccessError | ApiError) -> CliError:
    """The error of a command."""
    if isinstance(error, MissingError) or _is_replaced(error):
        return NotFoundError(str(error))
    if isinstance(error, ForbiddenError):
        return NoRightError(_with(error, _NO_RIGHT))
    if isinstance(error, UnauthorizedError):
        return UnreachableError(_with(error, _NOBODY))
    if isinstance(error, RefusedError):
        return UsageError(str(error))
    return UnreachableError(str(error))


def _with(error: ApiError, remedy: str) -> str:
    """Its own remedy is for whoever installed the project."""
    return str(error).replace(f"({error.remedy})", f"({remedy})")


def _is_replaced(error: AccessError | ApiError) -> bool:
    """Whether a patch met another object of that name than the one that it was made for."""
    return isinstance(error, RefusedError) and any(each.field == "metadata.uid" for each in error.causes)
