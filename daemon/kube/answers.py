"""Refusals of the API server into typed errors. Pure."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from daemon.kube.errors import (
    ApiError,
    BusyError,
    ChangedError,
    ExpiredError,
    ForbiddenError,
    MissingError,
    RefusedError,
    ServerError,
    Status,
    TakenError,
    UnauthorizedError,
)

_STATUS = msgspec.json.Decoder(Status)
_LONGEST = 1000
"""Characters of an answer that is no Status, such as a proxy's page."""
_BY_CODE: Mapping[int, type[ApiError]] = {
    HTTPStatus.BAD_REQUEST: RefusedError,
    HTTPStatus.UNAUTHORIZED: UnauthorizedError,
    HTTPStatus.FORBIDDEN: ForbiddenError,
    HTTPStatus.NOT_FOUND: MissingError,
    HTTPStatus.CONFLICT: ChangedError,
    HTTPStatus.GONE: ExpiredError,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: RefusedError,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: RefusedError,
    HTTPStatus.UNPROCESSABLE_ENTITY: RefusedError,
    HTTPStatus.TOO_MANY_REQUESTS: BusyError,
}


def error_of(
    asked: str, code: int, headers: Mapping[str, str], body: bytes, *, confidential: bool = False
) -> ApiError:
    """The error that an answer with that HTTP status means."""
    status = _status(body)
    wait = _seconds(headers.get("Retry-After", ""))
    return error_of_status(asked, code, status, wait, confidential=confidential)


def error_of_status(
    asked: str, code: int, status: Status, wait: float = 0.0, *, confidential: bool = False
) -> ApiError:
    """The error that a Status means; *wait* is what a Retry-After header said."""
    details = status.details
    kind = _kind(code, status.reason)
    error = kind(
        asked,
        status=code,
        reason=status.reason or HTTPStatus(code).phrase.replace(" ", "") if code in _CODES else status.reason,
        message="" if confidential else status.message,
        retry_after=wait or (details.retry_after_seconds if details is not None else 0.0),
    )
    if isinstance(error, RefusedError | ForbiddenError) and details is not None and not confidential:
        error.causes = details.causes
    return error


_CODES = frozenset(int(code) for code in HTTPStatus)


def _kind(code: int, reason: str) -> type[ApiError]:
    if code == HTTPStatus.CONFLICT and reason == "AlreadyExists":
        return TakenError
    if code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServerError
    return _BY_CODE.get(code, ApiError)


def _status(body: bytes) -> Status:
    try:
        status = _STATUS.decode(body)
    except msgspec.MsgspecError:
        return Status(message=body[:_LONGEST].decode(errors="replace"))
    return status if status.kind == "Status" else Status()


def _seconds(header: str) -> float:
    """What Retry-After says; the API server only ever gives seconds."""
    return float(header) if header.isascii() and header.isdigit() else 0.0
